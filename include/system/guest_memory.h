// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Guest RAM: blocks of host memory with an id that is the same on both sides of a migration.
#pragma once

#include "system/dirty_log.h"
#include "util/mapping.h"
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

/// How a block is made. Sizes in bytes, multiples of the page size.
struct RamBlockOptions {
    std::string id;                 ///< idstr in the stream: "pc.ram", "pc.bios", a backend's id
    std::uint64_t used_length = 0;  ///< what the guest sees
    std::uint64_t max_length = 0;   ///< reserved address space; 0 = used_length
    RamSource source = RamSource::Anonymous;
    std::string path;  ///< RamSource::File
    std::uint64_t file_offset = 0;
    UniqueFd fd;  ///< an fd handed in (live update): mapped instead of allocated
    bool shared = false;
    bool readonly = false;  ///< the backing file is opened read-only
    bool hugetlb = false;
    std::uint64_t hugetlb_size = 0;  ///< 0 = the host's default
    bool huge_page_advice = true;    ///< MADV_HUGEPAGE where it pays
    bool prealloc = false;
    unsigned prealloc_threads = 1;
    bool dump = true;
    bool merge = true;
    bool migratable = true;  ///< false: never in the stream
};

/// One piece of guest RAM or ROM.
///
/// Shape    max_length() of address space at host(), used_length() of it visible; both multiples of
///          page_size(), the host page size of the backing (4 KiB, 2 MiB, 1 GiB).
/// Threads  bytes are anybody's, as memory of a running guest is; used_length changes with the
/// machine lock.
class RamBlock {
public:
    ~RamBlock();
    const std::string& id() const noexcept;
    std::byte* host() const noexcept;
    std::uint64_t used_length() const noexcept;
    std::uint64_t max_length() const noexcept;
    std::uint64_t page_size() const noexcept;
    std::uint64_t page_count() const noexcept { return used_length() >> kPageBits; }
    int fd() const noexcept;  ///< borrowed; -1 for anonymous memory
    std::uint64_t fd_offset() const noexcept;
    bool shared() const noexcept;
    bool migratable() const noexcept;
    void set_migratable(bool on) noexcept;
    std::span<std::byte> bytes() const noexcept { return {host(), used_length()}; }

    DirtyLog& dirty() noexcept;
    /// Marks the pages that [offset, offset + length) touches. Call after the write.
    void mark_dirty(std::uint64_t offset, std::uint64_t length) noexcept;

    /// For blocks with room to grow (ACPI tables): called by whoever owns the content, and by a
    /// load.
    Result<void> resize(std::uint64_t used_length);
    /// Gives the pages back to the host; they read as zeros (private) or vanish (shared)
    /// afterwards.
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
/// list. Threads  blocks change with the machine lock; a migration holds a generation-checked
/// snapshot.
class GuestMemory {
public:
    GuestMemory();
    ~GuestMemory();

    /// Errors   Exists (id in use), InvalidArgument (size), OutOfMemory, Io (path named).
    Result<RamBlock*> create(RamBlockOptions options);
    void remove(RamBlock& block) noexcept;

    std::vector<RamBlock*> blocks() const;
    RamBlock* find(std::string_view id) const noexcept;
    /// The block and offset a host pointer lies in; null block if none.
    std::pair<RamBlock*, std::uint64_t> block_of(const void* host) const noexcept;
    std::uint64_t total_bytes() const noexcept;  ///< sum of used lengths

    /// Called when a block comes, goes or is resized, with the machine lock.
    enum class Change { Added, Removed, Resized };
    [[nodiscard]] Registration on_change(std::function<void(Change, RamBlock&)> observer);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::system
