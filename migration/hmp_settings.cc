// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Parameters and capabilities in the human monitor.
#include "migration/hmp.h"
#include "migration/qmp.h"
#include "system/hmp.h"
#include "util/json.h"
#include "util/size.h"

#include <array>
#include <fmt/format.h>

namespace godwit::migration {
namespace {

using system::HmpArgs;
using system::HmpContext;
using system::HmpOutput;

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

}  // namespace

void add_settings_commands(system::HmpTable& table, MigrationQmp& commands,
                           MigrationService& service)
{
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
