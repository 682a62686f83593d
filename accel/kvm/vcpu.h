// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A vCPU that KVM runs: its thread, its exits, its registers as a device.
#pragma once

#include "accel/kvm/cpu_registers.h"
#include "accel/kvm/cpu_vmstate.h"
#include "accel/kvm/memory_slots.h"
#include "accel/kvm/run_gate.h"
#include "system/accelerator.h"
#include "util/mapping.h"
#include "util/thread.h"

#include <atomic>
#include <condition_variable>
#include <ctime>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

namespace godwit::accel::kvm {

/// What the vCPUs of one machine share. Outlives them.
struct VcpuShared {
    const KvmMachine& machine;
    MemorySlots& slots;
    RunGate& gate;
};

/// The signal that makes a vCPU thread leave KVM_RUN. Its handler does nothing.
int kick_signal() noexcept;
/// Sets the handler. Idempotent.
void install_kick_handler() noexcept;

/// One vCPU.
///
/// Threads  "CPU n/KVM" runs the guest and carries out exits; it takes the machine lock only to
///          reach devices. A pause takes effect between two instructions: an access that left the
///          guest is completed before anybody looks at the registers.
/// State    `cpu_common`, `cpu`, for the first one `kvm-tpr-opt`, and `apic`; see cpu_vmstate.h.
class KvmVcpu : public system::Vcpu {
public:
    KvmVcpu(VcpuShared shared, unsigned index, CpuDefinition cpu);
    ~KvmVcpu() override;

    unsigned index() const noexcept override { return index_; }
    int thread_id() const noexcept override { return tid_.load(std::memory_order_relaxed); }
    bool halted() const noexcept override;
    void request_pause() noexcept override;
    void wait_paused() override;
    void resume() noexcept override;
    void kick() noexcept override;
    std::string describe_registers() const override;
    std::string describe_apic() const override;
    Result<std::uint64_t> translate(std::uint64_t linear) override;
    Result<void> inject_nmi() override;
    void set_throttle(unsigned percent) noexcept override;

    const KvmFd& fd() const noexcept { return fd_; }
    const CpuDefinition& definition() const noexcept { return cpu_; }
    /// Tells a guest with kvmclock that it did not hang, it was stopped. While paused.
    void mark_clock_paused() noexcept;

    /// Registers as they are, for tests and monitors. While paused.
    Result<void> fetch(CpuState& state, ApicState& apic) const;
    Result<void> store(const CpuState& state, const ApicState& apic);

protected:
    Result<void> realize() override;
    void reset(system::ResetKind kind) override;
    void unrealize() noexcept override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    // vcpu_thread.cc
    void run(std::stop_token stop);
    bool obey(std::stop_token& stop);
    void run_guest();
    void settle();
    int enter_guest() noexcept;
    void throttle();
    void arm_throttle_timer(bool on) noexcept;
    void run_in_thread(std::function<void()> work) const;

    // vcpu_exits.cc
    void handle_exit();
    void port_access();
    void memory_access();
    void system_event();
    void give_up(std::string what);
    std::string internal_error_text() const;

    // vcpu.cc
    Result<void> refresh();
    Result<void> set_cpuid();

    VcpuShared shared_;
    unsigned index_;
    CpuDefinition cpu_;
    KvmFd fd_;
    Mapping run_mapping_;
    kvm_run* run_ = nullptr;
    std::size_t ring_ = 0;  ///< its number in the memory slots
    std::optional<CpuRegisters> registers_;

    CpuState state_;  ///< as last fetched, loaded or reset
    ApicState apic_;
    CpuCommonState common_;
    TprOptState tpr_;
    bool fresh_ = false;  ///< state_ and apic_ are what the vCPU holds

    mutable std::mutex mutex_;  // guards the next five
    mutable std::condition_variable_any changed_;
    bool pause_wanted_ = true;
    bool paused_ = false;
    mutable std::vector<std::function<void()>> work_;
    mutable std::atomic<bool> look_{true};  ///< something of the above wants the thread's attention
    bool unfinished_ = false;               ///< the last exit needs KVM_RUN to complete; own thread
    std::atomic<int> tid_{0};
    std::atomic<pthread_t> thread_handle_{};
    std::atomic<unsigned> throttle_percent_{0};
    bool throttle_armed_ = false;
    timer_t throttle_timer_{};
    std::uint64_t slice_start_ns_ = 0;
    NamedThread thread_;  // last, so that it joins first
};

}  // namespace godwit::accel::kvm
