// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Guest RAM: blocks of host memory with an id that is the same on both sides of a migration.
#pragma once

#include "system/dirty_log.h"
#include "util/registration.h"
#include "util/result.h"
#include "util/unique_fd.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::system {

enum class RamSource { Anonymous, Memfd, File };

/// Where the host takes the pages from, as mbind(2) has it.
enum class NumaPolicy { Default, Preferred, Bind, Interleave };

/// How a block is made. Sizes in bytes, multiples of the page size.
struct RamBlockOptions {
    std::string id;                 ///< idstr in the stream: "pc.ram", "pc.bios", a backend's id
    std::uint64_t used_length = 0;  ///< what the guest sees
    std::uint64_t max_length = 0;   ///< reserved address space; 0 = used_length
    RamSource source = RamSource::Anonymous;
    std::string path;  ///< RamSource::File; a directory gets a file of its own, without a name
    std::uint64_t file_offset = 0;
    UniqueFd fd;            ///< an fd handed in (live update): mapped instead of allocated
    bool shared = false;    ///< anonymous memory is then a memfd, so that there is an fd to hand on
    bool readonly = false;  ///< the backing file is opened read-only
    bool rom = false;       ///< the mapping is read-only as well
    bool hugetlb = false;
    std::uint64_t hugetlb_size = 0;  ///< 0 = the host's default
    bool seal = true;                ///< a memfd's size is sealed
    std::uint64_t alignment = 0;     ///< of host(), a power of two; 0 = as the pages need it
    bool huge_page_advice = true;    ///< MADV_HUGEPAGE where it pays
    bool reserve = true;             ///< counts against the host's overcommit limit
    bool prealloc = false;
    unsigned prealloc_threads = 1;
    NumaPolicy numa_policy = NumaPolicy::Default;
    std::vector<unsigned> host_nodes;
    bool discard_data = false;  ///< the file's contents are worth nothing after remove()
    bool dump = true;           ///< part of a core dump
    bool merge = true;          ///< MADV_MERGEABLE
    bool migratable = true;     ///< false: never in the stream
};

/// One piece of guest RAM or ROM.
///
/// Shape    max_length() of address space at host(), used_length() of it visible; both multiples of
///          page_size(), the host page size of the backing (4 KiB, 2 MiB, 1 GiB).
/// Life     until GuestMemory::remove(), and beyond that for as long as somebody holds a flat view
///          in which it lies.
/// Threads  bytes are anybody's, as memory of a running guest is; used_length changes with the
///          machine lock.
class RamBlock : public std::enable_shared_from_this<RamBlock> {
public:
    ~RamBlock();
    RamBlock(const RamBlock&) = delete;
    RamBlock& operator=(const RamBlock&) = delete;
    const std::string& id() const noexcept;
    std::byte* host() const noexcept;
    std::uint64_t used_length() const noexcept;
    std::uint64_t max_length() const noexcept;
    std::uint64_t page_size() const noexcept;
    std::uint64_t page_count() const noexcept { return used_length() >> kPageBits; }
    int fd() const noexcept;  ///< borrowed; -1 for anonymous memory
    std::uint64_t fd_offset() const noexcept;
    bool shared() const noexcept;
    RamSource source() const noexcept;
    /// False for a read-only mapping: writing to bytes() would be a fault.
    bool writable() const noexcept;
    bool migratable() const noexcept;
    void set_migratable(bool on) noexcept;
    std::span<std::byte> bytes() const noexcept { return {host(), used_length()}; }

    DirtyLog& dirty() noexcept;
    /// Marks the pages that [offset, offset + length) touches. Call after the write.
    void mark_dirty(std::uint64_t offset, std::uint64_t length) noexcept;

    /// For blocks with room to grow (ACPI tables): called by whoever owns the content, and by a
    /// load. New bytes are zero. InvalidArgument past max_length().
    Result<void> resize(std::uint64_t used_length);
    /// Gives the pages back to the host; they read as zeros afterwards, for everybody who maps a
    /// shared block. Offsets are multiples of page_size(). Unsupported for a private mapping of a
    /// file, whose old contents would show through, and while GuestMemory::forbid_discard() holds:
    /// callers write zeros then.
    Result<void> discard(std::uint64_t offset, std::uint64_t length);

private:
    friend class GuestMemory;
    RamBlock();
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// All blocks of a Vm.
///
/// Order    blocks() is by decreasing max_length, then by creation: the order of the stream's block
///          list.
/// Threads  blocks change with the machine lock; lookups from any thread. A pointer stays good
///          while generation() does.
class GuestMemory {
public:
    GuestMemory();
    ~GuestMemory();

    /// Errors   Exists (id in use), InvalidArgument (size), OutOfMemory, Io (path named). With
    ///          huge pages the text says how many the pool has.
    Result<RamBlock*> create(RamBlockOptions options);
    void remove(RamBlock& block) noexcept;

    std::vector<RamBlock*> blocks() const;
    RamBlock* find(std::string_view id) const noexcept;
    /// The block and offset a host pointer lies in; null block if none.
    std::pair<RamBlock*, std::uint64_t> block_of(const void* host) const noexcept;
    std::uint64_t total_bytes() const noexcept;  ///< sum of used lengths
    /// Grows whenever a block comes, goes or is resized.
    std::uint64_t generation() const noexcept;

    /// No page is given back while the Registration lives: somebody (an IOMMU) holds on to the
    /// pages themselves, and what the process puts in their place would not be what a device sees.
    /// Any number of them may be held. With the machine lock.
    [[nodiscard]] Registration forbid_discard();
    bool may_discard() const noexcept;

    /// Called when a block comes, goes or is resized, with the machine lock.
    enum class Change { Added, Removed, Resized };
    [[nodiscard]] Registration on_change(std::function<void(Change, RamBlock&)> observer);

private:
    friend class RamBlock;
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace godwit::system
