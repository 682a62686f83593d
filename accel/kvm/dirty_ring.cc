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

bool DirtyRing::collect(std::vector<DirtyEntry>& into)
{
    auto* ring = reinterpret_cast<kvm_dirty_gfn*>(mapping_.data());
    const std::uint32_t mask = entries_ - 1;
    std::uint32_t taken = 0;
    std::uint32_t past = next_;  // behind the last entry that was taken
    for (std::uint32_t i = 0; i < entries_; ++i) {
        kvm_dirty_gfn& entry = ring[(next_ + i) & mask];
        std::atomic_ref<std::uint32_t> flags(entry.flags);
        if ((flags.load(std::memory_order_acquire) & KVM_DIRTY_GFN_F_DIRTY) == 0) {
            if (!overran_)
                break;
            continue;
        }
        // Entries that the kernel skipped are handed back as well, or it would wait for them. But
        // one that was empty a moment ago may be filled by now.
        for (std::uint32_t at = past; at != next_ + i + 1; ++at) {
            kvm_dirty_gfn& one = ring[at & mask];
            std::atomic_ref<std::uint32_t> state(one.flags);
            if ((state.load(std::memory_order_acquire) & KVM_DIRTY_GFN_F_DIRTY) != 0) {
                into.push_back({one.slot, one.offset});
                ++taken;
            }
            state.store(KVM_DIRTY_GFN_F_RESET, std::memory_order_release);
        }
        past = next_ + i + 1;
    }
    collected_ += taken;
    handed_back_ += past - next_;
    next_ = past;
    if (taken < entries_)
        return true;
    overran_ = true;
    return false;
}

void DirtyRing::give_back_one() noexcept
{
    auto* ring = reinterpret_cast<kvm_dirty_gfn*>(mapping_.data());
    std::atomic_ref<std::uint32_t>(ring[next_ & (entries_ - 1)].flags)
        .store(KVM_DIRTY_GFN_F_RESET, std::memory_order_release);
    ++next_;
    ++handed_back_;
    overran_ = true;
}

}  // namespace godwit::accel::kvm
