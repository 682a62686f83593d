// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How a VFIO device takes part in migration.
#pragma once

#include "util/result.h"

#include <memory>

namespace godwit::hw::vfio {

class VfioDevice;

/// Everything that migration registers for one device; the destructor takes it back.
class DeviceMigration {
public:
    virtual ~DeviceMigration() = default;
    /// The device was reset (system_reset, recovery): it is RUNNING and has no data stream.
    virtual void device_was_reset() noexcept = 0;
};

/// Asks the device what it can do and registers the live-state handler, the run-state handler, or
/// the blocker that says why not. Called last in realize().
/// Errors   only where the user insisted (enable-migration=on) and it cannot be; QEMU's words.
Result<std::unique_ptr<DeviceMigration>> start_migration(VfioDevice& device);

}  // namespace godwit::hw::vfio
