// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which member of CpuState each model-specific register is.
#pragma once

#include "accel/kvm/cpu_state.h"

#include <cstdint>
#include <cstring>
#include <vector>

namespace godwit::accel::kvm {

inline constexpr std::uint32_t kMsrTsc = 0x10;
inline constexpr std::uint32_t kMsrTscDeadline = 0x6e0;

/// One register and its place in a CpuState.
struct MsrSlot {
    std::uint32_t index;
    void* value;
    unsigned width;  ///< bytes of the member: 4 or 8

    std::uint64_t get() const noexcept
    {
        std::uint64_t v = 0;
        std::memcpy(&v, value, width);
        return v;
    }
    void set(std::uint64_t v) const noexcept { std::memcpy(value, &v, width); }
};

/// All registers that the stream carries and KVM may have. With `mce_banks` machine-check banks.
std::vector<MsrSlot> msr_slots(CpuState& state, unsigned mce_banks);

}  // namespace godwit::accel::kvm
