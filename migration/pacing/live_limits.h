// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The few parameters that may change while a migration runs; each acts at once.
#pragma once

#include "migration/parameters.h"

#include <atomic>
#include <cstdint>

namespace godwit::migration {

/// Written by the main thread, read by the migration thread.
struct LiveLimits {
    std::atomic<std::uint64_t> max_bandwidth{0};
    std::atomic<std::uint64_t> avail_switchover_bandwidth{0};
    std::atomic<std::uint64_t> downtime_limit_ms{0};
    std::atomic<unsigned> throttle_trigger_threshold{0};
    std::atomic<unsigned> cpu_throttle_initial{0};
    std::atomic<unsigned> cpu_throttle_increment{0};
    std::atomic<bool> cpu_throttle_tailslow{false};
    std::atomic<unsigned> max_cpu_throttle{0};

    explicit LiveLimits(const Parameters& p) { set(p); }
    void set(const Parameters& p)
    {
        max_bandwidth = p.max_bandwidth;
        avail_switchover_bandwidth = p.avail_switchover_bandwidth;
        downtime_limit_ms = p.downtime_limit_ms;
        throttle_trigger_threshold = p.throttle_trigger_threshold;
        cpu_throttle_initial = p.cpu_throttle_initial;
        cpu_throttle_increment = p.cpu_throttle_increment;
        cpu_throttle_tailslow = p.cpu_throttle_tailslow;
        max_cpu_throttle = p.max_cpu_throttle;
    }
};

}  // namespace godwit::migration
