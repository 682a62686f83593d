// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/dirty_ring.h"

#include <atomic>
#include <linux/kvm.h>

namespace godwit::accel::kvm {

Result<DirtyRing> DirtyRing::map(const KvmFd& vcpu, std::uint32_t entries)
{
    const std::size_t bytes = std::size_t{entries} * sizeof(kvm_dirty_gfn);
    Mapping mapping = GW_TRY(
        with_context(Mapping::of_fd(vcpu.get(), bytes,
                                    std::uint64_t{KVM_DIRTY_LOG_PAGE_OFFSET} * host_page_size(),
                                    Mapping::Options{.sharing = Mapping::Sharing::Shared}),
                     "dirty ring"));
    return DirtyRing(std::move(mapping), entries);
}

std::uint32_t DirtyRing::collect(std::vector<DirtyEntry>& into)
{
    auto* ring = reinterpret_cast<kvm_dirty_gfn*>(mapping_.data());
    std::uint32_t taken = 0;
    for (; taken < entries_; ++taken) {
        kvm_dirty_gfn& entry = ring[next_ & (entries_ - 1)];
        std::atomic_ref<std::uint32_t> flags(entry.flags);
        if ((flags.load(std::memory_order_acquire) & KVM_DIRTY_GFN_F_DIRTY) == 0)
            break;
        into.push_back({entry.slot, entry.offset});
        flags.store(KVM_DIRTY_GFN_F_RESET, std::memory_order_release);
        ++next_;
    }
    return taken;
}

}  // namespace godwit::accel::kvm
