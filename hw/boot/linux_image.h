// SPDX-License-Identifier: LGPL-2.1-or-later
//
// bzImage files: the setup header of Linux's boot protocol.
#pragma once

#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace godwit::hw {

/// Offsets in the first sectors of the file and, the same, in struct boot_params.
/// Source   Linux, Documentation/arch/x86/boot.rst, "Details of Header Fields"; zero-page.rst.
namespace linux_boot {
inline constexpr unsigned kE820Entries = 0x1e8;
inline constexpr unsigned kHeader = 0x1f1;
inline constexpr unsigned kSetupSects = 0x1f1;
inline constexpr unsigned kBootFlag = 0x1fe;
inline constexpr unsigned kMagic = 0x202;
inline constexpr unsigned kVersion = 0x206;
inline constexpr unsigned kTypeOfLoader = 0x210;
inline constexpr unsigned kLoadFlags = 0x211;
inline constexpr unsigned kRamdiskImage = 0x218;
inline constexpr unsigned kRamdiskSize = 0x21c;
inline constexpr unsigned kHeapEndPtr = 0x224;
inline constexpr unsigned kCmdLinePtr = 0x228;
inline constexpr unsigned kInitrdAddrMax = 0x22c;
inline constexpr unsigned kXloadFlags = 0x236;
inline constexpr unsigned kCmdlineSize = 0x238;
inline constexpr unsigned kInitSize = 0x260;
inline constexpr unsigned kHeaderEnd = 0x290;
inline constexpr unsigned kE820Table = 0x2d0;
inline constexpr unsigned kE820Max = 128;
inline constexpr unsigned kBootParamsSize = 0x1000;
}  // namespace linux_boot

/// A kernel with a 64-bit entry point, as this program starts it.
struct LinuxImage {
    std::vector<std::byte> header;       ///< file bytes [0x1f1, end of the setup header)
    std::span<const std::byte> setup;    ///< the real-mode part, for firmware that wants it
    std::span<const std::byte> payload;  ///< the protected-mode part, for kLoadAddress
    std::uint32_t cmdline_max = 0;       ///< characters, without the final zero
    std::uint32_t initrd_max = 0;        ///< highest address an initrd may end at
    std::uint64_t memory_size = 0;       ///< bytes it needs from kLoadAddress on

    static constexpr std::uint64_t kLoadAddress = 0x100000;
    static constexpr std::uint64_t kEntry64 = 0x200;  ///< from the payload's start
};

/// Errors   BadFormat: "invalid kernel header" and what is wrong with it; Unsupported for kernels
///          without a 64-bit entry point (XLF_KERNEL_64), and those older than protocol 2.12.
Result<LinuxImage> parse_linux_image(std::span<const std::byte> file);

}  // namespace godwit::hw
