// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Dirty-page bitmaps: which guest pages changed since they were last taken, one bitmap per block
// and client. Anyone marks; only the owner of a client takes. The argument:
// docs/developer/dirty-tracking.md.
#pragma once

#include "util/result.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace godwit::system {

/// Counts 4 KiB target pages from the start of a block; never bytes, never guest addresses.
using PageIndex = std::uint64_t;

inline constexpr unsigned kPageBits = 12;
inline constexpr std::uint64_t kPageSize = std::uint64_t{1} << kPageBits;

struct PageRun {
    PageIndex first = 0;
    std::uint64_t count = 0;
    bool operator==(const PageRun&) const = default;
};

/// Who takes marks. Rate measures (calc-dirty-rate, dirty limits) beside a migration.
enum class DirtyClient : unsigned { Migration, Display, Rate };
inline constexpr unsigned kDirtyClients = 3;

/// Write protection is re-armed in pieces of 4 MiB: what is written between a sync and the moment
/// its piece is re-armed is read afterwards anyway and need not be sent twice.
inline constexpr std::uint64_t kDirtyChunkPages = (std::uint64_t{4} << 20) >> kPageBits;

/// Which pages of one RAM block changed since they were last taken.
///
/// Shape    one bit a page, fixed by create().
/// Threads  mark*(), test() and count() from any thread, no lock; take*() and clear() from the one
///          owner.
/// Errors   create(): Errc::OutOfMemory. A page past the end is our bug and aborts.
/// Source   bit order of KVM_GET_DIRTY_LOG (Linux, Documentation/virt/kvm/api.rst): page p is bit
///          p % 64 of word p / 64.
class DirtyBitmap {
public:
    /// Words that were never marked cost no memory.
    static Result<DirtyBitmap> create(std::uint64_t pages);

    std::uint64_t page_count() const noexcept;

    /// Idempotent. Call after the write it records; take() will then see that write.
    void mark(PageIndex page) noexcept;
    void mark(PageRun run) noexcept;
    void mark_all() noexcept { mark(PageRun{0, pages_}); }
    /// ORs `words` in; bit 0 of words[0] is page `first` (a multiple of 64). Bits past the last
    /// page are ignored: the kernel rounds its bitmaps up.
    void mark_words(PageIndex first, const std::uint64_t* words, std::size_t count) noexcept;
    bool test(PageIndex page) const noexcept;

    /// Clears the marks in `range` and appends them to `out` as runs, lowest first; returns pages
    /// taken. A page marked meanwhile is in this answer or in the next one, never lost.
    std::uint64_t take(PageRun range, std::vector<PageRun>& out);
    /// The same, ORed into a private bitmap `into` (same bit order, word of page 0 first).
    std::uint64_t take_into(PageRun range, std::uint64_t* into);
    bool take_one(PageIndex page) noexcept;
    /// Forgets every mark.
    void clear() noexcept;
    /// Pages marked just now.
    std::uint64_t count() const noexcept;

private:
    struct Free {
        void operator()(std::uint64_t* words) const noexcept { std::free(words); }
    };
    std::atomic_ref<std::uint64_t> word(std::size_t index) const noexcept
    {
        return std::atomic_ref<std::uint64_t>(words_[index]);
    }
    void check(PageRun run) const noexcept;
    template <class Sink>
    std::uint64_t take_words(PageRun range, Sink&& sink);

    std::uint64_t pages_ = 0;
    std::unique_ptr<std::uint64_t[], Free> words_;  // release in mark(), acquire in take()
};

/// The bitmaps of one block, one per client; a client's bitmap counts only while that client is
/// enabled.
///
/// Threads  mark*() from any thread; enable()/disable() with the machine lock.
class DirtyLog {
public:
    static Result<std::unique_ptr<DirtyLog>> create(std::uint64_t pages);

    /// Marks for every enabled client. Cheap when none is (one load).
    void mark(PageRun run) noexcept;
    /// DirtyBitmap::mark_words() for every enabled client.
    void mark_words(PageIndex first, const std::uint64_t* words, std::size_t count) noexcept;
    DirtyBitmap& bitmap(DirtyClient client) noexcept;
    /// Forgets old marks. A write that was not marked is in memory, for everybody to see, when
    /// this returns.
    void enable(DirtyClient client) noexcept;
    void disable(DirtyClient client) noexcept;
    bool enabled(DirtyClient client) const noexcept;
    /// Whether the last sync left pages of `chunk` without write protection, asked once: the first
    /// caller after a sync hears true and re-arms it. Chunks are kDirtyChunkPages long.
    bool take_unprotected(std::uint64_t chunk) noexcept;
    void set_all_unprotected() noexcept;
    bool any_enabled() const noexcept { return enabled_.load(std::memory_order_relaxed) != 0; }

private:
    template <class Mark>
    void for_enabled(Mark&& mark) noexcept;

    std::atomic<unsigned> enabled_{0};  // one bit a client
    std::array<DirtyBitmap, kDirtyClients> bitmaps_;
    DirtyBitmap unprotected_;  // one bit a chunk
};

}  // namespace godwit::system
