// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Registers out of a KVM vCPU and back into it.
#pragma once

#include "accel/kvm/cpu_state.h"
#include "accel/kvm/kvm_machine.h"

#include <cstdint>
#include <vector>

namespace godwit::accel::kvm {

/// The register side of one vCPU.
///
/// Threads  while the vCPU is not in KVM_RUN.
/// Errors   fetch(): what the kernel says. store(): InvalidArgument naming the register (or the
///          group of registers that the kernel takes at once) and the value it refused.
class CpuRegisters {
public:
    /// `vcpu` and `machine` outlive this. `cpu` decides which registers there are; its CPUID has
    /// been set.
    static Result<CpuRegisters> create(const KvmMachine& machine, const KvmFd& vcpu,
                                       const CpuDefinition& cpu);

    Result<void> fetch(CpuState& state, ApicState& apic) const;
    /// Everything, the time-stamp counter included.
    Result<void> store(const CpuState& state, const ApicState& apic) const;
    /// Lets the guest's TSC run at another host's frequency (0: not known, nothing to do); false
    /// where the kernel cannot scale it.
    bool set_tsc_khz(std::int64_t khz);
    /// For `info registers`: the general ones only.
    Result<void> fetch_general(CpuState& state) const;

    /// `current_count`: of the timer, if anybody wants to know.
    Result<void> fetch_apic(ApicState& apic, std::uint32_t* current_count = nullptr) const;
    bool has_apic() const noexcept { return has_apic_; }

private:
    CpuRegisters(const KvmMachine& machine, const KvmFd& vcpu) : machine_(&machine), vcpu_(&vcpu) {}

    Result<void> fetch_segments(CpuState& state, ApicState& apic) const;
    Result<void> fetch_events(CpuState& state) const;
    Result<void> fetch_debug(CpuState& state) const;
    Result<void> fetch_extended(CpuState& state) const;
    Result<void> fetch_msrs(CpuState& state) const;
    Result<void> store_general(const CpuState& state) const;
    Result<void> store_segments(const CpuState& state, const ApicState& apic) const;
    Result<void> store_events(const CpuState& state) const;
    Result<void> store_debug(const CpuState& state) const;
    Result<void> store_extended(const CpuState& state) const;
    Result<void> store_msrs(const CpuState& state) const;
    Result<void> store_one_msr(std::uint32_t index, std::uint64_t value) const;
    Result<void> store_apic(const ApicState& apic) const;
    Result<void> probe_msrs();
    bool usable(std::uint32_t msr) const noexcept;

    const KvmMachine* machine_;
    const KvmFd* vcpu_;
    bool has_apic_ = true;
    bool has_mtrr_ = true;
    bool has_tsx_ctrl_ = false;
    bool has_xfd_ = false;
    bool has_amx_ = false;
    unsigned mce_banks_ = 0;
    std::uint64_t mcg_cap_ = 0;
    std::uint64_t mtrr_top_bits_ = 0;
    std::int64_t tsc_khz_ = 0;
    std::vector<std::uint32_t> msrs_;  ///< that this vCPU has, ascending
};

/// QEMU's summary of the mode, from the registers that define it.
std::uint32_t mode_flags(const CpuState& state) noexcept;

}  // namespace godwit::accel::kvm
