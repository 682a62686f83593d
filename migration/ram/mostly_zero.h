// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Pages that hold a few words between zeros: what lies in them as a difference from a page of
// zeros, which every loader of XBZRLE understands.
#pragma once

#include "migration/ram/xbzrle.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace godwit::migration {

enum class PageContent : std::uint8_t {
    Zero,
    MostlyZero,  ///< difference() has what is not zero
    Full,        ///< or not worth a closer look
};

/// Looks at pages one after the other.
///
/// Cost     three words of a page tell whether it is worth a look; only then its cache lines are
///          read, and no further than kMostLines of them are not zero. Where such looks are in vain
///          many times in a row, only every kTiredStep-th is taken, until one is not. Pages of
///          zeros are always found.
/// Threads  one. The guest may write meanwhile: what is told is then true of some mix, a difference
///          is valid and never longer than kMost, and the dirty mark sends the page again.
class PageReader {
public:
    /// Cache lines of 64 bytes that are not zero.
    static constexpr std::size_t kMostLines = 16;
    /// Each word of 8 bytes at most a run of its own, behind two lengths of at most two bytes.
    static constexpr std::size_t kMost = kMostLines * (64 + 8 * 4);
    static constexpr unsigned kTiredAfter = 32;
    static constexpr unsigned kTiredStep = 8;

    /// `page` is one page.
    PageContent read(const std::byte* page) noexcept;
    /// Of the page that was read last, which was MostlyZero: its difference from a page of zeros in
    /// XBZRLE. Valid until the next read().
    std::span<const std::byte> difference() const noexcept { return {encoded_.data(), length_}; }

private:
    bool take_lines(const std::byte* page) noexcept;
    void encode() noexcept;

    unsigned in_vain_ = 0;  // looks in a row
    std::size_t lines_ = 0;
    std::array<std::uint8_t, kMostLines> numbers_{};             // which lines these are
    alignas(64) std::array<std::byte, kMostLines * 64> copy_{};  // what they held
    std::size_t length_ = 0;
    std::array<std::byte, kMost> encoded_{};
};

}  // namespace godwit::migration
