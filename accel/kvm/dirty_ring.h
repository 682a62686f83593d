// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The dirty ring of one vCPU: pages it wrote, in order, shared with the kernel.
#pragma once

#include "accel/kvm/kvm_fd.h"
#include "util/mapping.h"

#include <cstdint>
#include <utility>
#include <vector>

namespace godwit::accel::kvm {

struct DirtyEntry {
    std::uint32_t slot;
    std::uint64_t page;  ///< from the start of the slot
};

/// Threads  one reader at a time; the kernel writes.
/// Source   Linux, Documentation/virt/kvm/api.rst, KVM_CAP_DIRTY_LOG_RING.
class DirtyRing {
public:
    static Result<DirtyRing> map(const KvmFd& vcpu, std::uint32_t entries);

    /// Takes what is in the ring and appends it. The kernel protects the pages again at the next
    /// KVM_RESET_DIRTY_RINGS: only after that may anybody be told of them.
    ///
    /// False when the ring was found full to the last entry: the kernel then has dropped entries,
    /// which it should not (a vCPU leaves the guest before), but nested kernels do. What was
    /// dropped is unknown.
    bool collect(std::vector<DirtyEntry>& into);
    /// Entries handed back to the kernel since this was last asked.
    std::uint32_t take_handed_back() noexcept { return std::exchange(handed_back_, 0); }
    /// The vCPU was told that its ring is full. True when something was collected since it was told
    /// so last: then there is room by now.
    bool has_room_again() noexcept { return std::exchange(told_full_, collected_) != collected_; }
    /// After an overrun the kernel may take a ring for full that has no entry to collect: hands
    /// back an empty one. Never one of a ring that is not full: the kernel would count it twice,
    /// and take the ring for full ever after.
    void give_back_one() noexcept;

private:
    DirtyRing(Mapping mapping, std::uint32_t entries)
        : mapping_(std::move(mapping)), entries_(entries)
    {}
    Mapping mapping_;
    std::uint32_t entries_;
    std::uint32_t next_ = 0;
    std::uint32_t handed_back_ = 0;
    std::uint64_t collected_ = 0;  ///< entries, ever
    std::uint64_t told_full_ = 0;  ///< collected_ then
    bool overran_ = false;  ///< from now on there may be gaps, where the kernel skipped entries
};

}  // namespace godwit::accel::kvm
