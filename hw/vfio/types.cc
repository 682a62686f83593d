// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/types.h"

#include "hw/vfio/kernel.h"
#include "hw/vfio/migration_group.h"
#include "hw/vfio/vfio_pci.h"
#include "hw/vfio/vfio_user_pci.h"
#include "system/vm.h"

namespace godwit::hw::vfio {

Result<void> load(system::Vm& vm)
{
    return load_with(vm, host_kernel());
}

Result<void> load_with(system::Vm& vm, std::shared_ptr<Kernel> kernel)
{
    // All devices of the machine, whoever stands behind them, stop and start together.
    const auto migration = std::make_shared<MigrationGroup>(vm.run_state());
    GW_TRY(register_vfio_pci(vm.types(), std::make_shared<GroupSet>(vm, std::move(kernel)),
                             migration));
    return register_vfio_user_pci(vm.types(), migration);
}

}  // namespace godwit::hw::vfio
