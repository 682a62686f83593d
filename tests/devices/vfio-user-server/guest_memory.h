// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Guest memory as the client mapped it for the device, and the log of what the device wrote there.
#pragma once

#include "util/mapping.h"
#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace godwit::vfio_user_server {

/// Pages the device wrote, by IOVA. Survives unmapping, as a device's log does.
///
/// Units    bytes for addresses; pages of page_size(), a power of two.
/// Errors   their os_errno() is what the client is told.
class DirtyLog {
public:
    struct Range {
        std::uint64_t iova = 0;
        std::uint64_t length = 0;
    };
    static constexpr std::size_t kMaxRanges = 256;

    bool on() const noexcept { return page_size_ != 0; }
    std::uint64_t page_size() const noexcept { return page_size_; }
    /// No ranges: everything is logged. Already on: EBUSY.
    Result<void> start(std::uint64_t page_size, std::span<const Range> ranges);
    void stop() noexcept;
    /// After the write it records.
    void mark(std::uint64_t iova, std::uint64_t length);
    /// Bits for [iova, iova + length) in pages of `page_size`, which may differ from the log's;
    /// forgets them.
    Result<std::vector<std::uint64_t>> take(std::uint64_t iova, std::uint64_t length,
                                            std::uint64_t page_size);
    std::uint64_t marked_pages() const noexcept { return marked_; }

private:
    bool covered(std::uint64_t iova) const;
    void take_word(std::uint64_t word, std::uint64_t first, std::uint64_t last,
                   std::vector<std::uint64_t>& pages);

    std::uint64_t page_size_ = 0;
    std::vector<Range> ranges_;
    std::unordered_map<std::uint64_t, std::uint64_t> words_;  // page number / 64 -> 64 pages
    std::uint64_t marked_ = 0;
};

/// The windows of DMA_MAP.
///
/// Errors   their os_errno() is what the client is told.
class GuestMemory {
public:
    struct Window {
        std::uint64_t size = 0;
        bool writable = false;
        Mapping memory;  ///< empty when the client gave no descriptor
    };

    /// `fd` is only borrowed; -1: the window cannot be reached.
    /// Errors   EEXIST (overlap), EINVAL (alignment, size), or what mmap() says.
    Result<void> map(std::uint64_t iova, std::uint64_t size, bool readable, bool writable, int fd,
                     std::uint64_t offset);
    /// Errors   ENOENT when no window is exactly this one.
    Result<void> unmap(std::uint64_t iova, std::uint64_t size);
    void unmap_all() noexcept { windows_.clear(); }
    std::size_t windows() const noexcept { return windows_.size(); }

    /// Bytes of one window, null when they are not all there and (`write`) writable.
    std::byte* find(std::uint64_t iova, std::uint64_t length, bool write) const noexcept;

    DirtyLog& log() noexcept { return log_; }
    const DirtyLog& log() const noexcept { return log_; }

private:
    std::map<std::uint64_t, Window> windows_;
    DirtyLog log_;
};

}  // namespace godwit::vfio_user_server
