// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A region of an address space as an object: it is there as long as the object is.
#pragma once

#include "system/address_space.h"

#include <utility>

namespace godwit::hw {

/// One region that its owner put into an address space. Empty when default-made.
///
/// Threads  with the machine lock.
class MappedRegion {
public:
    MappedRegion() noexcept = default;
    MappedRegion(system::AddressSpace& space, system::RegionSpec spec);
    MappedRegion(MappedRegion&& other) noexcept
        : space_(std::exchange(other.space_, nullptr)), id_(std::exchange(other.id_, 0))
    {}
    MappedRegion& operator=(MappedRegion&& other) noexcept;
    ~MappedRegion() { reset(); }

    explicit operator bool() const noexcept { return space_ != nullptr; }
    void reset() noexcept;
    void set_enabled(bool enabled);
    void move(system::GuestAddr start);

private:
    system::AddressSpace* space_ = nullptr;
    system::RegionId id_ = 0;
};

}  // namespace godwit::hw
