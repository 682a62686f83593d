// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/pacing/switchover.h"

#include <algorithm>

namespace godwit::migration {
namespace {

// A window with less than this says nothing about the downtime.
constexpr std::uint64_t kTellingBytes = 10000;

// A product of two factors that may be huge; what does not fit is "everything".
std::uint64_t clamped(double value)
{
    return value >= 1.8e19 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(std::max(value, 0.0));
}

}  // namespace

void SwitchoverEstimate::update(const Window& window, const Limits& limits)
{
    const double ms = std::max(static_cast<double>(window.ns) / 1e6, 1e-3);
    const double busy_ms = ms - static_cast<double>(window.idle_ns) / 1e6;
    if (busy_ms * 2 >= ms)
        bandwidth_ = static_cast<double>(window.bytes) / busy_ms;
    else
        bandwidth_ = std::max(bandwidth_, static_cast<double>(window.bytes) / ms);
    const double expected = limits.avail_bandwidth != 0
                                ? static_cast<double>(limits.avail_bandwidth / 1000)
                                : bandwidth_;
    threshold_ = clamped(expected * static_cast<double>(limits.downtime_ms));
    mbps_ = static_cast<double>(window.bytes) * 8 / (ms / 1000) / 1e6;
    pages_per_second_ = clamped(static_cast<double>(window.pages) / (ms / 1000));
    if (dirty_rate_ != 0 && window.bytes > kTellingBytes && expected > 0)
        expected_ms_ =
            static_cast<std::int64_t>(std::min(static_cast<double>(dirty_bytes_) / expected, 9e18));
}

}  // namespace godwit::migration
