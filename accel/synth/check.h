// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Is every page what the counters say it must be?
#pragma once

#include "accel/synth/workload.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace godwit::accel::synth {

/// A page that is not what it must be.
struct WrongPage {
    std::uint64_t offset = 0;  ///< of the first wrong word, in bytes from the start of the block
    unsigned vcpu = 0;
    std::uint64_t expected = 0;  ///< the word there, little-endian
    std::uint64_t found = 0;
    std::uint64_t generation = 0;  ///< how often the page was written: what it should be
    /// When the page is a whole older state of itself: how many writes it lags behind; else 0.
    std::uint64_t stale_by = 0;
};

struct CheckResult {
    std::uint64_t pages = 0;
    std::uint64_t never_written = 0;  ///< of them: must be zero
    std::uint64_t wrong = 0;
    std::vector<WrongPage> first;  ///< the lowest, at most kMaxReported a vCPU

    /// Adds the pages of another vCPU.
    void add(const CheckResult& other);
};
inline constexpr std::size_t kMaxReported = 16;

/// Compares all pages of one vCPU's share of `block` with what `accesses` accesses make of them.
/// Linear in the pages, no copy. Pages that were never written and that the host has not allocated
/// are zero without being looked at, so nothing is allocated for them.
///
/// Threads  while the vCPU is paused.
CheckResult check_pages(const std::byte* block, const VcpuWorkload& work, unsigned vcpu,
                        std::uint64_t accesses);

}  // namespace godwit::accel::synth
