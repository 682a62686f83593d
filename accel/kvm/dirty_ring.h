// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The dirty ring of one vCPU: pages it wrote, in order, shared with the kernel.
#pragma once

#include "accel/kvm/kvm_fd.h"
#include "util/mapping.h"

#include <cstdint>
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
    std::uint32_t collect(std::vector<DirtyEntry>& into);

private:
    DirtyRing(Mapping mapping, std::uint32_t entries)
        : mapping_(std::move(mapping)), entries_(entries)
    {}
    Mapping mapping_;
    std::uint32_t entries_;
    std::uint32_t next_ = 0;
};

}  // namespace godwit::accel::kvm
