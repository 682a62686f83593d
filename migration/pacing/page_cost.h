// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the dirty pages will take on the wire, where the guest writes pages that are sent as next to
// nothing.
#pragma once

#include "system/dirty_log.h"

#include <algorithm>
#include <cstdint>

namespace godwit::migration {

/// Learns from the passes behind the first: what is rewritten will be rewritten. The first tells
/// nothing, as most of its pages may never be written again.
///
/// Units    pages of 4 KiB, bytes.
/// Threads  the migration thread.
/// Bounds   until a pass was telling a page takes a page; then as much as in the dearer one of the
///          last two that were.
class PageCost {
public:
    /// Between two syncs so many pages went out, in so many bytes less than whole pages take.
    void pass_ended(std::uint64_t pages, std::uint64_t spared) noexcept
    {
        if (!first_ && pages >= kTellingPages) {
            const double whole = static_cast<double>(pages) * system::kPageSize;
            const double now = std::max(whole - static_cast<double>(spared), 0.0) / whole;
            share_ = last_ < 0 ? now : std::max(last_, now);
            last_ = now;
        }
        first_ = false;
    }
    /// Of so many pages.
    std::uint64_t bytes(std::uint64_t pages) const noexcept
    {
        const double whole = static_cast<double>(pages) * system::kPageSize;
        const auto taken = static_cast<std::uint64_t>(whole * share_);
        return std::max(taken, pages * kLeast);
    }

private:
    static constexpr std::uint64_t kTellingPages = 64;
    static constexpr std::uint64_t kLeast = 16;  // the headers of such a page

    bool first_ = true;
    double last_ = -1;
    double share_ = 1;
};

}  // namespace godwit::migration
