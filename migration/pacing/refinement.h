// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Whether to go on although the guest may be stopped: what is sent while it runs does not count as
// downtime.
#pragma once

#include <algorithm>
#include <cstdint>

namespace godwit::migration {

/// Asked once the rest is below the switchover threshold, and only while the guest runs.
///
/// Units    bytes, ns, bytes a ns.
/// Threads  the migration thread.
/// Bounds   the pass that runs is finished, as long as that makes the rest smaller. Then further
///          passes, as long as each leaves clearly less than the one before, the rest is worth it,
///          and all of them together take a small part of the whole time. A guest that is too fast
///          is stopped where it would have been stopped without this.
class Refinement {
public:
    /// `left` of the running pass is not sent yet. True: send it first.
    bool finish_pass(std::uint64_t left) noexcept
    {
        const bool shrinks = left < pass_left_ - pass_left_ / 16;
        pass_left_ = left;
        return left != 0 && shrinks;
    }

    /// A sync at `now` found `left` bytes; the migration takes `elapsed` so far. True: another
    /// pass.
    bool another_pass(std::uint64_t left, double bytes_per_ns, std::int64_t now,
                      std::int64_t elapsed) noexcept
    {
        pass_left_ = ~std::uint64_t{0};
        if (passes_ != 0)
            spent_ += now - began_;
        began_ = now;
        const bool shrinks = passes_ == 0 || left < left_ - left_ / 4;
        left_ = left;
        if (bytes_per_ns <= 0 || !shrinks || passes_ == kMostPasses)
            return false;
        const double cost = static_cast<double>(left) / bytes_per_ns;
        if (cost < kWorthNs ||
            static_cast<double>(spent_) + cost > static_cast<double>(allowance(elapsed)))
            return false;
        ++passes_;
        return true;
    }
    unsigned passes() const noexcept { return passes_; }

    /// What all further passes together may take.
    static std::int64_t allowance(std::int64_t elapsed) noexcept
    {
        return std::max(kLeastAllowanceNs, elapsed / 8);
    }

private:
    static constexpr unsigned kMostPasses = 10;
    static constexpr double kWorthNs = 400'000;
    static constexpr std::int64_t kLeastAllowanceNs = 20'000'000;

    std::uint64_t pass_left_ = ~std::uint64_t{0};
    std::uint64_t left_ = 0;
    std::int64_t began_ = 0;
    std::int64_t spent_ = 0;
    unsigned passes_ = 0;
};

}  // namespace godwit::migration
