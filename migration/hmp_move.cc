// SPDX-License-Identifier: LGPL-2.1-or-later
//
// migrate and its kin in the human monitor.
#include "migration/hmp.h"
#include "migration/insight/qmp.h"
#include "migration/qmp.h"
#include "qapi/command_context.h"
#include "system/hmp.h"

#include <fmt/format.h>
#include <functional>

namespace godwit::migration {
namespace {

using system::HmpArgs;
using system::HmpContext;
using system::HmpOutput;

constexpr int kTurnsToTell = 10;  // of 100 ms each

bool under_way(qapi::MigrationStatus status)
{
    using enum qapi::MigrationStatus;
    return status == Setup || status == Active || status == Device || status == PostcopyActive ||
           status == PostcopyRecoverSetup || status == PostcopyRecover || status == Cancelling ||
           status == WaitUnplug;
}

// " 42 %, 1234 kbytes left, 812.30 mbps, forecast: converges"
void print_progress(HmpOutput& out, const qapi::MigrationInfo& info)
{
    if (!info.ram || info.ram->total <= 0)
        return;
    out.print(fmt::format(
        "{:3} %, {} kbytes left, {:.2f} mbps{}\n", percent_done(info), info.ram->remaining >> 10,
        info.ram->mbps,
        info.x_forecast ? fmt::format(", forecast: {}", qapi::to_string(info.x_forecast->verdict))
                        : ""));
}

// What a migrate without -d says once a second and in the end. It lets go of the monitor, too, when
// the operator is needed: paused before the switchover, or postcopy without its connection.
std::function<bool(HmpOutput&)> progress_of(MigrationQmp& commands)
{
    return [&commands, turn = 0](HmpOutput& out) mutable {
        const auto info = commands.query_migrate();
        if (!info || !info->status)
            return false;
        if (under_way(*info->status)) {
            if (++turn % kTurnsToTell == 0)
                print_progress(out, *info);
            return true;
        }
        out.print(fmt::format("Migration status: {}", qapi::to_string(*info->status)));
        out.print(info->error_desc ? fmt::format(" ({})\n", *info->error_desc) : "\n");
        return false;
    };
}

}  // namespace

void add_move_commands(system::HmpTable& table, MigrationQmp& commands, InsightQmp& insight)
{
    table.add({.name = "migrate",
               .args = "detach:-d,resume:-r,uri:s,check:=",
               .params = "[-d] [-r] uri [check]",
               .help = "migrate to URI (using -d to not wait for completion)\n\t\t\t -r to resume "
                       "a paused postcopy migration\n\t\t\t check to only compare both machines "
                       "and measure, as migrate_check",
               .run = [&](HmpContext& context, const HmpArgs& args, HmpOutput&) -> Result<void> {
                   if (args.flag("check")) {
                       if (args.flag("resume"))
                           return Error(Errc::InvalidArgument, "a check resumes nothing");
                       return start_check(context, insight, args);
                   }
                   qapi::MigrateArgs a;
                   a.uri = args.text("uri");
                   a.resume = args.flag("resume");
                   GW_TRY(commands.migrate(context.caller, a));
                   if (!args.flag("detach"))
                       context.goes_on = progress_of(commands);
                   return ok();
               }});
    table.add({.name = "migrate_cancel",
               .args = "",
               .params = "",
               .help = "cancel the current VM migration",
               .run = [&](HmpContext&, const HmpArgs&, HmpOutput&) {
                   return commands.migrate_cancel();
               }});
    table.add({.name = "migrate_continue",
               .args = "state:s",
               .params = "state",
               .help = "Continue migration from the given paused state",
               .run = [&](HmpContext&, const HmpArgs& args, HmpOutput&) -> Result<void> {
                   const auto state = qapi::from_string<qapi::MigrationStatus>(args.text("state"));
                   if (!state)
                       return Error(Errc::InvalidArgument,
                                    fmt::format("invalid parameter value: {}", args.text("state")));
                   return commands.migrate_continue({.state = *state});
               }});
    table.add({.name = "migrate_incoming",
               .args = "uri:s",
               .params = "uri",
               .help = "Continue an incoming migration from an -incoming defer",
               .run = [&](HmpContext& context, const HmpArgs& args, HmpOutput&) {
                   qapi::MigrateIncomingArgs a;
                   a.uri = args.text("uri");
                   return commands.migrate_incoming(context.caller, a);
               }});
    table.add({.name = "migrate_recover",
               .args = "uri:s",
               .params = "uri",
               .help = "Continue a paused incoming postcopy migration",
               .run = [&](HmpContext& context, const HmpArgs& args, HmpOutput&) {
                   return commands.migrate_recover(context.caller, {.uri = args.text("uri")});
               }});
    table.add(
        {.name = "migrate_pause",
         .args = "",
         .params = "",
         .help = "Pause an ongoing migration (postcopy-only)",
         .run = [&](HmpContext&, const HmpArgs&, HmpOutput&) { return commands.migrate_pause(); }});
    table.add({.name = "migrate_start_postcopy",
               .args = "",
               .params = "",
               .help = "Followup to a migration command to switch the migration to postcopy mode. "
                       "The postcopy-ram capability must be set on both source and destination "
                       "before the original migration command .",
               .run = [&](HmpContext&, const HmpArgs&, HmpOutput&) {
                   return commands.migrate_start_postcopy();
               }});
    table.add({.name = "announce_self",
               .args = "interfaces:s?,id:s?",
               .params = "[interfaces] [id]",
               .help = "Trigger GARP/RARP announcements",
               .run = [&](HmpContext&, const HmpArgs&, HmpOutput&) -> Result<void> {
                   return commands.announce_self({});
               }});
}

}  // namespace godwit::migration
