// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/dirty_tracker.h"

#include "system/main_loop.h"
#include "system/populated_pages.h"

#include <algorithm>
#include <bit>

namespace godwit::migration {

using system::DirtyClient;
using system::PageRun;

DirtyTracker::DirtyTracker(Environment& env) : env_(env) {}

DirtyTracker::~DirtyTracker()
{
    if (!started_)
        return;
    const system::MachineGuardIfNeeded guard(env_.lock);
    env_.dirty.stop();
}

Result<void> DirtyTracker::start()
{
    const system::MachineGuardIfNeeded guard(env_.lock);
    for (system::RamBlock* block : env_.memory.blocks()) {
        if (!block->migratable())
            continue;
        order_.push_back(block);
        bitmaps_.push_back({block, std::vector<std::uint64_t>((block->page_count() + 63) / 64),
                            block->page_count(), 0});
    }
    // Log first, look second: what is written in between is seen at least once.
    GW_TRY(env_.dirty.start());
    started_ = true;
    for (Bitmap& bitmap : bitmaps_) {
        std::vector<PageRun> stale;
        bitmap.block->dirty().bitmap(DirtyClient::Migration).take({0, bitmap.pages}, stale);
    }
    const system::PopulatedPages populated = system::PopulatedPages::open();
    for (Bitmap& bitmap : bitmaps_)
        mark(bitmap, populated.runs(*bitmap.block));
    return ok();
}

namespace {

// Bits `first` to `first + count` of a bitmap, as one mask per word.
template <class F>
void each_word(PageRun run, F body)
{
    std::uint64_t page = run.first;
    const std::uint64_t end = run.first + run.count;
    while (page < end) {
        const unsigned shift = page % 64;
        const std::uint64_t bits = std::min<std::uint64_t>(64 - shift, end - page);
        const std::uint64_t mask = (bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1)
                                   << shift;
        body(page / 64, mask);
        page += bits;
    }
}

}  // namespace

void DirtyTracker::mark(Bitmap& bitmap, const std::vector<PageRun>& runs)
{
    for (PageRun run : runs) {
        run.count = std::min(run.count, bitmap.pages - std::min(bitmap.pages, run.first));
        each_word(run, [&](std::uint64_t word, std::uint64_t mask) {
            bitmap.dirty += static_cast<std::uint64_t>(std::popcount(mask & ~bitmap.words[word]));
            bitmap.words[word] |= mask;
        });
    }
    dirty_ += bitmap.dirty;
    skipped_ += bitmap.pages - bitmap.dirty;
}

std::uint64_t DirtyTracker::sync(bool last)
{
    const system::MachineGuardIfNeeded guard(env_.lock);
    env_.dirty.sync(last);
    std::uint64_t fresh = 0;
    for (Bitmap& bitmap : bitmaps_) {
        taken_.clear();
        bitmap.block->dirty().bitmap(DirtyClient::Migration).take({0, bitmap.pages}, taken_);
        std::uint64_t here = 0;
        for (const PageRun& run : taken_)
            each_word(run, [&](std::uint64_t word, std::uint64_t mask) {
                here += static_cast<std::uint64_t>(std::popcount(mask & ~bitmap.words[word]));
                bitmap.words[word] |= mask;
            });
        bitmap.dirty += here;
        fresh += here;
    }
    dirty_ += fresh;
    return fresh;
}

bool DirtyTracker::take_next(std::uint64_t at_most, BlockRun& run)
{
    if (dirty_ == 0)
        return false;
    for (;;) {
        if (at_block_ == bitmaps_.size()) {
            at_block_ = 0;
            at_page_ = 0;
            ++rounds_;
        }
        Bitmap& bitmap = bitmaps_[at_block_];
        while (bitmap.dirty != 0 && at_page_ < bitmap.pages) {
            const std::uint64_t word =
                bitmap.words[at_page_ / 64] & (~std::uint64_t{0} << (at_page_ % 64));
            if (word != 0) {
                at_page_ = at_page_ / 64 * 64 + static_cast<unsigned>(std::countr_zero(word));
                break;
            }
            at_page_ = (at_page_ / 64 + 1) * 64;
        }
        if (bitmap.dirty == 0 || at_page_ >= bitmap.pages) {
            ++at_block_;
            at_page_ = 0;
            continue;
        }
        std::uint64_t end = at_page_;
        while (end < bitmap.pages && end - at_page_ < at_most &&
               (bitmap.words[end / 64] >> (end % 64) & 1) != 0) {
            const auto ones =
                static_cast<std::uint64_t>(std::countr_one(bitmap.words[end / 64] >> (end % 64)));
            end += std::min<std::uint64_t>(ones, 64 - end % 64);
        }
        end = std::min({end, bitmap.pages, at_page_ + at_most});
        run = {bitmap.block, {at_page_, end - at_page_}};
        {
            // Marks that somebody else's sync brought meanwhile: their bytes are read now, after
            // their pages were armed. Under the lock no such sync is half done.
            const system::MachineGuardIfNeeded guard(env_.lock);
            env_.dirty.clear(*bitmap.block, run.pages);
            taken_.clear();
            bitmap.block->dirty().bitmap(DirtyClient::Migration).take(run.pages, taken_);
        }
        each_word(run.pages,
                  [&](std::uint64_t word, std::uint64_t mask) { bitmap.words[word] &= ~mask; });
        bitmap.dirty -= run.pages.count;
        dirty_ -= run.pages.count;
        at_page_ = end;
        return true;
    }
}

}  // namespace godwit::migration
