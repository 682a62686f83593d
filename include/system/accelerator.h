// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What executes guest code (or does not): the seam between system/ and accel/.
#pragma once

#include "system/address_space.h"
#include "system/device.h"
#include "system/irq.h"
#include "util/result.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace godwit::system {

class Vm;

/// A virtual CPU, a device in the tree ("qemu64-x86_64-cpu") with a thread of its own while it may
/// run.
///
/// Threads  control functions from the main thread with the machine lock; pause() may be waited for
/// with the
///          lock dropped. State functions only while paused.
/// State    registers `cpu_common` and `cpu` (or `synth-cpu`) with its index as instance id.
class Vcpu : public Device {
public:
    virtual unsigned index() const noexcept = 0;
    /// The thread's kernel id, 0 when there is none (qtest).
    virtual int thread_id() const noexcept = 0;
    virtual bool halted() const noexcept = 0;

    /// Asks the vCPU to leave the guest; wait_paused() returns when it has.
    virtual void request_pause() noexcept = 0;
    virtual void wait_paused() = 0;
    virtual void resume() noexcept = 0;
    /// Leaves the guest once and looks at its requests.
    virtual void kick() noexcept = 0;

    /// `info registers`, lines end in LF.
    virtual std::string describe_registers() const = 0;
    /// `info lapic`, lines end in LF.
    virtual std::string describe_apic() const { return "This CPU has no local APIC\n"; }
    /// Where a linear address lies in guest-physical memory, by the guest's page tables as they
    /// are.
    virtual Result<std::uint64_t> translate(std::uint64_t linear)
    {
        (void)linear;
        return Error(Errc::Unsupported, "this CPU has no page tables");
    }
    virtual Result<void> inject_nmi() { return Error(Errc::Unsupported, "this CPU takes no NMI"); }

    /// 0 = full speed, 99 = one per cent of it. Acts at once.
    virtual void set_throttle(unsigned percent) noexcept = 0;
};

/// The interrupt controllers that live in the kernel, when they do. State blobs are the KVM
/// structures of the same name (Linux, Documentation/virt/kvm/api.rst, KVM_GET_IRQCHIP,
/// KVM_GET_PIT2).
class KernelIrqchip {
public:
    virtual ~KernelIrqchip() = default;
    enum class Chip : unsigned { PicMaster = 0, PicSlave = 1, Ioapic = 2 };
    virtual void set_gsi(unsigned gsi, int level) = 0;
    virtual Result<void> get(Chip chip, std::span<std::byte, 512> state) = 0;
    virtual Result<void> set(Chip chip, std::span<const std::byte, 512> state) = 0;
    virtual bool has_pit() const noexcept = 0;
    virtual Result<void> get_pit(std::span<std::byte> kvm_pit_state2) = 0;
    virtual Result<void> set_pit(std::span<const std::byte> kvm_pit_state2) = 0;
    /// MSI: a write of `data` to `address` by a device.
    virtual Result<void> send_msi(std::uint64_t address, std::uint32_t data) = 0;
    /// Routes eventfd `fd` straight to an MSI (irqfd); the Registration undoes it.
    virtual Result<Registration> add_irqfd(int fd, std::uint64_t address, std::uint32_t data) = 0;
    /// Routes eventfd `fd` to a level on a GSI: up when it is signalled, down when the guest has
    /// served it (its end of interrupt), which eventfd `served` then tells. Others that drive the
    /// GSI are or-ed.
    virtual Result<Registration> add_level_irqfd(int /*fd*/, unsigned /*gsi*/, int /*served*/)
    {
        return Error(Errc::Unsupported, "this interrupt chip has no eventfds for levels");
    }
};

/// What a machine asks of the accelerator before vCPUs exist.
struct AcceleratorNeeds {
    bool pic = true;
    bool pit = true;
    /// What the guest's CPUID says, as the machine type wants it (microvm: both).
    bool host_phys_bits = false;
    bool msi_ext_dest_id = false;
};

/// -accel. One per Vm, chosen from the preference list.
///
/// Errors   init(): Unsupported with a clear reason ("/dev/kvm: Permission denied"); the list then
/// goes on. Types    "kvm-accel", "synth-accel", "qtest-accel", "tcg-accel" (known, never
/// available).
class Accelerator : public Object {
public:
    virtual std::string_view name() const noexcept = 0;
    /// False where guest instructions are never executed (qtest, synth): no firmware is then
    /// needed.
    virtual bool runs_guest_code() const noexcept = 0;
    virtual Result<void> init(Vm& vm) = 0;
    /// After the machine decided; before the first vCPU.
    virtual Result<void> prepare(const AcceleratorNeeds& needs) = 0;
    /// Null when interrupt controllers are emulated in the program or not needed.
    virtual KernelIrqchip* irqchip() noexcept { return nullptr; }
    /// Makes and realizes vCPU `index` of the model `-cpu` named (machine default otherwise).
    virtual Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned index, std::string_view model) = 0;
    /// True when a machine without CPUs (none) gets vCPUs all the same (synth).
    virtual bool wants_vcpus_on_none() const noexcept { return false; }
    virtual Result<void> set_vcpus_done() { return {}; }

    /// Bytes of dirty ring per vCPU, 0 = bitmap log.
    virtual std::uint64_t dirty_ring_size() const noexcept { return 0; }
};

}  // namespace godwit::system
