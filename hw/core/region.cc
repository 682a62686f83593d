// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/region.h"

namespace godwit::hw {

using Transaction = system::AddressSpace::Transaction;

MappedRegion::MappedRegion(system::AddressSpace& space, system::RegionSpec spec) : space_(&space)
{
    Transaction change(space);
    id_ = space.add(std::move(spec));
}

MappedRegion& MappedRegion::operator=(MappedRegion&& other) noexcept
{
    if (this != &other) {
        reset();
        space_ = std::exchange(other.space_, nullptr);
        id_ = std::exchange(other.id_, 0);
    }
    return *this;
}

void MappedRegion::reset() noexcept
{
    if (auto* space = std::exchange(space_, nullptr)) {
        Transaction change(*space);
        space->remove(std::exchange(id_, 0));
    }
}

void MappedRegion::set_enabled(bool enabled)
{
    if (space_ == nullptr)
        return;
    Transaction change(*space_);
    space_->set_enabled(id_, enabled);
}

void MappedRegion::move(system::GuestAddr start)
{
    if (space_ == nullptr)
        return;
    Transaction change(*space_);
    space_->move(id_, start);
}

}  // namespace godwit::hw
