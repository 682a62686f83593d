// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/guest_memory.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <sys/mman.h>

namespace godwit::vfio_user_server {
namespace {

constexpr std::uint64_t kMinPage = 4096;
constexpr std::uint64_t kMaxReport = std::uint64_t{256} << 20;  // bytes of bitmap

bool wraps(std::uint64_t start, std::uint64_t length)
{
    return length == 0 || start + length - 1 < start;
}

bool good_page_size(std::uint64_t size)
{
    return std::has_single_bit(size) && size >= kMinPage && size <= (std::uint64_t{1} << 40);
}

}  // namespace

Result<void> DirtyLog::start(std::uint64_t page_size, std::span<const Range> ranges)
{
    if (on())
        return Error::from_errno("dirty logging is on already", EBUSY);
    if (!good_page_size(page_size))
        return Error::from_errno("page size of the dirty log", EINVAL);
    if (ranges.size() > kMaxRanges)
        return Error::from_errno("ranges of the dirty log", E2BIG);
    std::vector<Range> sorted(ranges.begin(), ranges.end());
    std::ranges::sort(sorted, {}, &Range::iova);
    for (std::size_t i = 0; i < sorted.size(); ++i) {
        const Range& r = sorted[i];
        if (r.iova % page_size != 0 || r.length % page_size != 0 || r.length == 0)
            return Error::from_errno("range of the dirty log", EINVAL);
        if (wraps(r.iova, r.length))
            return Error::from_errno("range of the dirty log", EOVERFLOW);
        if (i > 0 && r.iova - sorted[i - 1].iova < sorted[i - 1].length)
            return Error::from_errno("ranges of the dirty log overlap", EINVAL);
    }
    page_size_ = page_size;
    ranges_ = std::move(sorted);
    words_.clear();
    return {};
}

void DirtyLog::stop() noexcept
{
    page_size_ = 0;
    ranges_.clear();
    words_.clear();
}

bool DirtyLog::covered(std::uint64_t iova) const
{
    if (ranges_.empty())
        return true;
    auto after = std::ranges::upper_bound(ranges_, iova, {}, &Range::iova);
    return after != ranges_.begin() && iova - std::prev(after)->iova < std::prev(after)->length;
}

void DirtyLog::mark(std::uint64_t iova, std::uint64_t length)
{
    if (!on() || length == 0)
        return;
    const std::uint64_t first = iova / page_size_;
    const std::uint64_t last = (iova + length - 1) / page_size_;
    for (std::uint64_t page = first; page <= last; ++page) {
        if (!covered(page * page_size_))
            continue;
        words_[page / 64] |= std::uint64_t{1} << page % 64;
        ++marked_;
    }
}

/// Moves the marks of pages first..last that lie in `word` to `pages`.
void DirtyLog::take_word(std::uint64_t word, std::uint64_t first, std::uint64_t last,
                         std::vector<std::uint64_t>& pages)
{
    const auto found = words_.find(word);
    if (found == words_.end())
        return;
    for (unsigned bit = 0; bit < 64; ++bit) {
        const std::uint64_t page = word * 64 + bit;
        if (page < first || page > last || (found->second >> bit & 1) == 0)
            continue;
        found->second &= ~(std::uint64_t{1} << bit);
        pages.push_back(page);
    }
    if (found->second == 0)
        words_.erase(found);
}

Result<std::vector<std::uint64_t>> DirtyLog::take(std::uint64_t iova, std::uint64_t length,
                                                  std::uint64_t page_size)
{
    if (!on())
        return Error::from_errno("dirty logging is off", EINVAL);
    if (!good_page_size(page_size) || length == 0 || iova % page_size != 0)
        return Error::from_errno("report of the dirty log", EINVAL);
    if (wraps(iova, length))
        return Error::from_errno("report of the dirty log", EOVERFLOW);
    const std::uint64_t bits = (length - 1) / page_size + 1;
    if (bits / 8 > kMaxReport)
        return Error::from_errno("report of the dirty log", E2BIG);

    std::vector<std::uint64_t> bitmap((bits + 63) / 64);
    const std::uint64_t first = iova / page_size_;
    const std::uint64_t last = (iova + length - 1) / page_size_;
    std::vector<std::uint64_t> pages;
    if (last / 64 - first / 64 < words_.size()) {
        for (std::uint64_t word = first / 64; word <= last / 64; ++word)
            take_word(word, first, last, pages);
    } else {
        std::vector<std::uint64_t> known;
        for (const auto& [word, marks] : words_)
            if (word >= first / 64 && word <= last / 64)
                known.push_back(word);
        for (const std::uint64_t word : known)
            take_word(word, first, last, pages);
    }
    for (const std::uint64_t page : pages) {
        const std::uint64_t from = std::max(page * page_size_, iova) - iova;
        const std::uint64_t to =
            std::min(page * page_size_ + (page_size_ - 1), iova + (length - 1)) - iova;
        for (std::uint64_t bit = from / page_size; bit <= to / page_size; ++bit)
            bitmap[bit / 64] |= std::uint64_t{1} << bit % 64;
    }
    return bitmap;
}

Result<void> GuestMemory::map(std::uint64_t iova, std::uint64_t size, bool readable, bool writable,
                              int fd, std::uint64_t offset)
{
    if (wraps(iova, size) || iova % kMinPage != 0 || size % kMinPage != 0 ||
        offset % kMinPage != 0 || (!readable && !writable))
        return Error::from_errno("window of guest memory", EINVAL);
    const auto next = windows_.lower_bound(iova);
    if ((next != windows_.end() && next->first - iova < size) ||
        (next != windows_.begin() && iova - std::prev(next)->first < std::prev(next)->second.size))
        return Error::from_errno("window of guest memory overlaps another", EEXIST);
    Window window{.size = size, .writable = writable, .memory = {}};
    if (fd >= 0)
        window.memory = GW_TRY(Mapping::of_fd(
            fd, size, offset, {.sharing = Mapping::Sharing::Shared, .writable = writable}));
    windows_.emplace(iova, std::move(window));
    return {};
}

Result<void> GuestMemory::unmap(std::uint64_t iova, std::uint64_t size)
{
    const auto found = windows_.find(iova);
    if (found == windows_.end() || found->second.size != size)
        return Error::from_errno("window of guest memory", ENOENT);
    windows_.erase(found);
    return {};
}

std::byte* GuestMemory::find(std::uint64_t iova, std::uint64_t length, bool write) const noexcept
{
    auto after = windows_.upper_bound(iova);
    if (after == windows_.begin())
        return nullptr;
    const auto& [start, window] = *std::prev(after);
    const std::uint64_t at = iova - start;
    if (at >= window.size || length > window.size - at || !window.memory ||
        (write && !window.writable))
        return nullptr;
    return window.memory.data() + at;
}

}  // namespace godwit::vfio_user_server
