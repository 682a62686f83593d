// SPDX-License-Identifier: LGPL-2.1-or-later
//
// calc_dirty_rate and info dirty_rate of the human monitor.
#include "migration/hmp.h"
#include "migration/qmp.h"
#include "system/hmp.h"

#include <fmt/format.h>

namespace godwit::migration {
namespace {

using system::HmpArgs;
using system::HmpContext;
using system::HmpOutput;

Result<void> info_dirty_rate(MigrationQmp& commands, HmpOutput& out)
{
    const qapi::DirtyRateInfo info = GW_TRY(commands.query_dirty_rate({}));
    out.print(fmt::format("Status: {}\nStart Time: {} (ms)\n", qapi::to_string(info.status),
                          info.start_time));
    if (info.mode == qapi::DirtyRateMeasureMode::PageSampling)
        out.print(fmt::format("Sample Pages: {} (per GB)\n", info.sample_pages));
    out.print(
        fmt::format("Period: {} (sec)\nMode: {}\n", info.calc_time, qapi::to_string(info.mode)));
    out.print(info.dirty_rate ? fmt::format("Dirty rate: {} (MB/s)\n", *info.dirty_rate)
                              : "Dirty rate: (not ready)\n");
    return ok();
}

Result<void> calc_dirty_rate(MigrationQmp& commands, const HmpArgs& args, HmpOutput& out)
{
    const std::int64_t seconds = args.number("second");
    if (seconds == 0) {
        out.print("Incorrect period length specified!\n");
        return ok();
    }
    if (args.flag("dirty_ring") && args.flag("dirty_bitmap")) {
        out.print("Either dirty ring or dirty bitmap can be specified!\n");
        return ok();
    }
    qapi::CalcDirtyRateArgs a{};
    a.calc_time = seconds;
    if (args.has("sample_pages_per_GB"))
        a.sample_pages = args.number("sample_pages_per_GB");
    a.mode = args.flag("dirty_ring")     ? qapi::DirtyRateMeasureMode::DirtyRing
             : args.flag("dirty_bitmap") ? qapi::DirtyRateMeasureMode::DirtyBitmap
                                         : qapi::DirtyRateMeasureMode::PageSampling;
    GW_TRY(commands.calc_dirty_rate(a));
    out.print(fmt::format("Starting dirty rate measurement with period {} seconds\n"
                          "[Please use 'info dirty_rate' to check results]\n",
                          seconds));
    return ok();
}

}  // namespace

void add_dirty_rate_commands(system::HmpTable& table, MigrationQmp& commands)
{
    table.add({.name = "calc_dirty_rate",
               .args = "dirty_ring:-r,dirty_bitmap:-b,second:l,sample_pages_per_GB:l?",
               .params = "[-r] [-b] second [sample_pages_per_GB]",
               .help = "start a round of guest dirty rate measurement (using -r to\n\t\t\t specify "
                       "dirty ring as the method of calculation and\n\t\t\t -b to specify dirty "
                       "bitmap as method of calculation)",
               .run = [&commands](HmpContext&, const HmpArgs& args, HmpOutput& out) {
                   return calc_dirty_rate(commands, args, out);
               }});
    table.add_info({.name = "dirty_rate",
                    .args = "",
                    .params = "",
                    .help = "show dirty rate information",
                    .run = [&commands](HmpContext&, const HmpArgs&, HmpOutput& out) {
                        return info_dirty_rate(commands, out);
                    }});
}

}  // namespace godwit::migration
