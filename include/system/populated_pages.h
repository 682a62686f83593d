// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which pages of guest RAM were ever touched. What was not reads as zeros, and need not be read to
// know that.
#pragma once

#include "system/guest_memory.h"
#include "util/result.h"
#include "util/unique_fd.h"

#include <memory>
#include <vector>

namespace godwit::system {

/// Asks the kernel which pages hold something, without touching any.
///
/// Sources  PAGEMAP_SCAN where the kernel has it (Linux 6.7), else /proc/self/pagemap; for memory
/// behind a file
///          or memfd also SEEK_DATA, because another mapping may have filled it. What cannot be
///          asked counts as populated.
/// Threads  any one; the guest may run. A page first written after the answer is in the dirty log,
/// if logging
///          was on before the call: start logging, then ask.
/// Cost     time in page tables that exist, not in the size of the block.
class PopulatedPages {
public:
    static PopulatedPages open();

    /// Runs of pages of `block` that may hold something else than zeros, lowest first.
    std::vector<PageRun> runs(const RamBlock& block) const
    {
        return runs(block, {0, block.page_count()});
    }
    /// The same for `within` only, which lies in the visible part of the block.
    std::vector<PageRun> runs(const RamBlock& block, PageRun within) const;

    /// For tests: the slower way, although the kernel has PAGEMAP_SCAN.
    void force_fallback() noexcept { can_scan_ = false; }
    bool uses_scan() const noexcept { return can_scan_; }

private:
    using Runs = std::vector<PageRun>;
    bool add_present(const RamBlock& block, PageRun within, Runs& out) const;
    bool scan(const RamBlock& block, PageRun within, Runs& out) const;
    bool read_pagemap(const RamBlock& block, PageRun within, Runs& out) const;

    UniqueFd pagemap_;
    bool can_scan_ = false;
};

/// Sorted and joined: what is in either list.
std::vector<PageRun> merge_runs(std::vector<PageRun> a, const std::vector<PageRun>& b);

}  // namespace godwit::system
