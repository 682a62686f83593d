// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/page_bits.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>
#include <new>

namespace godwit::hw::vfio {

Result<PageBits> PageBits::create(std::uint64_t length, std::uint64_t page_size)
{
    if (!std::has_single_bit(page_size))
        return Error(Errc::InvalidArgument,
                     fmt::format("dirty bitmap: page size {:#x} is not a power of two", page_size));
    if (length == 0 || length % page_size != 0)
        return Error(
            Errc::InvalidArgument,
            fmt::format("dirty bitmap: {:#x} bytes are not pages of {:#x}", length, page_size));
    const std::uint64_t pages = length / page_size;
    try {
        return PageBits(std::vector<std::uint64_t>(pages / 64 + (pages % 64 != 0 ? 1 : 0)), pages,
                        page_size);
    } catch (const std::bad_alloc&) {
        return Error(Errc::OutOfMemory, fmt::format("dirty bitmap: no memory for {} pages", pages));
    }
}

void PageBits::set_all() noexcept
{
    std::ranges::fill(words_, ~std::uint64_t{0});
}

void PageBits::clear() noexcept
{
    std::ranges::fill(words_, std::uint64_t{0});
}

std::uint64_t PageBits::count() const noexcept
{
    std::uint64_t set = 0;
    for (std::size_t i = 0; i < words_.size(); ++i) {
        std::uint64_t word = words_[i];
        if (i + 1 == words_.size() && pages_ % 64 != 0)
            word &= (std::uint64_t{1} << (pages_ % 64)) - 1;
        set += static_cast<std::uint64_t>(std::popcount(word));
    }
    return set;
}

void PageBits::for_each_run(const std::function<void(std::uint64_t, std::uint64_t)>& run) const
{
    std::uint64_t page = 0;
    while (page < pages_) {
        const std::uint64_t rest = words_[page / 64] >> (page % 64);
        if (rest == 0) {
            page = (page / 64 + 1) * 64;
            continue;
        }
        page += static_cast<std::uint64_t>(std::countr_zero(rest));
        if (page >= pages_)
            return;
        const std::uint64_t first = page;
        while (page < pages_) {
            const auto ones =
                static_cast<unsigned>(std::countr_one(words_[page / 64] >> (page % 64)));
            page += ones;
            if (ones == 0 || page % 64 != 0)
                break;
        }
        page = std::min(page, pages_);
        run(first * page_size_, (page - first) * page_size_);
    }
}

}  // namespace godwit::hw::vfio
