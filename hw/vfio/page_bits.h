// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The bitmap that every dirty-page interface of VFIO fills: little-endian 64-bit words.
#pragma once

#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace godwit::hw::vfio {

/// Which pages of a range were written.
///
/// Shape    pages() bits in whole 64-bit words, zero at first; bits past pages() are ignored.
/// Units    page_size() bytes a bit, a power of two; bit n is page n from the range's start.
/// Errors   create(): InvalidArgument for a size that is no power of two or a range that is not
///          made of such pages; OutOfMemory.
class PageBits {
public:
    static Result<PageBits> create(std::uint64_t length, std::uint64_t page_size);

    std::uint64_t page_size() const noexcept { return page_size_; }
    std::uint64_t pages() const noexcept { return pages_; }
    std::uint64_t length() const noexcept { return pages_ * page_size_; }
    /// As the interfaces count it: whole words.
    std::uint64_t bytes() const noexcept { return words_.size() * sizeof(std::uint64_t); }
    std::uint64_t* words() noexcept { return words_.data(); }
    std::span<std::byte> raw() noexcept { return std::as_writable_bytes(std::span(words_)); }
    std::span<const std::byte> raw() const noexcept { return std::as_bytes(std::span(words_)); }

    bool test(std::uint64_t page) const noexcept
    {
        return (words_[page / 64] >> (page % 64) & 1) != 0;
    }
    void set(std::uint64_t page) noexcept { words_[page / 64] |= std::uint64_t{1} << (page % 64); }
    void set_all() noexcept;
    void clear() noexcept;
    std::uint64_t count() const noexcept;
    /// Runs of set pages as (offset, length) in bytes from the range's start, lowest first.
    void for_each_run(const std::function<void(std::uint64_t, std::uint64_t)>& run) const;

private:
    PageBits(std::vector<std::uint64_t> words, std::uint64_t pages, std::uint64_t page_size)
        : words_(std::move(words)), pages_(pages), page_size_(page_size)
    {}
    std::vector<std::uint64_t> words_;
    std::uint64_t pages_ = 0;
    std::uint64_t page_size_ = 0;
};

}  // namespace godwit::hw::vfio
