// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/hmp.h"

#include "migration/insight/qmp.h"
#include "migration/qmp.h"
#include "qapi/command_context.h"
#include "system/hmp.h"
#include "util/json.h"
#include "util/size.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <functional>

namespace godwit::migration {
namespace {

using system::HmpArgs;
using system::HmpContext;
using system::HmpOutput;

constexpr int kTurnsToTell = 10;  // of 100 ms each

std::string_view on_off(bool on)
{
    return on ? "on" : "off";
}

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

std::string seconds(std::int64_t ms)
{
    return fmt::format("{:.1f}", static_cast<double>(ms) / 1e3);
}

// One line that says it all: verdict, numbers, reason.
void print_forecast(HmpOutput& out, const qapi::MigrationForecast& f)
{
    std::string text = fmt::format("forecast: {}", qapi::to_string(f.verdict));
    if (f.time_left_min && f.time_left_max)
        text += fmt::format(" in {} to {} s", seconds(*f.time_left_min), seconds(*f.time_left_max));
    else if (f.time_left_min)
        text += fmt::format(" in {} s or more", seconds(*f.time_left_min));
    if (f.downtime_needed)
        text += fmt::format(" of {} ms, would need {} ms", f.downtime_limit, *f.downtime_needed);
    out.print(fmt::format("{} ({})\n", text, f.reason));
    if (!f.scores)
        return;
    for (const qapi::MigrationForecastScore& s : *f.scores)
        out.print(fmt::format(
            "forecast at {} s: {}{}, took {} s\n", seconds(s.given_at), qapi::to_string(s.verdict),
            s.correct ? (*s.correct ? ", right" : ", wrong") : "", seconds(s.total_time)));
}

Result<void> info_migrate(MigrationQmp& commands, MigrationService& service, HmpOutput& out)
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
    if (info.xbzrle_cache)
        print_xbzrle(out, *info.xbzrle_cache);
    if (info.vfio)
        out.print(
            fmt::format("vfio device transferred: {} kbytes\n", info.vfio->transferred >> 10));
    if (info.cpu_throttle_percentage)
        out.print(fmt::format("cpu throttle percentage: {}\n", *info.cpu_throttle_percentage));
    if (info.x_forecast)
        print_forecast(out, *info.x_forecast);
    return ok();
}

Result<void> info_capabilities(MigrationQmp& commands, HmpOutput& out)
{
    for (const auto& c : GW_TRY(commands.query_migrate_capabilities()))
        out.print(fmt::format("{}: {}\n", qapi::to_string(c.capability), on_off(c.state)));
    return ok();
}

Result<void> info_parameters(MigrationService& service, HmpOutput& out)
{
    const Parameters& p = service.parameters();
    out.print(fmt::format(
        "announce-initial: {} ms\nannounce-max: {} ms\nannounce-rounds: {}\nannounce-step: {} ms\n",
        p.announce_initial_ms, p.announce_max_ms, p.announce_rounds, p.announce_step_ms));
    out.print(fmt::format("throttle-trigger-threshold: {}\ncpu-throttle-initial: {}\n"
                          "cpu-throttle-increment: {}\ncpu-throttle-tailslow: {}\n"
                          "max-cpu-throttle: {}\n",
                          p.throttle_trigger_threshold, p.cpu_throttle_initial,
                          p.cpu_throttle_increment, on_off(p.cpu_throttle_tailslow),
                          p.max_cpu_throttle));
    out.print(fmt::format("tls-creds: '{}'\ntls-hostname: '{}'\n", p.tls_creds, p.tls_hostname));
    out.print(fmt::format("max-bandwidth: {} bytes/second\navail-switchover-bandwidth: {} "
                          "bytes/second\ndowntime-limit: {} ms\nx-checkpoint-delay: {} ms\n",
                          p.max_bandwidth, p.avail_switchover_bandwidth, p.downtime_limit_ms,
                          p.x_checkpoint_delay_ms));
    out.print(fmt::format("multifd-channels: {}\nmultifd-compression: {}\nzero-page-detection: {}\n"
                          "xbzrle-cache-size: {} bytes\nmax-postcopy-bandwidth: {}\n",
                          p.multifd_channels, to_string(p.multifd_compression),
                          to_string(p.zero_page_detection), p.xbzrle_cache_size,
                          p.max_postcopy_bandwidth));
    out.print(fmt::format("tls-authz: '{}'\nx-vcpu-dirty-limit-period: {} ms\n"
                          "vcpu-dirty-limit: {} MB/s\nmode: {}\ndirect-io: {}\n",
                          p.tls_authz, p.x_vcpu_dirty_limit_period_ms, p.vcpu_dirty_limit,
                          to_string(p.mode), on_off(p.direct_io)));
    return ok();
}

// How the value of a parameter is written; the names are QEMU's.
enum class Kind { Number, Bandwidth, Size, Truth, Text };
struct Spelling {
    std::string_view name;
    Kind kind;
};
constexpr auto kSpellings = std::to_array<Spelling>({
    {"announce-initial", Kind::Number},
    {"announce-max", Kind::Number},
    {"announce-rounds", Kind::Number},
    {"announce-step", Kind::Number},
    {"throttle-trigger-threshold", Kind::Number},
    {"cpu-throttle-initial", Kind::Number},
    {"cpu-throttle-increment", Kind::Number},
    {"cpu-throttle-tailslow", Kind::Truth},
    {"max-cpu-throttle", Kind::Number},
    {"tls-creds", Kind::Text},
    {"tls-hostname", Kind::Text},
    {"tls-authz", Kind::Text},
    {"max-bandwidth", Kind::Bandwidth},
    {"avail-switchover-bandwidth", Kind::Bandwidth},
    {"downtime-limit", Kind::Number},
    {"x-checkpoint-delay", Kind::Number},
    {"multifd-channels", Kind::Number},
    {"multifd-compression", Kind::Text},
    {"multifd-zlib-level", Kind::Number},
    {"multifd-zstd-level", Kind::Number},
    {"multifd-qatzip-level", Kind::Number},
    {"xbzrle-cache-size", Kind::Size},
    {"max-postcopy-bandwidth", Kind::Size},
    {"x-vcpu-dirty-limit-period", Kind::Number},
    {"vcpu-dirty-limit", Kind::Number},
    {"mode", Kind::Text},
    {"zero-page-detection", Kind::Text},
    {"direct-io", Kind::Truth},
});

Result<Json> value_of(const Spelling& spelling, const std::string& text)
{
    switch (spelling.kind) {
    case Kind::Text:
        return Json(text);
    case Kind::Truth:
        if (const auto on = parse_bool(text))
            return Json(*on);
        return Error(Errc::InvalidArgument,
                     fmt::format("Parameter '{}' expects 'on' or 'off'", spelling.name));
    case Kind::Number: {
        const auto number = parse_size(text);
        if (!number)
            return Error(Errc::InvalidArgument,
                         fmt::format("Parameter '{}' expects a non-negative number below 2^64",
                                     spelling.name))
                .with_hint("Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
                           "peta-\nand exabytes, respectively.");
        return Json(*number);
    }
    case Kind::Bandwidth:  // plain numbers are MiB
    case Kind::Size:
        break;
    }
    const bool plain = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    const bool mib = plain && spelling.kind == Kind::Bandwidth;
    auto size = parse_size(mib ? text + "M" : text);
    if (!size)
        return Error(Errc::InvalidArgument, fmt::format("Invalid size {}", text));
    return Json(*size);
}

Result<void> set_parameter(HmpContext& context, const HmpArgs& args)
{
    const std::string& name = args.text("parameter");
    for (const Spelling& spelling : kSpellings)
        if (spelling.name == name) {
            Json arguments = Json::object();
            arguments[name] = GW_TRY(value_of(spelling, args.text("value")));
            GW_TRY(context.qmp("migrate-set-parameters", arguments));
            return ok();
        }
    if (name == "block-bitmap-mapping")
        return Error(Errc::InvalidArgument,
                     "The block-bitmap-mapping parameter can only be set through QMP");
    return Error(Errc::InvalidArgument, fmt::format("invalid parameter value: {}", name));
}

Result<void> set_capability(MigrationService& service, const HmpArgs& args)
{
    const auto capability = capability_from(args.text("capability"));
    if (!capability)
        return Error(Errc::InvalidArgument,
                     fmt::format("invalid parameter value: {}", args.text("capability")));
    const CapabilityChange change{*capability, args.flag("state")};
    return service.set_capabilities({&change, 1});
}

void add_info(system::HmpTable& table, MigrationQmp& commands, MigrationService& service)
{
    table.add_info({.name = "migrate",
                    .args = "",
                    .params = "",
                    .help = "show migration status",
                    .run = [&](HmpContext&, const HmpArgs&, HmpOutput& out) {
                        return info_migrate(commands, service, out);
                    }});
    table.add_info({.name = "migrate_capabilities",
                    .args = "",
                    .params = "",
                    .help = "show current migration capabilities",
                    .run = [&](HmpContext&, const HmpArgs&, HmpOutput& out) {
                        return info_capabilities(commands, out);
                    }});
    table.add_info({.name = "migrate_parameters",
                    .args = "",
                    .params = "",
                    .help = "show current migration parameters",
                    .run = [&](HmpContext&, const HmpArgs&, HmpOutput& out) {
                        return info_parameters(service, out);
                    }});
}

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
    const double left = static_cast<double>(info.ram->remaining);
    const double done = 1 - std::min(left / static_cast<double>(info.ram->total), 1.0);
    out.print(fmt::format(
        "{:3.0f} %, {} kbytes left, {:.2f} mbps{}\n", std::floor(done * 100),
        info.ram->remaining >> 10, info.ram->mbps,
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

void add_moves(system::HmpTable& table, MigrationQmp& commands)
{
    table.add({.name = "migrate",
               .args = "detach:-d,resume:-r,uri:s",
               .params = "[-d] [-r] uri",
               .help =
                   "migrate to URI (using -d to not wait for completion)\n\t\t\t -r to resume a "
                   "paused postcopy migration",
               .run = [&](HmpContext& context, const HmpArgs& args, HmpOutput&) -> Result<void> {
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

void add_check(system::HmpTable& table, InsightQmp& insight)
{
    table.add({.name = "migrate_check",
               .args = "uri:s",
               .params = "uri",
               .help = "compare this machine with a Godwit that waits for a migration at URI, and "
                       "measure;\n\t\t\t nothing moves, and info migrate_check tells the result",
               .run = [&](HmpContext& context, const HmpArgs& args, HmpOutput&) {
                   qapi::MigrateCheckArgs a;
                   a.uri = args.text("uri");
                   return insight.migrate_check(context.caller, a);
               }});
    table.add_info({.name = "migrate_check",
                    .args = "",
                    .params = "",
                    .help = "show what the last migrate_check found",
                    .run = [&](HmpContext&, const HmpArgs&, HmpOutput& out) {
                        return info_check(insight, out);
                    }});
}

}  // namespace

void add_human_commands(system::HmpTable& table, MigrationQmp& commands, InsightQmp& insight,
                        MigrationService& service)
{
    add_check(table, insight);
    add_dirty_rate_commands(table, commands);
    add_info(table, commands, service);
    add_moves(table, commands);
    table.add({.name = "migrate_set_capability",
               .args = "capability:s,state:b",
               .params = "capability state",
               .help = "Enable/Disable the usage of a capability for migration",
               .run = [&](HmpContext&, const HmpArgs& args, HmpOutput&) {
                   return set_capability(service, args);
               }});
    table.add({.name = "migrate_set_parameter",
               .args = "parameter:s,value:s",
               .params = "parameter value",
               .help = "Set the parameter for migration",
               .run = [](HmpContext& context, const HmpArgs& args, HmpOutput&) {
                   return set_parameter(context, args);
               }});
}

}  // namespace godwit::migration
