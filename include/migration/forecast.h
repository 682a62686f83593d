// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What will become of a migration, judged while it runs, and what became of the judgement.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::migration {

/// Whether the guest gets across.
enum class Verdict : std::uint8_t {
    Converges,      ///< within the downtime limit
    AboveDowntime,  ///< what remains settles above what the downtime limit allows
    Never,          ///< memory changes as fast as it is sent: nothing is gained by sending it
};
std::string_view to_string(Verdict verdict) noexcept;

/// Units    bytes, bytes a second, milliseconds; `given_at_ms` since the attempt's start.
struct Forecast {
    Verdict verdict = Verdict::Converges;
    std::string reason;
    std::uint64_t pass = 1;
    std::int64_t given_at_ms = 0;
    std::uint64_t wire_rate = 0;   ///< smoothed
    std::uint64_t dirty_rate = 0;  ///< smoothed
    std::uint64_t pass_wire_rate = 0;
    std::uint64_t pass_dirty_rate = 0;
    std::uint64_t remaining = 0;
    std::uint64_t settles_at = 0;
    std::uint64_t downtime_limit_ms = 0;
    std::optional<std::int64_t> downtime_needed_ms;
    std::optional<std::int64_t> time_left_min_ms;  ///< these three if it converges
    std::optional<std::int64_t> time_left_max_ms;
    std::optional<std::int64_t> passes_left;
};

/// A verdict against the outcome.
struct ForecastScore {
    Verdict verdict = Verdict::Converges;
    std::uint64_t pass = 1;
    std::int64_t given_at_ms = 0;
    std::optional<std::int64_t> total_min_ms;
    std::optional<std::int64_t> total_max_ms;
    std::int64_t total_ms = 0;
    std::optional<bool> correct;
    std::optional<bool> in_range;
};

/// All that was foretold about one attempt.
struct ForecastReport {
    Forecast latest;
    unsigned changes = 0;
    std::vector<ForecastScore> scores;  ///< the first and the last verdict, once it is over
};

}  // namespace godwit::migration
