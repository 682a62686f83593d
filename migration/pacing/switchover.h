// SPDX-License-Identifier: LGPL-2.1-or-later
//
// When the rest is small enough: bandwidth, threshold and expected downtime, measured in windows of
// at least 100 ms.
#pragma once

#include "migration/live_state.h"

#include <cstdint>

namespace godwit::migration {

/// Units    bytes, ms, bytes a ms.
/// Idle     what a guest that writes little lets us send says nothing about the link. The bandwidth
///          is that of the time with something to send; a window mostly idle only shows that the
///          link carries at least this much, so it may raise the last measure and never lowers it.
///          mbps() and pages_per_second() are of the whole window.
/// Threads  the migration thread.
/// Source   QEMU 10.0, docs/migration/stream.md "Convergence".
class SwitchoverEstimate {
public:
    /// What a window says.
    struct Window {
        std::int64_t ns = 0;
        std::uint64_t bytes = 0;
        std::uint64_t pages = 0;
        std::int64_t idle_ns = 0;  ///< of `ns`, with nothing to send: looking, or waiting for news
    };
    /// The limits as they are now.
    struct Limits {
        std::uint64_t downtime_ms = 300;
        std::uint64_t avail_bandwidth = 0;  ///< bytes a second, 0: measured
    };

    void update(const Window& window, const Limits& limits);
    /// Dirty bytes at the last sync and how fast pages become dirty.
    void set_dirty(std::uint64_t bytes, std::uint64_t pages_rate) noexcept
    {
        dirty_bytes_ = bytes;
        dirty_rate_ = pages_rate;
    }

    /// Pending bytes below which the guest may be stopped. 0 until the first window has passed.
    std::uint64_t threshold() const noexcept { return threshold_; }
    double bytes_per_ms() const noexcept { return bandwidth_; }
    double mbps() const noexcept { return mbps_; }
    std::uint64_t pages_per_second() const noexcept { return pages_per_second_; }
    /// -1 while unknown: the downtime limit then stands for it.
    std::int64_t expected_downtime_ms() const noexcept { return expected_ms_; }

private:
    double bandwidth_ = 0;
    double mbps_ = 0;
    std::uint64_t threshold_ = 0;
    std::uint64_t pages_per_second_ = 0;
    std::int64_t expected_ms_ = -1;
    std::uint64_t dirty_bytes_ = 0;
    std::uint64_t dirty_rate_ = 0;
};

enum class Step : std::uint8_t {
    Iterate,   ///< another round
    Complete,  ///< stop the guest and send the rest
};

/// Whether to ask for exact numbers before deciding.
inline bool wants_exact(const Pending& estimate, std::uint64_t threshold) noexcept
{
    return estimate.total() < threshold;
}

inline Step next_step(const Pending& pending, std::uint64_t threshold, bool may_switch) noexcept
{
    const bool near = pending.total() == 0 || pending.total() < threshold;
    return near && may_switch ? Step::Complete : Step::Iterate;
}

}  // namespace godwit::migration
