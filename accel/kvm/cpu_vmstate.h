// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A vCPU in the migration stream, in QEMU's layout.
#pragma once

#include "accel/kvm/cpu_state.h"
#include "migration/stream/vmstate.h"

namespace godwit::accel::kvm {

/// Section `kvmclock`.
struct KvmClockState {
    std::uint64_t clock = 0;  ///< ns
    bool reliable = true;
};

/// Section `kvm-tpr-opt`: what an option ROM that speeds up old Windows guests has patched. We do
/// not have that ROM; what another VMM sent is kept and handed on.
struct TprOptState {
    struct Handlers {
        std::uint32_t set_tpr = 0;
        std::uint32_t set_tpr_eax = 0;
        std::array<std::uint32_t, 8> get_tpr{};
        std::uint32_t get_tpr_stack = 0;
    };
    struct Rom {
        std::uint32_t vaddr = 0;
        std::uint32_t fixup_start = 0;
        std::uint32_t fixup_end = 0;
        std::uint32_t vapic_vaddr = 0;
        std::uint32_t vapic_size = 0;
        std::uint32_t vcpu_shift = 0;
        std::uint32_t real_tpr_addr = 0;
        Handlers up, mp;
    };
    Rom rom;
    std::uint32_t state = 0;
    std::uint32_t real_tpr_addr = 0;
    std::uint32_t rom_state_vaddr = 0;
    std::uint32_t vapic_paddr = 0;
    std::uint32_t rom_state_paddr = 0;
};

const migration::stream::VMStateOf<CpuState>& cpu_vmstate();
const migration::stream::VMStateOf<CpuCommonState>& cpu_common_vmstate();
const migration::stream::VMStateOf<ApicState>& apic_vmstate();
const migration::stream::VMStateOf<KvmClockState>& kvmclock_vmstate();
const migration::stream::VMStateOf<TprOptState>& tpr_opt_vmstate();

}  // namespace godwit::accel::kvm
