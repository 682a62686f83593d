// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/types.h"

#include "hw/vfio/kernel.h"
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
    GW_TRY(register_vfio_pci(vm.types(), std::make_shared<GroupSet>(vm, std::move(kernel))));
    return vm.types().add(VfioUserPci::type());
}

}  // namespace godwit::hw::vfio
