// SPDX-License-Identifier: LGPL-2.1-or-later
//
// a * b / c without overflow in between: converting between clock rates.
#pragma once

#include <cstdint>

namespace godwit::hw {

constexpr std::int64_t muldiv(std::int64_t a, std::int64_t b, std::int64_t c)
{
    return static_cast<std::int64_t>(static_cast<__int128>(a) * b / c);
}

inline constexpr std::int64_t kNsPerSec = 1'000'000'000;

}  // namespace godwit::hw
