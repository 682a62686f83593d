// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The interrupt controllers in the kernel: wires, messages and their state.
#pragma once

#include "accel/kvm/kvm_machine.h"
#include "system/accelerator.h"
#include "util/log.h"

#include <linux/kvm.h>
#include <map>
#include <mutex>

namespace godwit::accel::kvm {

/// GSIs 0-15 go to the 8259s and the I/O APIC, 16-23 to the I/O APIC; messages that have an eventfd
/// get GSIs of their own behind them.
///
/// Threads  any; the routing table has a lock.
/// Source   Linux, Documentation/virt/kvm/api.rst: KVM_IRQ_LINE, KVM_SIGNAL_MSI, KVM_IRQFD,
///          KVM_SET_GSI_ROUTING. GSI 0 is the PIT on pin 2 of the I/O APIC, as on every PC.
class KvmIrqchip : public system::KernelIrqchip {
public:
    static Result<std::unique_ptr<KvmIrqchip>> create(const KvmMachine& machine, bool pit, Log log);

    void set_gsi(unsigned gsi, int level) override;
    Result<void> get(Chip chip, std::span<std::byte, 512> state) override;
    Result<void> set(Chip chip, std::span<const std::byte, 512> state) override;
    bool has_pit() const noexcept override { return pit_; }
    Result<void> get_pit(std::span<std::byte> kvm_pit_state2) override;
    Result<void> set_pit(std::span<const std::byte> kvm_pit_state2) override;
    Result<void> send_msi(std::uint64_t address, std::uint32_t data) override;
    Result<Registration> add_irqfd(int fd, std::uint64_t address, std::uint32_t data) override;
    Result<Registration> add_level_irqfd(int fd, unsigned gsi, int served) override;

private:
    struct Message {
        std::uint64_t address;
        std::uint32_t data;
    };
    KvmIrqchip(const KvmMachine& machine, bool pit, Log log)
        : machine_(machine), pit_(pit), log_(std::move(log))
    {}
    Result<void> write_routes();
    void remove_irqfd(int fd, std::uint32_t gsi) noexcept;

    const KvmMachine& machine_;
    bool pit_;
    Log log_;
    std::mutex mutex_;                           // guards messages_
    std::map<std::uint32_t, Message> messages_;  ///< by GSI
};

}  // namespace godwit::accel::kvm
