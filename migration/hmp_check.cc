// SPDX-License-Identifier: LGPL-2.1-or-later
//
// migrate ... check, migrate_check and info migrate_check.
#include "migration/hmp.h"
#include "migration/insight/qmp.h"
#include "qapi/command_context.h"
#include "system/hmp.h"

#include <fmt/format.h>

namespace godwit::migration {
namespace {

using system::HmpArgs;
using system::HmpContext;
using system::HmpOutput;

Result<void> info_check(InsightQmp& insight, HmpOutput& out)
{
    const qapi::MigrationCheckInfo info = GW_TRY(insight.query_migrate_check());
    out.print(fmt::format("check: {}", qapi::to_string(info.status)));
    out.print(info.error_desc ? fmt::format(" ({})\n", *info.error_desc) : "\n");
    if (!info.verdict)
        return ok();
    out.print(fmt::format("verdict: {}\ndestination: {}\n", qapi::to_string(*info.verdict),
                          info.peer.value_or("")));
    for (const qapi::MigrationDifference& d : *info.differences) {
        out.print(fmt::format("{}{} {}: {}", d.fatal ? "! " : "  ", qapi::to_string(d.kind), d.name,
                              d.desc));
        if (d.source || d.destination)
            out.print(fmt::format(" ({} here, {} there)", d.source.value_or("none"),
                                  d.destination.value_or("none")));
        out.print("\n");
    }
    out.print(fmt::format("round trip: {} us\nbandwidth: {} kbytes/s\n", *info.round_trip_us,
                          *info.bandwidth >> 10));
    if (info.dirty_rate)
        out.print(fmt::format("dirty rate: {} kbytes/s\n", *info.dirty_rate >> 10));
    out.print(fmt::format("touched ram: {} kbytes\n", *info.touched >> 10));
    if (info.forecast)
        print_forecast(out, *info.forecast);
    return ok();
}

}  // namespace

Result<void> start_check(HmpContext& context, InsightQmp& insight, const HmpArgs& args)
{
    qapi::MigrateCheckArgs a;
    a.uri = args.text("uri");
    GW_TRY(insight.migrate_check(context.caller, a));
    if (args.flag("detach"))
        return ok();
    context.goes_on = [&insight](HmpOutput& out) {
        const auto info = insight.query_migrate_check();
        if (info && info->status == qapi::MigrationCheckStatus::Running)
            return true;
        (void)info_check(insight, out);
        return false;
    };
    return ok();
}

void add_check_commands(system::HmpTable& table, InsightQmp& insight)
{
    table.add({.name = "migrate_check",
               .args = "detach:-d,uri:s",
               .params = "[-d] uri",
               .help = "compare this machine with a Godwit that waits for a migration at URI, and "
                       "measure;\n\t\t\t nothing moves (using -d to not wait for the result, which "
                       "info migrate_check tells)",
               .run = [&](HmpContext& context, const HmpArgs& args, HmpOutput&) {
                   return start_check(context, insight, args);
               }});
    table.add_info({.name = "migrate_check",
                    .args = "",
                    .params = "",
                    .help = "show what the last migrate_check found",
                    .run = [&](HmpContext&, const HmpArgs&, HmpOutput& out) {
                        return info_check(insight, out);
                    }});
}

}  // namespace godwit::migration
