// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The numbers of one attempt, as query-migrate shows them.
#pragma once

#include "migration/forecast.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace godwit::migration {

enum class PartKind : std::uint8_t { Stop, Pause, Sync, Ram, Device, Flush, Handover, Resume };

/// Time and size of one part of the downtime.
///
/// Units    ns and bytes; -1 ns where it was not foretold, or not measured yet.
struct SwitchoverPart {
    std::string name;  ///< "stop", "last-sync", a section's idstr, "flush", "handover", "resume"
    PartKind kind = PartKind::Device;
    std::int64_t start_ns = -1;  ///< since the guest was stopped
    std::int64_t ns = -1;
    std::uint64_t bytes = 0;  ///< as measured, else as foretold
    std::int64_t predicted_ns = -1;
};

/// Written by the migration thread, read by anybody.
struct Statistics {
    std::atomic<std::uint64_t> transferred{0};  ///< bytes of the main channel
    std::atomic<std::uint64_t> remaining{0};    ///< bytes of dirty pages
    std::atomic<std::uint64_t> total{0};        ///< bytes of all blocks
    std::atomic<std::uint64_t> normal_pages{0};
    std::atomic<std::uint64_t> zero_pages{0};
    std::atomic<std::uint64_t> mostly_zero_pages{0};  ///< of the normal ones
    std::atomic<std::uint64_t> mostly_zero_bytes{0};  ///< that they took
    /// Bytes that they would have taken more, had they been sent whole.
    std::atomic<std::uint64_t> spared_bytes{0};
    /// What the limit and the rates of memory go by, at `position` of the stream: a mostly-zero
    /// page counts like any other, so that a limit means what it always meant for how fast memory
    /// gets across. More than that never goes out.
    std::uint64_t paced(std::uint64_t position) const noexcept { return position + spared_bytes; }
    std::atomic<std::uint64_t> skipped_pages{0};  ///< never populated: neither read nor sent
    std::atomic<std::uint64_t> dirty_pages_rate{0};
    std::atomic<std::uint64_t> dirty_sync_count{0};
    std::atomic<std::uint64_t> precopy_bytes{0};
    std::atomic<std::uint64_t> downtime_bytes{0};
    std::atomic<std::uint64_t> pages_per_second{0};
    std::atomic<double> mbps{0};
    std::atomic<std::int64_t> setup_ms{0};
    std::atomic<std::int64_t> total_ms{-1};  ///< -1 while it runs
    std::atomic<std::int64_t> downtime_ms{-1};
    std::atomic<std::int64_t> downtime_ns{-1};            ///< the same, finer
    std::atomic<std::int64_t> predicted_downtime_ns{-1};  ///< when the guest was last checked
    std::atomic<std::int64_t> expected_downtime_ms{0};
    std::atomic<std::int64_t> start_ns{0};
    std::atomic<unsigned> throttle_percent{0};

    // xbzrle-cache
    std::atomic<std::uint64_t> xbzrle_bytes{0};
    std::atomic<std::uint64_t> xbzrle_pages{0};
    std::atomic<std::uint64_t> xbzrle_cache_miss{0};
    std::atomic<std::uint64_t> xbzrle_overflow{0};

    /// What the switchover will be made of; replaces what was foretold before.
    void foretell(std::vector<SwitchoverPart> parts)
    {
        const std::lock_guard guard(mutex_);
        parts_ = std::move(parts);
    }
    /// A part that is over; it takes the place of the one that was foretold by this name.
    void add_part(SwitchoverPart part)
    {
        const std::lock_guard guard(mutex_);
        const auto foretold = std::ranges::find_if(parts_, [&](const SwitchoverPart& p) {
            return p.ns < 0 && p.kind == part.kind && p.name == part.name;
        });
        if (foretold == parts_.end()) {
            parts_.push_back(std::move(part));
            return;
        }
        part.predicted_ns = foretold->predicted_ns;
        *foretold = std::move(part);
    }
    /// In the order of the switchover: what was measured, then what is only foretold.
    std::vector<SwitchoverPart> switchover_parts() const
    {
        std::vector<SwitchoverPart> parts;
        {
            const std::lock_guard guard(mutex_);
            parts = parts_;
        }
        std::ranges::stable_sort(parts, [](const SwitchoverPart& a, const SwitchoverPart& b) {
            return a.ns >= 0 && (b.ns < 0 || a.start_ns < b.start_ns);
        });
        return parts;
    }

    /// What is foretold about the attempt; nothing before the first verdict.
    void set_forecast(ForecastReport report)
    {
        const std::lock_guard guard(mutex_);
        forecast_ = std::move(report);
    }
    std::optional<ForecastReport> forecast() const
    {
        const std::lock_guard guard(mutex_);
        return forecast_;
    }

private:
    mutable std::mutex mutex_;
    std::vector<SwitchoverPart> parts_;       // mutex_
    std::optional<ForecastReport> forecast_;  // mutex_
};

}  // namespace godwit::migration
