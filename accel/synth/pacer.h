// SPDX-License-Identifier: LGPL-2.1-or-later
//
// When the next write of `-accel synth` may happen: write rate and burst/pause phases.
#pragma once

#include "accel/synth/workload.h"

#include <cstdint>

namespace godwit::accel::synth {

/// A bucket that fills with time and is emptied by writes.
///
/// Units    nanoseconds of guest time: what the vCPU was neither stopped nor throttled.
/// Shape    at most 20 ms worth of writes are saved up, so a late wake-up is made good and a long
///          stop is not followed by a flood. Without a rate it only knows the phases.
/// Threads  one.
class Pacer {
public:
    /// The rate is shared evenly between the vCPUs. Starts `phase_ns` into the first phase.
    Pacer(const WorkloadSpec& spec, unsigned vcpus, std::uint64_t phase_ns = 0);

    void advance(std::uint64_t ns) noexcept;
    /// Whether one more write may happen now.
    bool may_write() const noexcept { return !pausing() && (rate_ == 0 || credit_ >= kWriteCost); }
    /// It happened.
    void wrote() noexcept { credit_ -= rate_ == 0 ? 0 : kWriteCost; }
    /// Guest time until it is worth asking again; 0 when may_write().
    std::uint64_t wait_ns() const noexcept;
    bool pausing() const noexcept { return cycle_ns_ != 0 && phase_ns_ >= burst_ns_; }
    /// Where in the burst/pause cycle we are, for the stream.
    std::uint64_t phase_ns() const noexcept { return phase_ns_; }

private:
    static constexpr double kWriteCost = 4096.0;
    double rate_;    ///< bytes per nanosecond
    double credit_;  ///< bytes
    double most_credit_;
    std::uint64_t burst_ns_;
    std::uint64_t cycle_ns_;
    std::uint64_t phase_ns_;
};

}  // namespace godwit::accel::synth
