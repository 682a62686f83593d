// SPDX-License-Identifier: LGPL-2.1-or-later
//
// `info lapic`.
#pragma once

#include "accel/kvm/cpu_state.h"

#include <cstdint>
#include <string>

namespace godwit::accel::kvm {

/// The local APIC of vCPU `index` as QEMU prints it; lines end in LF.
std::string format_apic(unsigned index, const ApicState& state, std::uint32_t current_count);

}  // namespace godwit::accel::kvm
