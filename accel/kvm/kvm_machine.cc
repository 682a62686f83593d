// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/kvm_machine.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>

namespace godwit::accel::kvm {
namespace {

/// Three pages below the BIOS that Intel processors need in real mode; where QEMU has them.
constexpr std::uint64_t kIdentityMapAddress = 0xfeffc000;
constexpr unsigned long kTssAddress = 0xfeffd000;

constexpr std::uint32_t kArchCapabilities = 0x10a;

}  // namespace

int KvmMachine::extension(int capability) const noexcept
{
    const int answer = vm_.raw(KVM_CHECK_EXTENSION,
                               reinterpret_cast<void*>(static_cast<std::uintptr_t>(capability)));
    return answer < 0 ? 0 : answer;
}

Result<void> KvmMachine::enable(std::uint32_t capability, std::uint64_t argument,
                                std::string_view what)
{
    kvm_enable_cap cap{};
    cap.cap = capability;
    cap.args[0] = argument;
    GW_TRY(vm_.call(KVM_ENABLE_CAP, what, &cap));
    return {};
}

Result<void> KvmMachine::enable_dirty_log(std::uint32_t ring_entries)
{
    if (ring_entries == 0) {
        const int flags = extension(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
        const int wanted = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
        manual_protect_ = (flags & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) != 0 &&
                          enable(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
                                 static_cast<std::uint64_t>(flags & wanted), "KVM_ENABLE_CAP");
        initially_set_ = manual_protect_ && (flags & KVM_DIRTY_LOG_INITIALLY_SET) != 0;
        return {};
    }
    if (!std::has_single_bit(ring_entries))
        return Error(Errc::InvalidArgument, "dirty-ring-size must be a power of two.");
    const std::uint64_t bytes = std::uint64_t{ring_entries} * sizeof(kvm_dirty_gfn);
    int capability = KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
    int most = extension(capability);
    if (most == 0) {
        capability = KVM_CAP_DIRTY_LOG_RING;
        most = extension(capability);
    }
    if (most == 0)
        return Error(Errc::Unsupported, "KVM dirty ring not available");
    if (bytes > static_cast<std::uint64_t>(most))
        return Error(Errc::InvalidArgument,
                     fmt::format("KVM dirty ring size {} too big (maximum is {}).  Please use a "
                                 "smaller value.",
                                 ring_entries,
                                 static_cast<std::size_t>(most) / sizeof(kvm_dirty_gfn)));
    auto enabled =
        enable(static_cast<std::uint32_t>(capability), bytes, "Enabling of KVM dirty ring failed");
    if (!enabled)
        return std::move(enabled).error().with_hint("Suggested minimum value is 1024.");
    dirty_ring_entries_ = ring_entries;
    return {};
}

Result<void> KvmMachine::learn_host()
{
    host_ = HostCpu::from(GW_TRY(system_.supported_cpuid()), system_.feature_msr(kArchCapabilities),
                          system_.extension(KVM_CAP_TSC_DEADLINE_TIMER) != 0);
    msrs_ = GW_TRY(system_.msr_indices());
    std::ranges::sort(msrs_);
    const int khz = vm_.raw(KVM_GET_TSC_KHZ);  // of a VM; older kernels only answer for a vCPU
    host_.tsc_khz = khz > 0 ? static_cast<std::uint64_t>(khz) : 0;
    xsave2_bytes_ = static_cast<std::size_t>(std::max(extension(KVM_CAP_XSAVE2), 0));
    sregs2_ = extension(KVM_CAP_SREGS2) != 0;
    exception_payload_ = extension(KVM_CAP_EXCEPTION_PAYLOAD) != 0 &&
                         enable(KVM_CAP_EXCEPTION_PAYLOAD, 1, "KVM_CAP_EXCEPTION_PAYLOAD");
    triple_fault_event_ =
        extension(KVM_CAP_X86_TRIPLE_FAULT_EVENT) != 0 &&
        enable(KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1, "KVM_CAP_X86_TRIPLE_FAULT_EVENT");
    return {};
}

Result<KvmMachine> KvmMachine::create(const MachineOptions& options)
{
    KvmMachine machine;
    machine.system_ = GW_TRY(KvmSystem::open(options.device));
    machine.vm_ = GW_TRY(machine.system_.create_vm());
    GW_TRY(machine.enable_dirty_log(options.dirty_ring_entries));
    std::uint64_t identity = kIdentityMapAddress;
    GW_TRY(GW_KVM(machine.vm_, KVM_SET_IDENTITY_MAP_ADDR, &identity));
    GW_TRY(GW_KVM(machine.vm_, KVM_SET_TSS_ADDR, kTssAddress));
    GW_TRY(machine.learn_host());
    return machine;
}

Result<void> KvmMachine::create_irqchip(bool pit)
{
    GW_TRY(GW_KVM(vm_, KVM_CREATE_IRQCHIP));
    irqchip_ = true;
    if (!pit)
        return {};
    kvm_pit_config config{};
    config.flags = KVM_PIT_SPEAKER_DUMMY;
    GW_TRY(GW_KVM(vm_, KVM_CREATE_PIT2, &config));
    return {};
}

bool KvmMachine::lists_msr(std::uint32_t index) const noexcept
{
    return std::ranges::binary_search(msrs_, index);
}

unsigned KvmMachine::max_vcpus() const noexcept
{
    const int most = system_.extension(KVM_CAP_MAX_VCPUS);
    return most > 0 ? static_cast<unsigned>(most) : 4;
}

}  // namespace godwit::accel::kvm
