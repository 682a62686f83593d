// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The machine as a flattened device tree, for -machine dumpdtb=FILE.
#pragma once

#include "util/result.h"

#include <cstddef>
#include <vector>

namespace godwit::system {
class Machine;
class Vm;
}  // namespace godwit::system

namespace godwit::hw {

/// Memory, CPUs, what is mapped where, and every device with its path.
///
/// Shape    a flattened device tree, version 17: /memory@ADDR, /cpus/cpu@N, /soc/NAME@ADDR for
///          registers in memory, /io/NAME@PORT for ports, /devices/deviceN, /chosen.
/// Source   Devicetree Specification, release 0.4.
Result<std::vector<std::byte>> make_device_tree(system::Vm& vm, const system::Machine& machine);

/// With `dumpdtb`: writes the tree and asks the Vm to end with status 0 before the guest runs.
Result<void> dump_device_tree_if_asked(system::Vm& vm, const system::Machine& machine);

}  // namespace godwit::hw
