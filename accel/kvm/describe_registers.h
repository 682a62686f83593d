// SPDX-License-Identifier: LGPL-2.1-or-later
//
// `info registers`.
#pragma once

#include "accel/kvm/cpu_state.h"

#include <string>

namespace godwit::accel::kvm {

/// General, segment and control registers as QEMU prints them; lines end in LF.
std::string format_registers(const CpuState& state);

}  // namespace godwit::accel::kvm
