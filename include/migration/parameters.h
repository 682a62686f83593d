// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Migration parameters: QEMU's names, defaults and ranges.
#pragma once

#include "util/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace godwit::migration {

enum class MultifdCompression : std::uint8_t { None, Zlib, Zstd };
enum class Mode : std::uint8_t { Normal, CprReboot, CprTransfer };
enum class ZeroPageDetection : std::uint8_t { None, Legacy, Multifd };

std::string_view to_string(MultifdCompression value) noexcept;
std::string_view to_string(Mode value) noexcept;
std::string_view to_string(ZeroPageDetection value) noexcept;

/// All of them; the initialisers are the defaults. Bandwidths in bytes a second, 0 for no limit.
struct Parameters {
    std::uint64_t announce_initial_ms = 50;
    std::uint64_t announce_max_ms = 550;
    std::uint64_t announce_rounds = 5;
    std::uint64_t announce_step_ms = 100;
    std::uint8_t throttle_trigger_threshold = 50;  ///< per cent
    std::uint8_t cpu_throttle_initial = 20;        ///< per cent
    std::uint8_t cpu_throttle_increment = 10;      ///< per cent
    bool cpu_throttle_tailslow = false;
    std::uint8_t max_cpu_throttle = 99;  ///< per cent
    std::string tls_creds;
    std::string tls_hostname;
    std::string tls_authz;
    std::uint64_t max_bandwidth = 128u << 20;
    std::uint64_t avail_switchover_bandwidth = 0;  ///< 0: measured
    std::uint64_t downtime_limit_ms = 300;
    std::uint32_t x_checkpoint_delay_ms = 20000;
    std::uint8_t multifd_channels = 2;
    MultifdCompression multifd_compression = MultifdCompression::None;
    std::uint8_t multifd_zlib_level = 1;
    std::uint8_t multifd_zstd_level = 1;
    std::uint8_t multifd_qatzip_level = 1;
    std::uint64_t xbzrle_cache_size = 64u << 20;
    std::uint64_t max_postcopy_bandwidth = 0;
    std::uint64_t x_vcpu_dirty_limit_period_ms = 1000;
    std::uint64_t vcpu_dirty_limit = 1;  ///< MB/s
    Mode mode = Mode::Normal;
    ZeroPageDetection zero_page_detection = ZeroPageDetection::Multifd;
    bool direct_io = false;
    bool operator==(const Parameters&) const = default;
};

/// What migrate-set-parameters changes: only members that have a value.
struct ParameterChanges {
    std::optional<std::uint64_t> announce_initial_ms;
    std::optional<std::uint64_t> announce_max_ms;
    std::optional<std::uint64_t> announce_rounds;
    std::optional<std::uint64_t> announce_step_ms;
    std::optional<std::uint8_t> throttle_trigger_threshold;
    std::optional<std::uint8_t> cpu_throttle_initial;
    std::optional<std::uint8_t> cpu_throttle_increment;
    std::optional<bool> cpu_throttle_tailslow;
    std::optional<std::uint8_t> max_cpu_throttle;
    std::optional<std::string> tls_creds;
    std::optional<std::string> tls_hostname;
    std::optional<std::string> tls_authz;
    std::optional<std::uint64_t> max_bandwidth;
    std::optional<std::uint64_t> avail_switchover_bandwidth;
    std::optional<std::uint64_t> downtime_limit_ms;
    std::optional<std::uint32_t> x_checkpoint_delay_ms;
    std::optional<std::uint8_t> multifd_channels;
    std::optional<MultifdCompression> multifd_compression;
    std::optional<std::uint8_t> multifd_zlib_level;
    std::optional<std::uint8_t> multifd_zstd_level;
    std::optional<std::uint8_t> multifd_qatzip_level;
    std::optional<std::uint64_t> xbzrle_cache_size;
    std::optional<std::uint64_t> max_postcopy_bandwidth;
    std::optional<std::uint64_t> x_vcpu_dirty_limit_period_ms;
    std::optional<std::uint64_t> vcpu_dirty_limit;
    std::optional<Mode> mode;
    std::optional<ZeroPageDetection> zero_page_detection;
    std::optional<bool> direct_io;
};

/// `now` after `changes`, all or none of them.
/// Errors   InvalidArgument, in QEMU's words, naming the parameter and its range; Unsupported for
///          values that this version knows by name only.
Result<Parameters> changed(const Parameters& now, const ParameterChanges& changes);

}  // namespace godwit::migration
