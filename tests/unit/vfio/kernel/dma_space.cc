// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/unit/vfio/kernel/dma_space.h"

#include <algorithm>

namespace godwit::hw::vfio::test {

bool DmaSpace::overlaps(std::uint64_t iova, std::uint64_t size) const
{
    return std::ranges::any_of(windows_, [&](const auto& entry) {
        const Window& w = entry.second;
        return w.iova <= iova + (size - 1) && iova <= w.iova + (w.size - 1);
    });
}

const DmaSpace::Window* DmaSpace::find(std::uint64_t iova, std::uint64_t length) const
{
    auto at = windows_.upper_bound(iova);
    if (at == windows_.begin())
        return nullptr;
    const Window& window = std::prev(at)->second;
    const bool inside =
        iova - window.iova < window.size && length <= window.size - (iova - window.iova);
    return inside ? &window : nullptr;
}

bool DmaSpace::cuts(std::uint64_t iova, std::uint64_t size) const
{
    const std::uint64_t last = iova + (size - 1);
    return std::ranges::any_of(windows_, [&](const auto& entry) {
        const Window& w = entry.second;
        const std::uint64_t w_last = w.iova + (w.size - 1);
        return (w.iova < iova && w_last >= iova) || (w.iova <= last && w_last > last);
    });
}

std::uint64_t DmaSpace::remove(std::uint64_t iova, std::uint64_t size)
{
    std::uint64_t gone = 0;
    std::erase_if(windows_, [&](const auto& entry) {
        const Window& w = entry.second;
        const bool inside = w.iova >= iova && w.iova + (w.size - 1) <= iova + (size - 1);
        gone += inside ? w.size : 0;
        return inside;
    });
    return gone;
}

void put_bits(const std::set<std::uint64_t>& pages, std::uint64_t have, std::uint64_t iova,
              std::uint64_t length, std::uint64_t want, std::uint64_t* words)
{
    for (auto at = pages.lower_bound(iova / have); at != pages.end() && *at * have < iova + length;
         ++at) {
        const std::uint64_t from = std::max(*at * have, iova);
        const std::uint64_t to = std::min(*at * have + have, iova + length);
        for (std::uint64_t bit = (from - iova) / want; bit * want + iova < to; ++bit)
            words[bit / 64] |= std::uint64_t{1} << (bit % 64);
    }
}

void drop_pages(std::set<std::uint64_t>& pages, std::uint64_t have, std::uint64_t iova,
                std::uint64_t length)
{
    std::erase_if(pages, [&](std::uint64_t page) {
        return page * have < iova + length && page * have + have > iova;
    });
}

void note_pages(std::set<std::uint64_t>& pages, std::uint64_t page, std::uint64_t iova,
                std::uint64_t length)
{
    for (std::uint64_t n = iova / page; n * page < iova + length; ++n)
        pages.insert(n);
}

}  // namespace godwit::hw::vfio::test
