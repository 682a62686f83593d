// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Slowing the guest down when it writes faster than we send.
#pragma once

#include "migration/pacing/live_limits.h"

#include <cstdint>

namespace godwit::migration {

/// Units    bytes, per cent.
/// Threads  the migration thread.
/// Source   QEMU 10.0: at the end of each period (a dirty sync more than a second after the last).
class AutoConverge {
public:
    /// What happened in the period; returns the new percentage, or the old one.
    unsigned period_ended(std::uint64_t dirtied, std::uint64_t sent, const LiveLimits& limits)
    {
        const std::uint64_t limit = sent * limits.throttle_trigger_threshold / 100;
        if (dirtied <= limit || ++hits_ < 2)
            return percent_;
        hits_ = 0;
        if (percent_ == 0)
            percent_ = limits.cpu_throttle_initial;
        else
            percent_ = raised(dirtied, limit, limits);
        return percent_;
    }
    unsigned percent() const noexcept { return percent_; }

private:
    unsigned raised(std::uint64_t dirtied, std::uint64_t limit, const LiveLimits& limits) const
    {
        unsigned increment = limits.cpu_throttle_increment;
        if (limits.cpu_throttle_tailslow) {
            const double now = 100.0 - percent_;
            const double ideal = now * static_cast<double>(limit) / static_cast<double>(dirtied);
            const double step = now - ideal;
            if (step < increment)
                increment = static_cast<unsigned>(step);
        }
        const unsigned most = limits.max_cpu_throttle;
        return percent_ + increment < most ? percent_ + increment : most;
    }

    unsigned percent_ = 0;
    unsigned hits_ = 0;
};

}  // namespace godwit::migration
