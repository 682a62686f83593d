// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The types that the module adds. A test that links this folder calls load() itself.
#pragma once

#include "util/result.h"

namespace godwit::system {
class Vm;
}

namespace godwit::hw::vfio {

/// Adds vfio-pci, iommufd and vfio-user-pci to the types of `vm`.
/// Errors   those of TypeRegistry::add().
Result<void> load(system::Vm& vm);

}  // namespace godwit::hw::vfio
