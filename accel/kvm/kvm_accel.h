// SPDX-License-Identifier: LGPL-2.1-or-later
//
// -accel kvm.
#pragma once

#include "accel/kvm/clock.h"
#include "accel/kvm/irqchip.h"
#include "accel/kvm/kvm_machine.h"
#include "accel/kvm/memory_slots.h"
#include "accel/kvm/vcpu.h"
#include "system/accelerator.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godwit::accel::kvm {

/// Properties: kernel-irqchip (on; off and split are refused), dirty-ring-size, device.
class KvmAccelerator : public system::Accelerator {
public:
    ~KvmAccelerator() override;
    std::string_view name() const noexcept override { return "kvm"; }
    bool runs_guest_code() const noexcept override { return true; }
    Result<void> init(system::Vm& vm) override;
    Result<void> prepare(const system::AcceleratorNeeds& needs) override;
    system::KernelIrqchip* irqchip() noexcept override { return irqchip_.get(); }
    Result<std::unique_ptr<system::Vcpu>> create_vcpu(unsigned index,
                                                      std::string_view model) override;
    Result<void> set_vcpus_done() override;
    std::uint64_t dirty_ring_size() const noexcept override;

    const HostCpu* host() const noexcept { return machine_ ? &machine_->host() : nullptr; }
    const CpuDefaults& cpu_defaults() const noexcept { return defaults_; }

    // Set as properties.
    enum class IrqchipMode { On, Off, Split };
    IrqchipMode irqchip_mode_ = IrqchipMode::On;
    std::uint32_t dirty_ring_entries_ = 0;
    std::string device_ = "/dev/kvm";

private:
    void warn_missing(const std::vector<std::string>& missing);

    system::Vm* vm_ = nullptr;
    std::optional<KvmMachine> machine_;
    RunGate gate_;
    std::unique_ptr<MemorySlots> slots_;
    Registration listener_;
    std::unique_ptr<KvmIrqchip> irqchip_;
    std::unique_ptr<KvmClock> clock_;
    CpuDefaults defaults_;
    bool prepared_ = false;
    bool warned_ = false;
};

/// Adds "kvm-accel" and the CPU types.
Result<void> register_kvm_types(system::TypeRegistry& types);

}  // namespace godwit::accel::kvm
