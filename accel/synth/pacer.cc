// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/synth/pacer.h"

#include <algorithm>

namespace godwit::accel::synth {
namespace {

constexpr double kNsPerSecond = 1e9;
constexpr double kSavedNs = 20e6;
/// Waking up more often costs more than it smooths.
constexpr std::uint64_t kShortestWaitNs = 500'000;

}  // namespace

Pacer::Pacer(const WorkloadSpec& spec, unsigned vcpus, std::uint64_t phase_ns)
    : rate_(static_cast<double>(spec.rate) / vcpus / kNsPerSecond), credit_(0),
      most_credit_(std::max(rate_ * kSavedNs, kWriteCost)),
      burst_ns_(std::uint64_t{spec.burst_ms} * 1'000'000),
      cycle_ns_(burst_ns_ + std::uint64_t{spec.pause_ms} * 1'000'000),
      phase_ns_(cycle_ns_ == 0 ? 0 : phase_ns % cycle_ns_)
{}

void Pacer::advance(std::uint64_t ns) noexcept
{
    std::uint64_t active = ns;
    if (cycle_ns_ != 0) {
        // Bursts in [0, t): whole cycles, and the part of the last one.
        const auto bursts = [this](std::uint64_t t) {
            return t / cycle_ns_ * burst_ns_ + std::min(t % cycle_ns_, burst_ns_);
        };
        active = bursts(phase_ns_ + ns) - bursts(phase_ns_);
        phase_ns_ = (phase_ns_ + ns) % cycle_ns_;
    }
    if (rate_ != 0)
        credit_ = std::min(credit_ + rate_ * static_cast<double>(active), most_credit_);
}

std::uint64_t Pacer::wait_ns() const noexcept
{
    if (pausing())
        return cycle_ns_ - phase_ns_;
    if (may_write())
        return 0;
    const auto until = static_cast<std::uint64_t>((kWriteCost - credit_) / rate_) + 1;
    return std::max(until, kShortestWaitNs);
}

}  // namespace godwit::accel::synth
