// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Guest-virtual addresses for those who look in from outside (`x`, memsave): page tables walked in
// software.
#pragma once

#include "system/address_space.h"

#include <cstdint>
#include <optional>

namespace godwit::system {

/// What a walk needs to know of a CPU.
struct PagingMode {
    std::uint64_t cr0 = 0;
    std::uint64_t cr3 = 0;
    std::uint64_t cr4 = 0;
    std::uint64_t efer = 0;
};

/// The physical address behind `address`; nothing when no page is there. Without paging, itself.
///
/// Threads  with the machine lock.
/// Source   Intel SDM volume 3A, chapter 4: 32-bit, PAE, 4-level and 5-level paging.
std::optional<std::uint64_t> translate(AddressSpace& memory, const PagingMode& mode,
                                       std::uint64_t address);

}  // namespace godwit::system
