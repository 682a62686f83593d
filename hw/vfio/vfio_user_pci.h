// SPDX-License-Identifier: LGPL-2.1-or-later
//
// vfio-user-pci: a PCI device that another process serves on a socket.
#pragma once

#include "hw/vfio/device.h"
#include "system/object.h"

#include <cstdint>
#include <string>

namespace godwit::system {
class TypeRegistry;
}

namespace godwit::hw::vfio {

/// Shape    everything but the connection is VfioDevice's.
/// Errors   realize(): "guest memory ... cannot be shared" where RAM has no descriptor that the
///          server could map; those of the connection.
class VfioUserPci final : public VfioDevice {
public:
    std::string socket_;
    std::uint32_t message_timeout_ms_ = 5000;

protected:
    Result<Opened> open() override;

private:
    Result<void> check_memory() const;
};

/// `migration`: what its devices stop and start with.
Result<void> register_vfio_user_pci(system::TypeRegistry& types,
                                    std::shared_ptr<MigrationGroup> migration);

}  // namespace godwit::hw::vfio
