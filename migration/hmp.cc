// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/hmp.h"

#include "migration/insight/qmp.h"
#include "migration/qmp.h"
#include "system/hmp.h"

#include <fmt/format.h>

namespace godwit::migration {
namespace {

using system::HmpArgs;
using system::HmpContext;
using system::HmpOutput;

void print_ram(HmpOutput& out, const qapi::MigrationStats& ram)
{
    out.print(fmt::format("transferred ram: {} kbytes\n", ram.transferred >> 10));
    out.print(fmt::format("throughput: {:.2f} mbps\n", ram.mbps));
    out.print(fmt::format("remaining ram: {} kbytes\n", ram.remaining >> 10));
    out.print(fmt::format("total ram: {} kbytes\n", ram.total >> 10));
    out.print(fmt::format("duplicate: {} pages\n", ram.duplicate));
    out.print(fmt::format("normal: {} pages\n", ram.normal));
    out.print(fmt::format("normal bytes: {} kbytes\n", ram.normal_bytes >> 10));
    out.print(fmt::format("dirty sync count: {}\n", ram.dirty_sync_count));
    out.print(fmt::format("page size: {} kbytes\n", ram.page_size >> 10));
    out.print(fmt::format("multifd bytes: {} kbytes\n", ram.multifd_bytes >> 10));
    out.print(fmt::format("pages-per-second: {}\n", ram.pages_per_second));
    if (ram.dirty_pages_rate != 0)
        out.print(fmt::format("dirty pages rate: {} pages\n", ram.dirty_pages_rate));
    out.print(fmt::format("precopy ram: {} kbytes\n", ram.precopy_bytes >> 10));
    if (ram.downtime_bytes != 0)
        out.print(fmt::format("downtime ram: {} kbytes\n", ram.downtime_bytes >> 10));
}

void print_mostly_zero(HmpOutput& out, const qapi::MostlyZeroStats& m)
{
    out.print(fmt::format("mostly zero: {} pages\n", m.pages));
    out.print(fmt::format("mostly zero transferred: {} kbytes\n", m.bytes >> 10));
}

void print_xbzrle(HmpOutput& out, const qapi::XBZRLECacheStats& x)
{
    out.print(fmt::format("cache size: {} bytes\n", x.cache_size));
    out.print(fmt::format("xbzrle transferred: {} kbytes\n", x.bytes >> 10));
    out.print(fmt::format("xbzrle pages: {} pages\n", x.pages));
    out.print(fmt::format("xbzrle cache miss: {} pages\n", x.cache_miss));
    out.print(fmt::format("xbzrle cache miss rate: {:.2f}\n", x.cache_miss_rate));
    out.print(fmt::format("xbzrle encoding rate: {:.2f}\n", x.encoding_rate));
    out.print(fmt::format("xbzrle overflow: {}\n", x.overflow));
}

Result<void> info_migrate(MigrationQmp& commands, InsightQmp& insight, MigrationService& service,
                          HmpOutput& out)
{
    out.print(fmt::format("globals:\nstore-global-state: on\nonly-migratable: {}\n"
                          "send-configuration: on\nsend-section-footer: on\n"
                          "send-switchover-start: on\nclear-bitmap-shift: 18\n",
                          on_off(service.blockers().only_migratable())));
    const qapi::MigrationInfo info = GW_TRY(commands.query_migrate());
    if (info.blocked_reasons) {
        out.print("Outgoing migration blocked:\n");
        for (const std::string& reason : *info.blocked_reasons)
            out.print(fmt::format("  {}\n", reason));
    }
    if (info.status) {
        out.print(fmt::format("Migration status: {}", qapi::to_string(*info.status)));
        out.print(info.error_desc ? fmt::format(" ({})\n", *info.error_desc) : "\n");
        if (info.total_time)
            out.print(fmt::format("total time: {} ms\n", *info.total_time));
        if (info.expected_downtime)
            out.print(fmt::format("expected downtime: {} ms\n", *info.expected_downtime));
        if (info.downtime)
            out.print(fmt::format("downtime: {} ms\n", *info.downtime));
        if (info.setup_time)
            out.print(fmt::format("setup: {} ms\n", *info.setup_time));
    }
    if (info.ram)
        print_ram(out, *info.ram);
    if (info.x_mostly_zero && info.x_mostly_zero->pages != 0)
        print_mostly_zero(out, *info.x_mostly_zero);
    if (info.xbzrle_cache)
        print_xbzrle(out, *info.xbzrle_cache);
    if (info.vfio)
        out.print(
            fmt::format("vfio device transferred: {} kbytes\n", info.vfio->transferred >> 10));
    if (info.cpu_throttle_percentage)
        out.print(fmt::format("cpu throttle percentage: {}\n", *info.cpu_throttle_percentage));
    print_progress_facts(out, info, insight);
    return ok();
}

void add_info(system::HmpTable& table, MigrationQmp& commands, InsightQmp& insight,
              MigrationService& service)
{
    table.add_info({.name = "migrate",
                    .args = "",
                    .params = "",
                    .help = "show migration status",
                    .run = [&](HmpContext&, const HmpArgs&, HmpOutput& out) {
                        return info_migrate(commands, insight, service, out);
                    }});
}

}  // namespace

void add_human_commands(system::HmpTable& table, MigrationQmp& commands, InsightQmp& insight,
                        MigrationService& service)
{
    add_check_commands(table, insight);
    add_dirty_rate_commands(table, commands);
    add_info(table, commands, insight, service);
    add_move_commands(table, commands, insight);
    add_settings_commands(table, commands, service);
}

}  // namespace godwit::migration
