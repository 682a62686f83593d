// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/guest_paging.h"

namespace godwit::system {

namespace {

constexpr std::uint64_t kPresent = 1;
constexpr std::uint64_t kLargePage = 1 << 7;
constexpr std::uint64_t kCr0Paging = std::uint64_t{1} << 31;
constexpr std::uint64_t kCr4Pse = 1 << 4;
constexpr std::uint64_t kCr4Pae = 1 << 5;
constexpr std::uint64_t kCr4La57 = 1 << 12;
constexpr std::uint64_t kEferLongMode = 1 << 10;
constexpr std::uint64_t kAddressBits = 0x000f'ffff'ffff'f000;

constexpr std::uint64_t low_bits(unsigned count)
{
    return (std::uint64_t{1} << count) - 1;
}

/// Tables of 1024 four-byte entries.
std::optional<std::uint64_t> translate_32bit(AddressSpace& memory, const PagingMode& mode,
                                             std::uint32_t address)
{
    const std::uint64_t directory = memory.load((mode.cr3 & 0xfffff000) + 4 * (address >> 22), 4);
    if ((directory & kPresent) == 0)
        return std::nullopt;
    if ((directory & kLargePage) != 0 && (mode.cr4 & kCr4Pse) != 0) {
        const std::uint64_t high = (directory >> 13 & 0xff) << 32;  // PSE-36
        return high | (directory & 0xffc00000) | (address & low_bits(22));
    }
    const std::uint64_t entry =
        memory.load((directory & 0xfffff000) + 4 * (address >> 12 & 0x3ff), 4);
    if ((entry & kPresent) == 0)
        return std::nullopt;
    return (entry & 0xfffff000) | (address & low_bits(12));
}

/// Tables of 512 eight-byte entries, `levels` of them.
std::optional<std::uint64_t> translate_64bit(AddressSpace& memory, std::uint64_t table,
                                             unsigned levels, std::uint64_t address)
{
    for (unsigned level = levels; level > 0; --level) {
        const unsigned shift = 12 + 9 * (level - 1);
        const std::uint64_t entry = memory.load(table + 8 * (address >> shift & 0x1ff), 8);
        if ((entry & kPresent) == 0)
            return std::nullopt;
        const bool large = (level == 2 || level == 3) && (entry & kLargePage) != 0;
        if (level == 1 || large)
            return (entry & kAddressBits & ~low_bits(shift)) | (address & low_bits(shift));
        table = entry & kAddressBits;
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> translate(AddressSpace& memory, const PagingMode& mode,
                                       std::uint64_t address)
{
    if ((mode.cr0 & kCr0Paging) == 0)
        return address;
    if ((mode.cr4 & kCr4Pae) == 0)
        return translate_32bit(memory, mode, static_cast<std::uint32_t>(address));
    if ((mode.efer & kEferLongMode) != 0)
        return translate_64bit(memory, mode.cr3 & kAddressBits, (mode.cr4 & kCr4La57) ? 5 : 4,
                               address);
    const std::uint64_t pointer = memory.load((mode.cr3 & 0xffffffe0) + 8 * (address >> 30 & 3), 8);
    if ((pointer & kPresent) == 0)
        return std::nullopt;
    return translate_64bit(memory, pointer & kAddressBits, 2, address & 0xffffffff);
}

}  // namespace godwit::system
