// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/dirty_log.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace godwit::system {

namespace {

constexpr unsigned kWordBits = 64;
constexpr std::uint64_t kAllBits = ~std::uint64_t{0};

/// Bits [from, to) of a word, 0 <= from < to <= 64.
constexpr std::uint64_t bits_between(unsigned from, unsigned to) noexcept
{
    return (kAllBits << from) & (kAllBits >> (kWordBits - to));
}

/// Calls visit(word index, mask of the run's bits in that word), lowest word first.
template <class Visit>
void for_each_word(PageRun run, Visit&& visit)
{
    const PageIndex end = run.first + run.count;
    for (PageIndex page = run.first; page < end;) {
        const std::size_t index = page / kWordBits;
        const PageIndex word_end = std::min<PageIndex>(end, (index + 1) * kWordBits);
        visit(index, bits_between(page % kWordBits, (word_end - 1) % kWordBits + 1));
        page = word_end;
    }
}

/// Appends the pages of `bits` (of word `index`), joining the last run where they touch.
void append_runs(std::vector<PageRun>& out, std::size_t index, std::uint64_t bits)
{
    const PageIndex base = PageIndex{index} * kWordBits;
    while (bits != 0) {
        const unsigned from = std::countr_zero(bits);
        const unsigned length = std::countr_one(bits >> from);
        if (!out.empty() && out.back().first + out.back().count == base + from)
            out.back().count += length;
        else
            out.push_back({base + from, length});
        bits &= from + length == kWordBits ? 0 : kAllBits << (from + length);
    }
}

/// Makes every thread of the process pass a full memory barrier. enable() pays, so that mark()
/// does not have to: docs/developer/dirty-tracking.md, "Switching on".
void barrier_in_every_thread() noexcept
{
    const auto call = [](int command) { return ::syscall(SYS_membarrier, command, 0, 0); };
    if (call(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)
        return;
    if (call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 &&
        call(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)
        return;
    call(MEMBARRIER_CMD_GLOBAL);
}

}  // namespace

Result<DirtyBitmap> DirtyBitmap::create(std::uint64_t pages)
{
    const std::uint64_t words = pages / kWordBits + (pages % kWordBits != 0);
    if (words > std::numeric_limits<std::size_t>::max() / sizeof(std::uint64_t))
        return Error(Errc::OutOfMemory, "dirty bitmap too large");
    DirtyBitmap bitmap;
    // calloc() takes large zeroed areas from the kernel, which hands pages out when touched.
    bitmap.words_.reset(static_cast<std::uint64_t*>(
        std::calloc(std::max<std::uint64_t>(words, 1), sizeof(std::uint64_t))));
    if (!bitmap.words_)
        return Error(Errc::OutOfMemory, "no memory for a dirty bitmap");
    bitmap.pages_ = pages;
    return bitmap;
}

std::uint64_t DirtyBitmap::page_count() const noexcept
{
    return pages_;
}

void DirtyBitmap::check(PageRun run) const noexcept
{
    if (run.first > pages_ || run.count > pages_ - run.first) [[unlikely]]
        std::abort();
}

void DirtyBitmap::mark(PageIndex page) noexcept
{
    mark(PageRun{page, 1});
}

void DirtyBitmap::mark(PageRun run) noexcept
{
    check(run);
    // Always a read-modify-write: a plain look at a bit that is set already could be ordered
    // before the write it records, and the taker would clear the bit without seeing that write.
    for_each_word(run, [this](std::size_t index, std::uint64_t mask) {
        word(index).fetch_or(mask, std::memory_order_release);
    });
}

void DirtyBitmap::mark_words(PageIndex first, const std::uint64_t* words,
                             std::size_t count) noexcept
{
    if (first % kWordBits != 0 || first > pages_) [[unlikely]]
        std::abort();
    for (std::size_t i = 0; i < count; ++i) {
        const PageIndex base = first + PageIndex{i} * kWordBits;
        if (base >= pages_)
            return;
        std::uint64_t bits = words[i];
        if (pages_ - base < kWordBits)
            bits &= bits_between(0, static_cast<unsigned>(pages_ - base));
        if (bits != 0)
            word(base / kWordBits).fetch_or(bits, std::memory_order_release);
    }
}

bool DirtyBitmap::test(PageIndex page) const noexcept
{
    check(PageRun{page, 1});
    return (word(page / kWordBits).load(std::memory_order_acquire) >> (page % kWordBits)) & 1;
}

template <class Sink>
std::uint64_t DirtyBitmap::take_words(PageRun range, Sink&& sink)
{
    check(range);
    std::uint64_t taken = 0;
    for_each_word(range, [&](std::size_t index, std::uint64_t mask) {
        // A mark that happened before this call is seen by this load (coherence); one that comes
        // meanwhile may be left for the next call. Words without marks stay unwritten and shared.
        if ((word(index).load(std::memory_order_relaxed) & mask) == 0)
            return;
        const std::uint64_t bits = word(index).fetch_and(~mask, std::memory_order_acq_rel) & mask;
        taken += std::popcount(bits);
        sink(index, bits);
    });
    return taken;
}

std::uint64_t DirtyBitmap::take(PageRun range, std::vector<PageRun>& out)
{
    return take_words(
        range, [&](std::size_t index, std::uint64_t bits) { append_runs(out, index, bits); });
}

std::uint64_t DirtyBitmap::take_into(PageRun range, std::uint64_t* into)
{
    return take_words(range, [&](std::size_t index, std::uint64_t bits) { into[index] |= bits; });
}

bool DirtyBitmap::take_one(PageIndex page) noexcept
{
    return take_words(PageRun{page, 1}, [](std::size_t, std::uint64_t) {}) != 0;
}

void DirtyBitmap::clear() noexcept
{
    take_words(PageRun{0, pages_}, [](std::size_t, std::uint64_t) {});
}

std::uint64_t DirtyBitmap::count() const noexcept
{
    std::uint64_t marked = 0;
    for_each_word(PageRun{0, pages_}, [&](std::size_t index, std::uint64_t mask) {
        marked += std::popcount(word(index).load(std::memory_order_relaxed) & mask);
    });
    return marked;
}

Result<std::unique_ptr<DirtyLog>> DirtyLog::create(std::uint64_t pages)
{
    auto log = std::make_unique<DirtyLog>();
    for (DirtyBitmap& bitmap : log->bitmaps_)
        bitmap = GW_TRY(DirtyBitmap::create(pages));
    log->unprotected_ = GW_TRY(DirtyBitmap::create(pages / kDirtyChunkPages + 1));
    return log;
}

template <class Mark>
void DirtyLog::for_enabled(Mark&& mark) noexcept
{
    // Keeps the compiler from moving the caller's write below the load; for the processor,
    // enable() issues the barrier.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    unsigned enabled = enabled_.load(std::memory_order_relaxed);
    while (enabled != 0) [[unlikely]] {
        mark(bitmaps_[std::countr_zero(enabled)]);
        enabled &= enabled - 1;
    }
}

void DirtyLog::mark(PageRun run) noexcept
{
    for_enabled([&](DirtyBitmap& bitmap) { bitmap.mark(run); });
}

void DirtyLog::mark_words(PageIndex first, const std::uint64_t* words, std::size_t count) noexcept
{
    for_enabled([&](DirtyBitmap& bitmap) { bitmap.mark_words(first, words, count); });
}

DirtyBitmap& DirtyLog::bitmap(DirtyClient client) noexcept
{
    return bitmaps_[static_cast<unsigned>(client)];
}

void DirtyLog::enable(DirtyClient client) noexcept
{
    if (enabled(client))
        return;
    bitmap(client).clear();
    enabled_.fetch_or(1u << static_cast<unsigned>(client), std::memory_order_seq_cst);
    barrier_in_every_thread();
}

void DirtyLog::disable(DirtyClient client) noexcept
{
    enabled_.fetch_and(~(1u << static_cast<unsigned>(client)), std::memory_order_seq_cst);
}

bool DirtyLog::take_unprotected(std::uint64_t chunk) noexcept
{
    return unprotected_.test(chunk) && unprotected_.take_one(chunk);
}

void DirtyLog::set_all_unprotected() noexcept
{
    unprotected_.mark_all();
}

bool DirtyLog::enabled(DirtyClient client) const noexcept
{
    return (enabled_.load(std::memory_order_relaxed) >> static_cast<unsigned>(client)) & 1;
}

}  // namespace godwit::system
