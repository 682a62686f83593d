// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What CPUID shows the guest, as properties of the vCPU that can be read: QEMU's names.
#pragma once

#include "accel/kvm/cpu_model.h"
#include "system/object.h"

namespace godwit::accel::kvm {

/// One bool for each feature with a name, and family, model, stepping, level, xlevel, vendor,
/// model-id, phys-bits. `cpu` lives as long as `object`.
void add_cpu_properties(system::Object& object, const CpuDefinition& cpu);

}  // namespace godwit::accel::kvm
