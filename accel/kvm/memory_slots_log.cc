// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The kernel's dirty bitmaps: switched on, read, re-armed. Why no page is lost:
// docs/developer/dirty-tracking.md.
#include "accel/kvm/memory_slots.h"

#include <algorithm>

namespace godwit::accel::kvm {
namespace {

using system::kDirtyChunkPages;
using system::kPageBits;
using system::PageRun;

constexpr std::uint64_t kAllBits = ~std::uint64_t{0};

/// The mask of bits [from, to) of a word, both at most 64.
std::uint64_t bits_between(std::uint64_t from, std::uint64_t to)
{
    const std::uint64_t below_to = to >= 64 ? kAllBits : (std::uint64_t{1} << to) - 1;
    return from >= 64 ? 0 : below_to & ~((std::uint64_t{1} << from) - 1);
}

/// The pages of chunk `index` of the slot, counted from the slot's first page.
PageRun chunk_of(std::uint64_t slot_first, std::uint64_t slot_pages, std::uint64_t index)
{
    const std::uint64_t begin = (slot_first / kDirtyChunkPages + index) * kDirtyChunkPages;
    const std::uint64_t from = std::max(begin, slot_first) - slot_first;
    const std::uint64_t to = std::min(begin + kDirtyChunkPages - slot_first, slot_pages);
    return {from, to - from};
}

}  // namespace

/// The log was switched on. Where the kernel then says of every page that it was written, we know
/// better: what was never populated was not.
void MemorySlots::begin_log(Slot& slot)
{
    slot.reported.clear();
    slot.virgin.clear();
    if (!slot.logging || !machine_.initially_set())
        return;
    if (!populated_)
        populated_ = system::PopulatedPages::open();
    const std::uint64_t first = slot.block_offset >> kPageBits;
    const std::uint64_t pages = slot.size >> kPageBits;
    if (populated_->uses_scan() && first % 64 == 0) {
        const std::uint64_t last_chunk = (first + pages - 1) / kDirtyChunkPages;
        slot.virgin.assign(last_chunk - first / kDirtyChunkPages + 1, true);
        slot.touched.assign(slot.virgin.size(), false);
        return;
    }
    slot.reported.assign((pages + 63) / 64, kAllBits);
    clear(slot, 0, pages);
}

/// Brings what the kernel knows of the slot into the block's log; with a ring, harvests.
void MemorySlots::sync(Slot& slot)
{
    if (machine_.dirty_ring_entries() != 0)
        return harvest_locked();
    const std::uint64_t pages = slot.size >> kPageBits;
    slot.reported.resize((pages + 63) / 64);
    kvm_dirty_log log{};
    log.slot = slot.id;
    log.dirty_bitmap = slot.reported.data();
    if (auto done = GW_KVM(machine_.fd(), KVM_GET_DIRTY_LOG, &log); !done) {
        log_.report(std::move(done).error().context("dirty log of '" + slot.block->id() + "'"));
        return;
    }
    slot.reported.back() &= bits_between(0, pages % 64 == 0 ? 64 : pages % 64);
    if (slot.virgin.empty())
        return mark_reported(slot, 0, pages);
    const std::uint64_t first = slot.block_offset >> kPageBits;
    for (std::size_t i = 0; i < slot.virgin.size();) {
        const bool virgin = slot.virgin[i];
        PageRun stretch = chunk_of(first, pages, i);
        while (++i < slot.virgin.size() && slot.virgin[i] == virgin)
            stretch.count += chunk_of(first, pages, i).count;
        if (virgin)
            mark_populated(slot, stretch.first, stretch.count);
        else
            mark_reported(slot, stretch.first, stretch.count);
    }
}

/// `first` is a multiple of 64.
void MemorySlots::mark_reported(Slot& slot, std::uint64_t first, std::uint64_t count)
{
    const std::uint64_t* const words = slot.reported.data() + first / 64;
    const std::size_t size = (count + 63) / 64;
    const std::uint64_t at = (slot.block_offset >> kPageBits) + first;
    const unsigned shift = at % 64;
    if (shift == 0)
        return slot.block->dirty().mark_words(at, words, size);
    // The slot starts inside of a word of the block's bitmap.
    std::vector<std::uint64_t> moved(size + 1);
    for (std::size_t i = 0; i < size; ++i) {
        moved[i] |= words[i] << shift;
        moved[i + 1] |= words[i] >> (64 - shift);
    }
    if (moved.back() == 0)
        moved.pop_back();
    slot.block->dirty().mark_words(at - shift, moved.data(), moved.size());
}

/// Those of `pages`, counted in the slot, that are populated; counted in the block.
std::vector<PageRun> MemorySlots::populated(const Slot& slot, PageRun pages) const
{
    const std::uint64_t at = (slot.block_offset >> kPageBits) + pages.first;
    const std::uint64_t visible = slot.block->page_count();
    if (at >= visible)
        return {};
    return populated_->runs(*slot.block, {at, std::min(pages.count, visible - at)});
}

void MemorySlots::mark_populated(Slot& slot, std::uint64_t first, std::uint64_t count)
{
    // Nothing of this is to be re-armed because of what the kernel says.
    std::fill_n(slot.reported.begin() + static_cast<std::ptrdiff_t>(first / 64), (count + 63) / 64,
                0);
    const std::uint64_t base = (slot.block_offset >> kPageBits) / kDirtyChunkPages;
    for (const PageRun& run : populated(slot, {first, count})) {
        slot.block->dirty().mark(run);
        const std::uint64_t last = (run.first + run.count - 1) / kDirtyChunkPages;
        for (std::uint64_t chunk = run.first / kDirtyChunkPages; chunk <= last; ++chunk)
            slot.touched[chunk - base] = true;
    }
}

void MemorySlots::log_clear(const system::MemorySection& section)
{
    if (!machine_.manual_protect())
        return;
    for_slots(section, [&](Slot& slot) {
        if (!slot.logging || slot.reported.empty())
            return;
        const std::uint64_t from = std::max(section.start, slot.start) - slot.start;
        const std::uint64_t to =
            std::min(section.start + section.size, slot.start + slot.size) - slot.start;
        const PageRun pages{from >> kPageBits, (to - from) >> kPageBits};
        if (pages.count == 0)
            return;
        const std::vector<PageRun> adopted = adopt_virgin(slot, pages.first, pages.count);
        clear(slot, pages.first, pages.count);
        // What appeared in a chunk between the sync that found it touched and its first arming was
        // noted by nobody: it was not there to be marked, and what the kernel knew is cleared.
        for (const PageRun& chunk : adopted)
            for (const PageRun& run : populated(slot, chunk))
                slot.block->dirty().mark(run);
    });
}

/// Chunks that are about to be re-armed for the first time: none of their pages is protected, so
/// all are to be. Where nothing is there is nothing to protect. Returns these chunks, in pages of
/// the slot.
std::vector<PageRun> MemorySlots::adopt_virgin(Slot& slot, std::uint64_t first, std::uint64_t count)
{
    std::vector<PageRun> adopted;
    if (slot.virgin.empty())
        return adopted;
    const std::uint64_t block_first = slot.block_offset >> kPageBits;
    const std::uint64_t base = block_first / kDirtyChunkPages;
    const std::uint64_t last = (block_first + first + count - 1) / kDirtyChunkPages - base;
    for (std::uint64_t i = (block_first + first) / kDirtyChunkPages - base; i <= last; ++i) {
        if (!slot.virgin[i] || !slot.touched[i])
            continue;  // what is not there yet is found when it is there
        slot.virgin[i] = false;
        const PageRun chunk = chunk_of(block_first, slot.size >> kPageBits, i);
        std::fill_n(slot.reported.begin() + static_cast<std::ptrdiff_t>(chunk.first / 64),
                    (chunk.count + 63) / 64, kAllBits);
        adopted.push_back(chunk);
    }
    return adopted;
}

/// Protects again the pages of [first, first + count) that the last sync reported.
void MemorySlots::clear(Slot& slot, std::uint64_t first, std::uint64_t count)
{
    const std::uint64_t pages = slot.size >> kPageBits;
    const std::uint64_t first_word = first / 64;
    const std::uint64_t end_word = (first + count + 63) / 64;
    std::vector<std::uint64_t> words(slot.reported.begin() +
                                         static_cast<std::ptrdiff_t>(first_word),
                                     slot.reported.begin() + static_cast<std::ptrdiff_t>(end_word));
    words.front() &= bits_between(first % 64, 64);
    if ((first + count) % 64 != 0)
        words.back() &= bits_between(0, (first + count) % 64);
    if (std::ranges::all_of(words, [](std::uint64_t word) { return word == 0; }))
        return;
    kvm_clear_dirty_log log{};
    log.slot = slot.id;
    log.first_page = first_word * 64;
    log.num_pages = static_cast<std::uint32_t>(std::min(end_word * 64, pages) - log.first_page);
    log.dirty_bitmap = words.data();
    if (auto done = GW_KVM(machine_.fd(), KVM_CLEAR_DIRTY_LOG, &log); !done) {
        log_.report(std::move(done).error().context("dirty log of '" + slot.block->id() + "'"));
        return;
    }
    for (std::size_t i = 0; i < words.size(); ++i)
        slot.reported[first_word + i] &= ~words[i];
}

}  // namespace godwit::accel::kvm
