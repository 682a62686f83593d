// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/region_io.h"

#include "hw/vfio/device.h"
#include "hw/vfio/interrupts.h"

#include <cstring>
#include <fmt/format.h>

namespace godwit::hw::vfio {

RegionIo::RegionIo(VfioDevice& device, const RegionInfo& region)
    : device_(device), index_(region.index), readable_(region.readable), writable_(region.writable)
{}

std::uint64_t RegionIo::read(system::GuestAddr offset, unsigned size)
{
    std::uint64_t value = 0;
    const auto bytes = std::as_writable_bytes(std::span(&value, 1)).first(size);
    Result<void> done = readable_ ? device_.backend().region_read(index_, offset, bytes) : ok();
    if (!readable_ || !done)
        value = ~std::uint64_t{0} >> (64 - 8 * size);
    if (!done)
        complain(std::move(done).error());
    if (device_.interrupts_)
        device_.interrupts_->bar_accessed();
    return value;
}

void RegionIo::write(system::GuestAddr offset, std::uint64_t value, unsigned size)
{
    const auto bytes = std::as_bytes(std::span(&value, 1)).first(size);
    if (writable_)
        if (auto done = device_.backend().region_write(index_, offset, bytes); !done)
            complain(std::move(done).error());
    if (device_.interrupts_)
        device_.interrupts_->bar_accessed();
}

void RegionIo::complain(Error error)
{
    if (!std::exchange(complained_, true))
        device_.warn(std::move(error).context("a guest's access failed"));
}

}  // namespace godwit::hw::vfio
