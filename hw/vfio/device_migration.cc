// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/device_migration.h"

namespace godwit::hw::vfio {

Result<std::unique_ptr<DeviceMigration>> start_migration(VfioDevice&)
{
    return nullptr;
}

}  // namespace godwit::hw::vfio
