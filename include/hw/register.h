// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The device types of this room.
#pragma once

#include "util/result.h"

namespace godwit::system {
class TypeRegistry;
}

namespace godwit::hw {

/// Adds every type of hw/. Call once per Vm, before the machine is made.
/// Errors   those of TypeRegistry::add(): our own inconsistency.
Result<void> register_types(system::TypeRegistry& types);

}  // namespace godwit::hw
