// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/dma.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace godwit::hw {
namespace {

using system::GuestAddr;
using system::RegionKind;

Result<void> all_ram(system::AddressSpace& space, GuestAddr at, std::uint64_t length)
{
    if (length != 0 && at + (length - 1) < at)
        return Error(Errc::InvalidArgument, fmt::format("{:#x} + {:#x} wraps", at, length));
    while (length > 0) {
        const auto section = space.find(at);
        if (!section || (section->kind != RegionKind::Ram && section->kind != RegionKind::Rom))
            return Error(Errc::InvalidArgument, fmt::format("{:#x} is not guest memory", at));
        const std::uint64_t here = std::min(length, section->start + section->size - at);
        at += here;
        length -= here;
    }
    return {};
}

}  // namespace

Result<void> dma_read(system::AddressSpace& space, GuestAddr from, std::span<std::byte> into)
{
    GW_TRY(all_ram(space, from, into.size()));
    return space.read(from, into);
}

Result<void> dma_write(system::AddressSpace& space, GuestAddr to, std::span<const std::byte> from)
{
    GW_TRY(all_ram(space, to, from.size()));
    return space.write(to, from);
}

Result<void> dma_zero(system::AddressSpace& space, GuestAddr to, std::uint64_t length)
{
    GW_TRY(all_ram(space, to, length));
    return length == 0 ? ok() : space.fill(to, length, 0);
}

}  // namespace godwit::hw
