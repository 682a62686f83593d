// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace godwit {

// Bytes.
inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

// Nanoseconds.
inline constexpr std::int64_t kMs = 1'000'000;

}  // namespace godwit
