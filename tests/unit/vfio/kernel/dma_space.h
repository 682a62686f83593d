// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Mappings from device addresses to this process, as a type1 container and an IOAS keep them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

namespace godwit::hw::vfio::test {

class TestDevice;

class DmaSpace {
public:
    static constexpr std::uint64_t kPage = 4096;
    struct Window {
        std::uint64_t iova = 0;
        std::uint64_t size = 0;
        std::byte* host = nullptr;
        bool read = false;
        bool write = false;
    };

    virtual ~DmaSpace() = default;
    /// A device wrote: whoever tracks, notes it.
    virtual void wrote(TestDevice& device, std::uint64_t iova, std::uint64_t length) = 0;

    bool overlaps(std::uint64_t iova, std::uint64_t size) const;
    /// Null where [iova, iova + length) is not within one window.
    const Window* find(std::uint64_t iova, std::uint64_t length) const;
    /// Whether [iova, iova + size) would cut a window in two.
    bool cuts(std::uint64_t iova, std::uint64_t size) const;
    const std::map<std::uint64_t, Window>& windows() const { return windows_; }
    void add(const Window& window) { windows_[window.iova] = window; }
    /// Bytes of windows that lay in the range.
    std::uint64_t remove(std::uint64_t iova, std::uint64_t size);

private:
    std::map<std::uint64_t, Window> windows_;
};

/// ORs bit (page - first) for every page of `pages` in the range; `pages` are of `have` bytes,
/// bits of `want`.
void put_bits(const std::set<std::uint64_t>& pages, std::uint64_t have, std::uint64_t iova,
              std::uint64_t length, std::uint64_t want, std::uint64_t* words);
/// Takes the pages that touch the range out of the set.
void drop_pages(std::set<std::uint64_t>& pages, std::uint64_t have, std::uint64_t iova,
                std::uint64_t length);
void note_pages(std::set<std::uint64_t>& pages, std::uint64_t page, std::uint64_t iova,
                std::uint64_t length);

}  // namespace godwit::hw::vfio::test
