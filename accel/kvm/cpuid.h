// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The CPUID table of one vCPU.
#pragma once

#include "accel/kvm/cpu_model.h"

#include <linux/kvm.h>
#include <vector>

namespace godwit::accel::kvm {

/// `cpus` cores with one thread each, in one package.
struct CpuTopology {
    unsigned cpus = 1;
    unsigned apic_id = 0;
};

/// All leaves for KVM_SET_CPUID2, as QEMU 10.0 shows them to a guest of the same model.
///
/// Source   Intel SDM volume 2 "CPUID", AMD APM volume 3 appendix E; constants observed in the
///          tables QEMU hands to KVM.
std::vector<kvm_cpuid_entry2> build_cpuid(const CpuDefinition& cpu, const CpuTopology& topology,
                                          const HostCpu& host);

/// Family, model and stepping as leaf 1 shows them in EAX.
std::uint32_t cpuid_signature(unsigned family, unsigned model, unsigned stepping) noexcept;

}  // namespace godwit::accel::kvm
