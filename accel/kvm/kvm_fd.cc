// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/kvm_fd.h"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <utility>

namespace godwit::accel::kvm {
namespace {

struct Needed {
    int capability;
    std::string_view name;
};

/// Without these there is no machine of ours. All are older than Linux 5.0.
constexpr Needed kNeeded[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "KVM_CAP_DESTROY_MEMORY_REGION_WORKS"},
    {KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, "KVM_CAP_JOIN_MEMORY_REGIONS_WORKS"},
    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM"},
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
    {KVM_CAP_XCRS, "KVM_CAP_XCRS"},
};

}  // namespace

int KvmFd::raw(unsigned long request, void* argument) const noexcept
{
    return ::ioctl(fd_.get(), request, argument);
}

Result<int> KvmFd::call(unsigned long request, std::string_view name, void* argument) const
{
    int answer;
    do
        answer = raw(request, argument);
    while (answer < 0 && errno == EINTR);
    if (answer < 0)
        return Error::from_errno(name);
    return answer;
}

Result<KvmSystem> KvmSystem::open(const std::string& device)
{
    UniqueFd fd(::open(device.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd)
        return Error::from_errno("Could not access KVM kernel module")
            .with_hint(device + " must exist and be readable and writable for this user");
    KvmSystem system;
    system.fd_ = KvmFd(std::move(fd));
    const auto version = GW_KVM(system.fd_, KVM_GET_API_VERSION);
    if (!version)
        return Error(Errc::Unsupported, device + " is not KVM");
    if (*version != KVM_API_VERSION)
        return Error(Errc::Unsupported, fmt::format("kvm version {} is not supported, {} is needed",
                                                    *version, KVM_API_VERSION));
    for (const Needed& needed : kNeeded)
        if (system.extension(needed.capability) == 0)
            return Error(Errc::Unsupported, fmt::format("kvm does not support {}", needed.name));
    system.run_bytes_ =
        static_cast<std::size_t>(GW_TRY(GW_KVM(system.fd_, KVM_GET_VCPU_MMAP_SIZE)));
    if (system.run_bytes_ < sizeof(kvm_run))
        return Error(Errc::Unsupported, "kvm maps less than a vCPU's run structure");
    return system;
}

int KvmSystem::extension(int capability) const noexcept
{
    const int answer = fd_.raw(KVM_CHECK_EXTENSION,
                               reinterpret_cast<void*>(static_cast<std::uintptr_t>(capability)));
    return answer < 0 ? 0 : answer;
}

Result<KvmFd> KvmSystem::create_vm() const
{
    return KvmFd(UniqueFd(GW_TRY(GW_KVM(fd_, KVM_CREATE_VM))));
}

Result<std::vector<kvm_cpuid_entry2>> KvmSystem::supported_cpuid() const
{
    for (std::uint32_t room = 128; room <= 4096; room *= 2) {
        CpuidList list(room);
        list->count = room;
        auto done = GW_KVM(fd_, KVM_GET_SUPPORTED_CPUID, list.get());
        if (done)
            return std::vector<kvm_cpuid_entry2>(list.entries(), list.entries() + list->count);
        if (done.error().os_errno() != E2BIG)
            return std::move(done).error();
    }
    return Error(Errc::Unsupported, "KVM_GET_SUPPORTED_CPUID: too many entries");
}

Result<std::vector<std::uint32_t>> KvmSystem::msr_indices() const
{
    WithEntries<IndexListHeader, std::uint32_t> list(4096);
    list->count = 4096;
    GW_TRY(GW_KVM(fd_, KVM_GET_MSR_INDEX_LIST, list.get()));
    return std::vector<std::uint32_t>(list.entries(), list.entries() + list->count);
}

std::uint64_t KvmSystem::feature_msr(std::uint32_t index) const noexcept
{
    if (extension(KVM_CAP_GET_MSR_FEATURES) == 0)
        return 0;
    MsrList list(1);
    list->count = 1;
    list.entries()->index = index;
    return fd_.raw(KVM_GET_MSRS, list.get()) == 1 ? list.entries()->data : 0;
}

}  // namespace godwit::accel::kvm
