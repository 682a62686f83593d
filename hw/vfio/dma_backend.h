// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where a device's DMA goes through: a type1 container, an iommufd page table, or a vfio-user
// server that maps guest memory itself. One object serves all devices that share it.
#pragma once

#include "hw/vfio/page_bits.h"
#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace godwit::hw::vfio {

/// One window of guest memory a device may reach. Sizes and addresses are multiples of the
/// backend's smallest page size.
struct DmaMapping {
    std::uint64_t iova = 0;
    std::uint64_t size = 0;
    std::byte* host = nullptr;  ///< where the bytes are in this process
    int fd = -1;                ///< what they are backed by, -1: nothing to hand on; borrowed
    std::uint64_t fd_offset = 0;
    bool writable = true;  ///< the device may write; it may always read
};

/// What a backend can take.
struct DmaLimits {
    std::uint64_t page_sizes = 4096;  ///< OR of sizes; the smallest bit is the granule
    std::uint64_t max_mappings = UINT64_MAX;
    std::uint64_t max_mapping_size = UINT64_MAX;
    /// Usable addresses, ascending, `last` inclusive; empty: everything.
    struct Range {
        std::uint64_t first = 0;
        std::uint64_t last = 0;
    };
    std::vector<Range> usable;
    /// Other devices' registers may be mapped as well (peer-to-peer DMA).
    bool device_memory = false;
    std::uint64_t granule() const noexcept { return page_sizes & (~page_sizes + 1); }
};

/// How the backend's own tracking (not a device's log) is to be asked.
struct DmaTracking {
    bool available = false;
    std::uint64_t page_size = 4096;               ///< of the bitmaps it gives
    std::uint64_t max_bitmap_bytes = UINT64_MAX;  ///< of one answer
    /// A question may not cut a mapping in two (type1): mappings are made small enough for one.
    bool whole_mappings = false;
    /// unmap_dirty() is one step; otherwise it asks first and unmaps then.
    bool atomic_unmap = false;
};

/// Maps, unmaps, and tells what was written.
///
/// Order    dirty_get() and unmap_dirty() only between dirty_start() and dirty_stop(); both of
///          those are idempotent. unmap() takes exactly what map() was given.
/// Threads  one caller at a time, with the machine lock.
/// Errors   the kernel's errno is in os_errno(); TimedOut and Closed from a peer (vfio-user).
class DmaBackend {
public:
    virtual ~DmaBackend() = default;
    /// For messages: "type1 container", "iommufd ioas 1", a socket's path.
    virtual const std::string& name() const noexcept = 0;
    virtual Result<DmaLimits> limits() = 0;
    /// What is mapped stays the same pages of the host until it is unmapped, whatever the process
    /// puts in their place: guest memory must not be discarded meanwhile. Not so for a server that
    /// maps the same file.
    virtual bool pins_pages() const noexcept = 0;

    virtual Result<void> map(const DmaMapping& mapping) = 0;
    virtual Result<void> unmap(std::uint64_t iova, std::uint64_t size) = 0;

    virtual Result<DmaTracking> tracking() = 0;
    virtual Result<void> dirty_start() = 0;
    virtual Result<void> dirty_stop() = 0;
    /// ORs the pages written since the last call into `into`, whose first page is `iova`. Within
    /// tracking(): its page size, at most max_bitmap_bytes.
    virtual Result<void> dirty_get(std::uint64_t iova, PageBits& into) = 0;
    /// unmap() that does not lose what was written: ORs it into `into`, which covers the mapping.
    virtual Result<void> unmap_dirty(std::uint64_t iova, std::uint64_t size, PageBits& into) = 0;
};

}  // namespace godwit::hw::vfio
