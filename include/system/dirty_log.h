// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Dirty-page bitmaps: which guest pages changed since they were last taken, one bitmap per block
// and client. Anyone marks; only the owner of a client takes. The argument:
// docs/developer/dirty-tracking.md.
#pragma once

#include "util/result.h"

#include <array>
#include <atomic>
#include <cstdint>
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

enum class DirtyClient : unsigned { Migration, Display };
inline constexpr unsigned kDirtyClients = 2;

/// Which pages of one RAM block changed since they were last taken.
///
/// Shape    one bit a page, fixed by create().
/// Threads  mark*() and test() from any thread, no lock; take*() from the one owner.
/// Errors   create(): Errc::OutOfMemory. A page past the end is our bug and aborts.
/// Source   bit order of KVM_GET_DIRTY_LOG (Linux, Documentation/virt/kvm/api.rst): page p is bit p
/// % 64 of
///          word p / 64.
class DirtyBitmap {
public:
    static Result<DirtyBitmap> create(std::uint64_t pages);

    std::uint64_t page_count() const noexcept;

    /// Idempotent. Call after the write it records; take() will then see that write.
    void mark(PageIndex page) noexcept;
    void mark(PageRun run) noexcept;
    /// ORs `words` in; bit 0 of words[0] is page `first` (a multiple of 64).
    void mark_words(PageIndex first, const std::uint64_t* words, std::size_t count) noexcept;
    bool test(PageIndex page) const noexcept;

    /// Clears the marks in `range` and appends them to `out` as runs, lowest first; returns pages
    /// taken. A page marked meanwhile is in this answer or in the next one, never lost.
    std::uint64_t take(PageRun range, std::vector<PageRun>& out);
    /// The same, ORed into a private bitmap `into` (same bit order, word of page 0 first).
    std::uint64_t take_into(PageRun range, std::uint64_t* into);
    std::uint64_t count() const noexcept;

private:
    std::uint64_t pages_ = 0;
    std::unique_ptr<std::atomic<std::uint64_t>[]> words_;  // release in mark(), acquire in take()
};

/// The bitmaps of one block, one per client; a client's bitmap counts only while that client is
/// enabled.
///
/// Threads  mark() from any thread; enable()/disable() with the machine lock.
class DirtyLog {
public:
    static Result<std::unique_ptr<DirtyLog>> create(std::uint64_t pages);

    /// Marks for every enabled client. Cheap when none is (one load).
    void mark(PageRun run) noexcept;
    DirtyBitmap& bitmap(DirtyClient client) noexcept;
    void enable(DirtyClient client) noexcept;
    void disable(DirtyClient client) noexcept;
    bool enabled(DirtyClient client) const noexcept;

private:
    std::atomic<unsigned> enabled_{0};
    std::array<DirtyBitmap, kDirtyClients> bitmaps_;
};

}  // namespace godwit::system
