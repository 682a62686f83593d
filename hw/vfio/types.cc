// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/types.h"

#include "system/vm.h"

namespace godwit::hw::vfio {

Result<void> load(system::Vm&)
{
    return {};
}

}  // namespace godwit::hw::vfio
