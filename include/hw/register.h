// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The device types and the command-line options of this room.
#pragma once

#include "util/result.h"

namespace godwit::system {
class CommandLine;
class TypeRegistry;
class Vm;
}  // namespace godwit::system

namespace godwit::hw {

/// Adds every type of hw/. Call once per Vm, before the machine is made.
/// Errors   those of TypeRegistry::add(): our own inconsistency.
Result<void> register_types(system::TypeRegistry& types);

/// Adds the options of disks: -drive, -blockdev, -hda to -hdd.
void add_options(system::Vm& vm, system::CommandLine& line);

}  // namespace godwit::hw
