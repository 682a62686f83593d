// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How devices reach guest memory on the guest's behalf.
#pragma once

#include "system/address_space.h"

#include <cstdint>
#include <span>

namespace godwit::hw {

/// Reads and writes RAM only. A device that a guest aims at another device's registers, at a hole
/// or past the end of the address space gets an error, so that no device is entered twice.
///
/// Threads  with the machine lock.
/// Errors   InvalidArgument with the first address that is not RAM; nothing was then transferred.
///          dma_write() to ROM: accepted and ignored, as by memory itself.
Result<void> dma_read(system::AddressSpace& space, system::GuestAddr from,
                      std::span<std::byte> into);
Result<void> dma_write(system::AddressSpace& space, system::GuestAddr to,
                       std::span<const std::byte> from);
/// Zeros instead of data: any length, in pieces.
Result<void> dma_zero(system::AddressSpace& space, system::GuestAddr to, std::uint64_t length);

}  // namespace godwit::hw
