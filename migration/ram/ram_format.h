// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The words of the `ram` section (docs/migration/stream.md, "RAM").
#pragma once

#include <cstdint>

namespace godwit::migration {

inline constexpr std::uint32_t kRamVersion = 4;
inline constexpr std::uint64_t kRamFlagMask = 0xfff;
inline constexpr std::uint64_t kRamZero = 0x002;
inline constexpr std::uint64_t kRamMemSize = 0x004;
inline constexpr std::uint64_t kRamPage = 0x008;
inline constexpr std::uint64_t kRamEos = 0x010;
inline constexpr std::uint64_t kRamContinue = 0x020;
inline constexpr std::uint64_t kRamXbzrle = 0x040;
inline constexpr std::uint64_t kRamMultifdFlush = 0x200;
inline constexpr std::uint8_t kXbzrleEncoding = 0x01;

}  // namespace godwit::migration
