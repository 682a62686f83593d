// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The few instructions between the reset vector and a guest that is started without firmware.
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

namespace godwit::hw {

/// A boot sector at 0x7c00: real mode, DS, ES and SS 0, SP 0x7c00, DL the first disk.
struct BootSectorEntry {};
/// A real-mode address: a FACS waking vector.
struct RealModeEntry {
    std::uint16_t segment = 0;
    std::uint16_t offset = 0;
};
/// 32 bits, flat segments, no paging, EBX = `start_info`.
struct PvhEntry {
    std::uint32_t entry = 0;
    std::uint32_t start_info = 0;
};
/// 64 bits, CS 0x10 and data 0x18, RSI = `boot_params`, page tables at `page_table`.
struct Linux64Entry {
    std::uint32_t entry = 0;
    std::uint32_t boot_params = 0;
    std::uint32_t page_table = 0;
};
/// Nothing to start: the vCPU halts.
struct HaltEntry {};

using StubEntry = std::variant<HaltEntry, BootSectorEntry, RealModeEntry, PvhEntry, Linux64Entry>;

/// Contents of a firmware image of `size` bytes (at least 64 KiB) that ends at 4 GiB: zeros, and at
/// the end what starts `entry` from the reset vector. Needs no memory but the image itself.
std::vector<std::byte> make_boot_stub(std::size_t size, const StubEntry& entry);

}  // namespace godwit::hw
