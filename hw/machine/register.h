// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The machine types; hw::register_types() calls register_machines().
#pragma once

#include "system/object.h"
#include "util/result.h"

namespace godwit::hw {

Result<void> register_none_machine(system::TypeRegistry& types);
Result<void> register_microvm_machine(system::TypeRegistry& types);
Result<void> register_q35_machine(system::TypeRegistry& types);
Result<void> register_machines(system::TypeRegistry& types);

}  // namespace godwit::hw
