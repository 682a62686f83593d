// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/parameters.h"

#include <bit>
#include <fmt/format.h>

namespace godwit::migration {
namespace {

constexpr std::uint64_t kMaxDowntimeMs = 2'000'000;
constexpr std::uint64_t kTargetPage = 4096;

// The name as QEMU's message spells it, the legal range, and the rest of the sentence; one row a
// number.
struct Bound {
    std::string_view name;
    std::uint64_t low;
    std::uint64_t high;
    std::string_view expects;
};

Result<void> within(std::uint64_t value, const Bound& b)
{
    if (value >= b.low && value <= b.high)
        return ok();
    return Error(Errc::InvalidArgument,
                 fmt::format("Parameter '{}' expects {}", b.name, b.expects));
}

Result<void> check_announce(const Parameters& p)
{
    GW_TRY(within(p.announce_initial_ms,
                  {"announce_initial", 0, 100000, "a value between 0 and 100000"}));
    GW_TRY(within(p.announce_max_ms, {"announce_max", 0, 100000, "a value between 0 and 100000"}));
    GW_TRY(within(p.announce_rounds, {"announce_rounds", 0, 1000, "a value between 0 and 1000"}));
    return within(p.announce_step_ms, {"announce_step", 1, 10000, "a value between 0 and 10000"});
}

Result<void> check_throttle(const Parameters& p)
{
    GW_TRY(within(p.throttle_trigger_threshold,
                  {"throttle_trigger_threshold", 1, 100, "an integer in the range of 1 to 100"}));
    GW_TRY(within(p.cpu_throttle_initial,
                  {"cpu_throttle_initial", 1, 99, "an integer in the range of 1 to 99"}));
    GW_TRY(within(p.cpu_throttle_increment,
                  {"cpu_throttle_increment", 1, 99, "an integer in the range of 1 to 99"}));
    return within(p.max_cpu_throttle, {"max_cpu_throttle", p.cpu_throttle_initial, 99,
                                       "an integer in the range of cpu_throttle_initial to 99"});
}

Result<void> check_transfer(const Parameters& p)
{
    GW_TRY(within(p.downtime_limit_ms, {"downtime_limit", 0, kMaxDowntimeMs,
                                        "an integer in the range of 0 to (2000 * 1000) ms"}));
    GW_TRY(within(p.multifd_channels, {"multifd_channels", 1, 255, "a value between 1 and 255"}));
    GW_TRY(within(p.multifd_zlib_level, {"multifd_zlib_level", 0, 9, "a value between 0 and 9"}));
    GW_TRY(within(p.multifd_zstd_level, {"multifd_zstd_level", 0, 20, "a value between 0 and 20"}));
    GW_TRY(
        within(p.multifd_qatzip_level, {"multifd_qatzip_level", 1, 9, "a value between 1 and 9"}));
    GW_TRY(within(p.x_vcpu_dirty_limit_period_ms,
                  {"x-vcpu-dirty-limit-period", 1, 1000, "a value between 1 and 1000"}));
    if (p.vcpu_dirty_limit < 1)
        return Error(Errc::InvalidArgument,
                     "Parameter 'vcpu_dirty_limit' must be greater than 1 MB/s");
    if (p.xbzrle_cache_size < kTargetPage || !std::has_single_bit(p.xbzrle_cache_size))
        return Error(Errc::InvalidArgument, "Parameter 'xbzrle_cache_size' expects a power of two"
                                            " no less than the target page size");
    return ok();
}

// What is known by name only. Values that have no effect without a capability that does not work
// yet (multifd-channels, ...) are harmless and taken.
Result<void> check_working(const Parameters& p)
{
    if (p.mode != Mode::Normal)
        return Error(Errc::Unsupported,
                     fmt::format("Parameter 'mode' value '{}' is not supported by"
                                 " this version",
                                 to_string(p.mode)));
    if (!p.tls_creds.empty())
        return Error(Errc::Unsupported, "Parameter 'tls-creds' is not supported by this version");
    return ok();
}

template <class T>
void take(T& value, const std::optional<T>& change)
{
    if (change)
        value = *change;
}

}  // namespace

std::string_view to_string(MultifdCompression value) noexcept
{
    constexpr std::string_view names[] = {"none", "zlib", "zstd"};
    return names[static_cast<std::size_t>(value)];
}

std::string_view to_string(Mode value) noexcept
{
    constexpr std::string_view names[] = {"normal", "cpr-reboot", "cpr-transfer"};
    return names[static_cast<std::size_t>(value)];
}

std::string_view to_string(ZeroPageDetection value) noexcept
{
    constexpr std::string_view names[] = {"none", "legacy", "multifd"};
    return names[static_cast<std::size_t>(value)];
}

Result<Parameters> changed(const Parameters& now, const ParameterChanges& c)
{
    Parameters p = now;
    take(p.announce_initial_ms, c.announce_initial_ms);
    take(p.announce_max_ms, c.announce_max_ms);
    take(p.announce_rounds, c.announce_rounds);
    take(p.announce_step_ms, c.announce_step_ms);
    take(p.throttle_trigger_threshold, c.throttle_trigger_threshold);
    take(p.cpu_throttle_initial, c.cpu_throttle_initial);
    take(p.cpu_throttle_increment, c.cpu_throttle_increment);
    take(p.cpu_throttle_tailslow, c.cpu_throttle_tailslow);
    take(p.max_cpu_throttle, c.max_cpu_throttle);
    take(p.tls_creds, c.tls_creds);
    take(p.tls_hostname, c.tls_hostname);
    take(p.tls_authz, c.tls_authz);
    take(p.max_bandwidth, c.max_bandwidth);
    take(p.avail_switchover_bandwidth, c.avail_switchover_bandwidth);
    take(p.downtime_limit_ms, c.downtime_limit_ms);
    take(p.x_checkpoint_delay_ms, c.x_checkpoint_delay_ms);
    take(p.multifd_channels, c.multifd_channels);
    take(p.multifd_compression, c.multifd_compression);
    take(p.multifd_zlib_level, c.multifd_zlib_level);
    take(p.multifd_zstd_level, c.multifd_zstd_level);
    take(p.multifd_qatzip_level, c.multifd_qatzip_level);
    take(p.xbzrle_cache_size, c.xbzrle_cache_size);
    take(p.max_postcopy_bandwidth, c.max_postcopy_bandwidth);
    take(p.x_vcpu_dirty_limit_period_ms, c.x_vcpu_dirty_limit_period_ms);
    take(p.vcpu_dirty_limit, c.vcpu_dirty_limit);
    take(p.mode, c.mode);
    take(p.zero_page_detection, c.zero_page_detection);
    take(p.direct_io, c.direct_io);
    GW_TRY(check_announce(p));
    GW_TRY(check_throttle(p));
    GW_TRY(check_transfer(p));
    GW_TRY(check_working(p));
    return p;
}

}  // namespace godwit::migration
