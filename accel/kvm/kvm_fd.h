// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /dev/kvm and the descriptors it hands out: ioctls that fail as a Result and say their name.
#pragma once

#include "util/mapping.h"
#include "util/result.h"
#include "util/unique_fd.h"

#include <cstdint>
#include <linux/kvm.h>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace godwit::accel::kvm {

/// The head of a list that goes to or comes from the kernel: how many entries follow.
struct ListHeader {
    std::uint32_t count = 0;
    std::uint32_t rest = 0;  ///< padding, or flags
};
struct IndexListHeader {
    std::uint32_t count = 0;
};
/// What KVM_GET_XSAVE fills at least.
using XsaveRegion = std::uint32_t[1024];

// The request numbers contain the sizes of their structures. Those that end in a flexible array are
// larger in C++ than in C, as the kernel's headers declare them, so their numbers are made here.
#undef KVM_GET_MSR_INDEX_LIST
#undef KVM_GET_SUPPORTED_CPUID
#undef KVM_SET_CPUID2
#undef KVM_GET_MSRS
#undef KVM_SET_MSRS
#undef KVM_SET_GSI_ROUTING
#undef KVM_GET_XSAVE
#undef KVM_SET_XSAVE
#undef KVM_GET_XSAVE2
#define KVM_GET_MSR_INDEX_LIST _IOWR(KVMIO, 0x02, ::godwit::accel::kvm::IndexListHeader)
#define KVM_GET_SUPPORTED_CPUID _IOWR(KVMIO, 0x05, ::godwit::accel::kvm::ListHeader)
#define KVM_SET_CPUID2 _IOW(KVMIO, 0x90, ::godwit::accel::kvm::ListHeader)
#define KVM_GET_MSRS _IOWR(KVMIO, 0x88, ::godwit::accel::kvm::ListHeader)
#define KVM_SET_MSRS _IOW(KVMIO, 0x89, ::godwit::accel::kvm::ListHeader)
#define KVM_SET_GSI_ROUTING _IOW(KVMIO, 0x6a, ::godwit::accel::kvm::ListHeader)
#define KVM_GET_XSAVE _IOR(KVMIO, 0xa4, ::godwit::accel::kvm::XsaveRegion)
#define KVM_SET_XSAVE _IOW(KVMIO, 0xa5, ::godwit::accel::kvm::XsaveRegion)
#define KVM_GET_XSAVE2 _IOR(KVMIO, 0xcf, ::godwit::accel::kvm::XsaveRegion)

/// A descriptor that takes ioctls.
///
/// Threads  the kernel's rules: VM and system ioctls from any thread, vCPU ioctls from one at a
///          time.
class KvmFd {
public:
    KvmFd() noexcept = default;
    explicit KvmFd(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
    int get() const noexcept { return fd_.get(); }
    explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

    /// The ioctl's answer (0 or more). An interrupted call is made again.
    /// Errors   from_errno with `name`.
    Result<int> call(unsigned long request, std::string_view name, void* argument) const;
    Result<int> call(unsigned long request, std::string_view name, unsigned long argument = 0) const
    {
        return call(request, name, reinterpret_cast<void*>(argument));
    }
    /// Any error as -1 with errno, for the run loop.
    int raw(unsigned long request, void* argument = nullptr) const noexcept;

private:
    UniqueFd fd_;
};

/// `GW_KVM(fd, KVM_GET_REGS, &regs)`: the call and its name.
#define GW_KVM(fd_, request_, ...) (fd_).call(request_, #request_ __VA_OPT__(, ) __VA_ARGS__)

/// For callers who do not care what a call answered; `where` is put before an error.
inline Result<void> checked(Result<int> answer, std::string_view where)
{
    if (!answer)
        return std::move(answer).error().context(where);
    return {};
}

/// /dev/kvm, opened and found usable.
class KvmSystem {
public:
    /// Errors   Io/NotFound/PermissionDenied: "Could not access KVM kernel module: ...";
    /// Unsupported
    ///          for another API version or a missing capability, which is named.
    static Result<KvmSystem> open(const std::string& device = "/dev/kvm");

    const KvmFd& fd() const noexcept { return fd_; }
    /// KVM_CHECK_EXTENSION; 0 = no.
    int extension(int capability) const noexcept;
    Result<KvmFd> create_vm() const;
    /// Bytes to map of a vCPU's descriptor.
    std::size_t run_bytes() const noexcept { return run_bytes_; }

    Result<std::vector<kvm_cpuid_entry2>> supported_cpuid() const;
    /// MSRs that may be read and written, KVM_GET_MSR_INDEX_LIST.
    Result<std::vector<std::uint32_t>> msr_indices() const;
    /// Value of a feature MSR (0x10a, 0x345 ...), 0 if there is none.
    std::uint64_t feature_msr(std::uint32_t index) const noexcept;

private:
    KvmFd fd_;
    std::size_t run_bytes_ = 0;
};

/// A kernel structure that ends in an array of `Entry`, with room for `Count` of them.
template <class Header, class Entry>
class WithEntries {
public:
    explicit WithEntries(std::size_t count)
        : words_((sizeof(Header) + count * sizeof(Entry) + 7) / 8)
    {}
    Header* operator->() noexcept { return get(); }
    Header* get() noexcept { return reinterpret_cast<Header*>(words_.data()); }
    Entry* entries() noexcept
    {
        return reinterpret_cast<Entry*>(reinterpret_cast<char*>(words_.data()) + sizeof(Header));
    }

private:
    std::vector<std::uint64_t> words_;
};

using CpuidList = WithEntries<ListHeader, kvm_cpuid_entry2>;
using MsrList = WithEntries<ListHeader, kvm_msr_entry>;

}  // namespace godwit::accel::kvm
