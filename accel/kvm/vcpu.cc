// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A vCPU as a device: how it is made, reset, saved and loaded.
#include "accel/kvm/vcpu.h"

#include "accel/kvm/cpu_properties.h"
#include "accel/kvm/cpuid.h"
#include "accel/kvm/describe_apic.h"
#include "accel/kvm/describe_registers.h"
#include "accel/kvm/msr_table.h"
#include "migration/stream/registry.h"
#include "system/guest_paging.h"
#include "system/vm.h"
#include "util/log.h"

#include <fmt/format.h>

namespace godwit::accel::kvm {

KvmVcpu::KvmVcpu(VcpuShared shared, unsigned index, CpuDefinition cpu)
    : shared_(shared), index_(index), cpu_(std::move(cpu))
{
    add_cpu_properties(*this, cpu_);
}

KvmVcpu::~KvmVcpu() = default;

Result<void> KvmVcpu::set_cpuid()
{
    const std::vector<kvm_cpuid_entry2> leaves =
        build_cpuid(cpu_, {.cpus = vm().config().cpus, .apic_id = index_}, shared_.machine.host());
    CpuidList list(leaves.size());
    list->count = static_cast<std::uint32_t>(leaves.size());
    std::copy(leaves.begin(), leaves.end(), list.entries());
    GW_TRY(GW_KVM(fd_, KVM_SET_CPUID2, list.get()));
    if (!has_feature(cpu_.features, "arch-capabilities"))
        return {};
    MsrList msrs(1);
    msrs->count = 1;
    *msrs.entries() = {.index = 0x10a, .reserved = 0, .data = cpu_.features[FeatureWord::ArchCap]};
    if (GW_TRY(GW_KVM(fd_, KVM_SET_MSRS, msrs.get())) != 1)
        return Error(Errc::Unsupported, "KVM refuses to set MSR 0x10a");
    return {};
}

Result<void> KvmVcpu::realize()
{
    const KvmMachine& machine = shared_.machine;
    fd_ = KvmFd(UniqueFd(GW_TRY(
        with_context(GW_KVM(machine.fd(), KVM_CREATE_VCPU, static_cast<unsigned long>(index_)),
                     fmt::format("vCPU {}", index_)))));
    run_mapping_ = GW_TRY(Mapping::of_fd(fd_.get(), machine.system().run_bytes()));
    run_ = reinterpret_cast<kvm_run*>(run_mapping_.data());
    if (machine.dirty_ring_entries() != 0)
        ring_ = shared_.slots.add_ring(GW_TRY(DirtyRing::map(fd_, machine.dirty_ring_entries())));
    GW_TRY(set_cpuid());
    registers_ = GW_TRY(CpuRegisters::create(machine, fd_, cpu_));
    thread_ = NamedThread(fmt::format("CPU {}/KVM", index_),
                          [this](std::stop_token stop) { run(std::move(stop)); });
    wait_paused();
    return {};
}

void KvmVcpu::unrealize() noexcept
{
    thread_.request_stop();
    {
        std::lock_guard guard(mutex_);
        changed_.notify_all();
    }
    if (thread_.joinable()) {
        system::MachineLock& lock = vm().lock();
        if (lock.held()) {
            system::MachineUnlock unlocked(lock);
            thread_.join();
        } else {
            thread_.join();
        }
    }
    tid_.store(0);
}

void KvmVcpu::reset(system::ResetKind)
{
    const bool bootstrap = index_ == 0;
    state_ = reset_cpu_state(bootstrap, cpu_.family, cpu_.model_number, cpu_.stepping);
    apic_ = reset_apic_state(bootstrap, static_cast<std::uint8_t>(index_));
    common_ = {};
    if (auto done = store(state_, apic_); !done)
        vm().log().report(std::move(done).error().context(fmt::format("reset of vCPU {}", index_)));
}

Result<void> KvmVcpu::fetch(CpuState& state, ApicState& apic) const
{
    return registers_->fetch(state, apic);
}

Result<void> KvmVcpu::store(const CpuState& state, const ApicState& apic)
{
    fresh_ = false;
    return registers_->store(state, apic);
}

/// Brings state_ and apic_ up to date, once a pause.
Result<void> KvmVcpu::refresh()
{
    if (fresh_)
        return {};
    Result<void> fetched;
    run_in_thread([&] { fetched = fetch(state_, apic_); });
    GW_TRY(with_context(std::move(fetched), fmt::format("vCPU {}", index_)));
    common_.halted = state_.mp_state == KVM_MP_STATE_HALTED;
    common_.interrupt_request = 0;
    const std::int64_t now = vm().clocks().virtual_ns();
    apic_.initial_count_load_time = now;
    apic_.next_time = apic_.initial_count == 0
                          ? 0
                          : now + (std::int64_t{apic_.initial_count} << apic_.count_shift);
    apic_.timer_expiry = apic_.initial_count == 0 ? -1 : apic_.next_time;
    std::lock_guard guard(mutex_);
    fresh_ = paused_;
    return {};
}

Result<void> KvmVcpu::register_state(migration::stream::StateRegistry& registry)
{
    using migration::stream::Version;
    const auto put = [this](Version) -> Result<void> {
        if (!registers_->set_tsc_khz(state_.tsc_khz))
            vm().log().warn(
                fmt::format("TSC frequency mismatch between VM ({} kHz) and host ({} kHz), "
                            "and TSC scaling unavailable",
                            state_.tsc_khz, shared_.machine.host().tsc_khz));
        return store(state_, apic_);
    };
    const auto get = [this] { return refresh(); };
    keep(GW_TRY(
        registry.add(cpu_common_vmstate(), common_, {.instance_id = index_}, {.pre_save = get})));
    keep(GW_TRY(registry.add(cpu_vmstate(), state_, {.instance_id = index_},
                             {.pre_save = get, .post_load = put})));
    if (!registers_->has_apic())
        return {};
    if (index_ == 0)
        keep(GW_TRY(registry.add(tpr_opt_vmstate(), tpr_, {.instance_id = 0})));
    keep(GW_TRY(registry.add(apic_vmstate(), apic_, {.instance_id = index_},
                             {.pre_save = get, .post_load = [this](Version) {
                                  return registers_->store(state_, apic_);
                              }})));
    return {};
}

bool KvmVcpu::halted() const noexcept
{
    std::lock_guard guard(mutex_);
    if (!paused_)
        return false;
    kvm_mp_state mp{};
    return fd_.raw(KVM_GET_MP_STATE, &mp) == 0 && mp.mp_state == KVM_MP_STATE_HALTED;
}

std::string KvmVcpu::describe_registers() const
{
    CpuState state;
    Result<void> done;
    run_in_thread([&] { done = registers_->fetch_general(state); });
    return done ? format_registers(state) : done.error().message() + "\n";
}

std::string KvmVcpu::describe_apic() const
{
    if (!registers_->has_apic())
        return Vcpu::describe_apic();
    ApicState state;
    std::uint32_t current_count = 0;
    Result<void> done;
    run_in_thread([&] { done = registers_->fetch_apic(state, &current_count); });
    return done ? format_apic(index_, state, current_count) : done.error().message() + "\n";
}

Result<std::uint64_t> KvmVcpu::translate(std::uint64_t linear)
{
    CpuState state;
    Result<void> done;
    run_in_thread([&] { done = registers_->fetch_general(state); });
    GW_TRY(std::move(done));
    const system::PagingMode mode{
        .cr0 = state.cr0, .cr3 = state.cr3, .cr4 = state.cr4, .efer = state.efer};
    if (const auto physical = system::translate(vm().memory(), mode, linear))
        return *physical;
    return Error(Errc::NotFound, fmt::format("no page at {:#x}", linear));
}

Result<void> KvmVcpu::inject_nmi()
{
    Result<void> done;
    run_in_thread([&] { done = checked(GW_KVM(fd_, KVM_NMI), "NMI"); });
    return done;
}

void KvmVcpu::mark_clock_paused() noexcept
{
    (void)fd_.raw(KVM_KVMCLOCK_CTRL);  // fails when the guest does not use kvmclock
}

}  // namespace godwit::accel::kvm
