// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One KVM virtual machine: its descriptor, what this kernel can do, and what its vCPUs share.
#pragma once

#include "accel/kvm/cpu_model.h"
#include "accel/kvm/kvm_fd.h"

#include <cstdint>
#include <string>
#include <vector>

namespace godwit::accel::kvm {

struct MachineOptions {
    std::string device = "/dev/kvm";
    std::uint32_t dirty_ring_entries = 0;  ///< a power of two; 0 = bitmap log
};

/// Threads  made by one; const afterwards.
/// Errors   create(): those of KvmSystem::open(), InvalidArgument for a dirty ring that cannot be.
class KvmMachine {
public:
    static Result<KvmMachine> create(const MachineOptions& options);

    /// The interrupt controllers, and with `pit` the timer, in the kernel. Before the first vCPU.
    Result<void> create_irqchip(bool pit);

    const KvmSystem& system() const noexcept { return system_; }
    const KvmFd& fd() const noexcept { return vm_; }
    int extension(int capability) const noexcept;
    const HostCpu& host() const noexcept { return host_; }
    bool has_irqchip() const noexcept { return irqchip_; }

    std::uint32_t dirty_ring_entries() const noexcept { return dirty_ring_entries_; }
    /// The bitmap log protects pages again only when told to (KVM_CLEAR_DIRTY_LOG).
    bool manual_protect() const noexcept { return manual_protect_; }
    /// Manual protection, and a log that is switched on says of every page that it was written.
    bool initially_set() const noexcept { return initially_set_; }
    /// Bytes of KVM_GET_XSAVE2's answer; 0 = only KVM_GET_XSAVE, 4096 bytes.
    std::size_t xsave2_bytes() const noexcept { return xsave2_bytes_; }
    bool has_sregs2() const noexcept { return sregs2_; }
    bool exception_payload() const noexcept { return exception_payload_; }
    bool triple_fault_event() const noexcept { return triple_fault_event_; }
    unsigned max_vcpus() const noexcept;
    /// Whether KVM lists the MSR as one that can be saved.
    bool lists_msr(std::uint32_t index) const noexcept;

private:
    KvmMachine() = default;
    Result<void> enable(std::uint32_t capability, std::uint64_t argument, std::string_view what);
    Result<void> enable_dirty_log(std::uint32_t ring_entries);
    Result<void> learn_host();

    KvmSystem system_;
    KvmFd vm_;
    HostCpu host_;
    std::vector<std::uint32_t> msrs_;  ///< ascending
    bool irqchip_ = false;
    std::uint32_t dirty_ring_entries_ = 0;
    bool manual_protect_ = false;
    bool initially_set_ = false;
    std::size_t xsave2_bytes_ = 0;
    bool sregs2_ = false;
    bool exception_payload_ = false;
    bool triple_fault_event_ = false;
};

}  // namespace godwit::accel::kvm
