// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The types that the module adds. A test that links this folder calls load() itself.
#pragma once

#include "util/result.h"

#include <memory>

namespace godwit::system {
class Vm;
}

namespace godwit::hw::vfio {

class Kernel;

/// Adds vfio-pci, iommufd and vfio-user-pci to the types of `vm`.
/// Errors   those of TypeRegistry::add().
Result<void> load(system::Vm& vm);
/// The same on another kernel than the host's.
Result<void> load_with(system::Vm& vm, std::shared_ptr<Kernel> kernel);

}  // namespace godwit::hw::vfio
