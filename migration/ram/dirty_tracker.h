// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which pages are still to be sent, in the order in which they are sent.
#pragma once

#include "migration/environment.h"
#include "system/guest_memory.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace godwit::migration {

/// A run of pages of one block.
struct BlockRun {
    system::RamBlock* block = nullptr;
    system::PageRun pages;
};

/// The pages of all migratable blocks that the destination does not have in their present state.
///
/// Shape    one bit a page and block, private to the attempt; blocks in the order of the stream.
/// Threads  the migration thread. start(), sync() and the destructor take the machine lock
///          themselves.
/// Errors   start(): what the dirty source says.
/// Order    a page's bit is cleared before the page is read: what is written meanwhile is in the
///          next sync.
class DirtyTracker {
public:
    explicit DirtyTracker(Environment& env);
    ~DirtyTracker();
    DirtyTracker(const DirtyTracker&) = delete;
    DirtyTracker& operator=(const DirtyTracker&) = delete;

    /// Starts logging; everything that was ever populated is dirty.
    Result<void> start();
    /// Takes over what was written since; returns how many pages became dirty that were not.
    std::uint64_t sync(bool last);

    std::uint64_t dirty_pages() const noexcept { return dirty_; }
    std::uint64_t skipped_pages() const noexcept { return skipped_; }
    const std::vector<system::RamBlock*>& blocks() const noexcept { return order_; }

    /// The next dirty pages from where the last call ended, at most `at_most` and of one block;
    /// false when nothing is dirty. They are no longer dirty afterwards.
    bool take_next(std::uint64_t at_most, BlockRun& run);
    /// Counts how often take_next() went past the last block.
    std::uint64_t rounds() const noexcept { return rounds_; }

private:
    struct Bitmap {
        system::RamBlock* block;
        std::vector<std::uint64_t> words;
        std::uint64_t pages;
        std::uint64_t dirty;
    };
    void mark(Bitmap& bitmap, const std::vector<system::PageRun>& runs);

    Environment& env_;
    std::vector<system::RamBlock*> order_;
    std::vector<Bitmap> bitmaps_;
    std::vector<system::PageRun> taken_;  // by sync(), kept for its memory
    std::size_t at_block_ = 0;
    std::uint64_t at_page_ = 0;
    std::uint64_t dirty_ = 0;
    std::uint64_t skipped_ = 0;
    std::uint64_t rounds_ = 0;
    bool started_ = false;
};

}  // namespace godwit::migration
