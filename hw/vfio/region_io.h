// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Registers of a device that are not mapped: each access goes to the back end.
#pragma once

#include "hw/vfio/device_backend.h"
#include "system/address_space.h"

namespace godwit::hw::vfio {

class VfioDevice;

/// Errors   what the device does not answer reads as ones; writes vanish. The first one is logged.
class RegionIo final : public system::IoHandler {
public:
    RegionIo(VfioDevice& device, const RegionInfo& region);
    std::uint64_t read(system::GuestAddr offset, unsigned size) override;
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override;

private:
    void complain(Error error);
    VfioDevice& device_;
    std::uint32_t index_;
    bool readable_;
    bool writable_;
    bool complained_ = false;
};

}  // namespace godwit::hw::vfio
