// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a page holds after a given write: 512 words that follow from one.
#pragma once

#include "accel/synth/permutation.h"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace godwit::accel::synth {

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kPageWords = kPageBytes / 8;

/// Word i of a page is base + i * kWordStep, little-endian, so that every bit of every page is
/// known and no two pages, nor two writes of one page, look alike.
inline constexpr std::uint64_t kWordStep = 0xa24baed4963ee407;

/// The first word of page `page` of its block after the write that is its `generation`-th, from 1.
constexpr std::uint64_t page_base(std::uint64_t seed, std::uint64_t page,
                                  std::uint64_t generation) noexcept
{
    return mix64(mix64(seed ^ (page * 0x9fb21c651e98df25)) + generation);
}

constexpr std::uint64_t page_word(std::uint64_t base, std::size_t index) noexcept
{
    return base + index * kWordStep;
}

/// Writes a whole page at `page` (aligned to 64 bytes). The bytes are visible to whoever sees what
/// the caller stores next.
///
/// Threads  guest memory is written while others read it; the thread sanitizer does not look here.
void fill_page(std::byte* page, std::uint64_t base) noexcept;

/// Index of the first word that is not as fill_page() left it.
std::optional<std::size_t> first_wrong_word(const std::byte* page, std::uint64_t base) noexcept;

/// Index of the first word that is not zero.
std::optional<std::size_t> first_nonzero_word(const std::byte* page) noexcept;

}  // namespace godwit::accel::synth
