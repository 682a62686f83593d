// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/machine/register.h"

namespace godwit::hw {

Result<void> register_machines(system::TypeRegistry& types)
{
    GW_TRY(register_none_machine(types));
    GW_TRY(register_microvm_machine(types));
    return register_q35_machine(types);
}

}  // namespace godwit::hw
