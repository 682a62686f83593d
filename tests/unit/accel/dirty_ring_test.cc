// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The ring as the kernel fills it, played by a file.
#include "accel/kvm/dirty_ring.h"

#include <atomic>
#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

namespace godwit::accel::kvm {
namespace {

constexpr std::uint32_t kEntries = 256;

/// The kernel's side of a ring.
class Writer {
public:
    Writer() : fd_(UniqueFd(::memfd_create("ring", MFD_CLOEXEC)))
    {
        const std::uint64_t start = std::uint64_t{KVM_DIRTY_LOG_PAGE_OFFSET} * host_page_size();
        EXPECT_EQ(
            ::ftruncate(fd_.get(), static_cast<off_t>(start + sizeof(kvm_dirty_gfn) * kEntries)),
            0);
        mapping_ = Mapping::of_fd(fd_.get(), sizeof(kvm_dirty_gfn) * kEntries, start,
                                  Mapping::Options{.sharing = Mapping::Sharing::Shared})
                       .value();
    }
    const KvmFd& fd() const { return fd_; }
    void push(std::uint64_t page)
    {
        kvm_dirty_gfn& entry = at(next_++);
        entry.slot = 0;
        entry.offset = page;
        state(entry).store(KVM_DIRTY_GFN_F_DIRTY, std::memory_order_release);
    }
    /// KVM_RESET_DIRTY_RINGS: what was handed back is empty again. How many that were.
    std::uint32_t reset()
    {
        std::uint32_t count = 0;
        for (; (state(at(reset_)).load(std::memory_order_acquire) & KVM_DIRTY_GFN_F_RESET) != 0;
             ++reset_, ++count)
            state(at(reset_)).store(0, std::memory_order_release);
        return count;
    }
    std::uint32_t used() const { return next_ - reset_; }

private:
    kvm_dirty_gfn& at(std::uint32_t index)
    {
        return reinterpret_cast<kvm_dirty_gfn*>(mapping_.data())[index & (kEntries - 1)];
    }
    static std::atomic_ref<std::uint32_t> state(kvm_dirty_gfn& entry)
    {
        return std::atomic_ref<std::uint32_t>(entry.flags);
    }

    KvmFd fd_;
    Mapping mapping_;
    std::atomic<std::uint32_t> next_ = 0;
    std::atomic<std::uint32_t> reset_ = 0;
};

TEST(DirtyRing, GivesWhatTheKernelPutInInOrder)
{
    Writer kernel;
    DirtyRing ring = DirtyRing::map(kernel.fd(), kEntries).value();
    std::vector<DirtyEntry> found;
    for (std::uint64_t page = 0; page < 3 * kEntries; page += 100) {
        for (std::uint64_t i = 0; i < 100; ++i)
            kernel.push(page + i);
        EXPECT_TRUE(ring.collect(found));
        EXPECT_EQ(ring.take_handed_back(), 100u);
        EXPECT_EQ(kernel.reset(), 100u);
    }
    for (std::size_t i = 0; i < found.size(); ++i)
        ASSERT_EQ(found[i].page, i);
}

TEST(DirtyRing, SaysThatItWasOverrunAndFindsTheKernelAgain)
{
    Writer kernel;
    DirtyRing ring = DirtyRing::map(kernel.fd(), kEntries).value();
    for (std::uint64_t page = 0; page < kEntries + 10; ++page)
        kernel.push(page);
    std::vector<DirtyEntry> found;
    EXPECT_FALSE(ring.collect(found));
    EXPECT_EQ(kernel.reset(), kEntries);
    EXPECT_EQ(kernel.used(), 10u);
    // The kernel goes on behind the ten that it believes to be there.
    found.clear();
    kernel.push(1000);
    EXPECT_TRUE(ring.collect(found));
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].page, 1000u);
    EXPECT_EQ(kernel.reset(), 11u);
    EXPECT_EQ(kernel.used(), 0u);
}

TEST(DirtyRing, LosesNothingThatIsPutInWhileItLooksAfterAnOverrun)
{
    Writer kernel;
    DirtyRing ring = DirtyRing::map(kernel.fd(), kEntries).value();
    std::vector<DirtyEntry> found;
    for (std::uint64_t page = 0; page < kEntries; ++page)
        kernel.push(page);
    EXPECT_FALSE(ring.collect(found));
    kernel.reset();
    found.clear();
    constexpr std::uint64_t kPages = 20'000;
    std::atomic<std::uint64_t> reset = 0;
    std::thread writer([&] {
        for (std::uint64_t page = 0; page < kPages; ++page) {
            while (page - reset.load(std::memory_order_acquire) > kEntries / 2)
                std::this_thread::yield();
            kernel.push(page);
        }
    });
    while (found.size() < kPages && reset < kPages) {
        EXPECT_TRUE(ring.collect(found));
        reset += kernel.reset();
    }
    writer.join();
    ASSERT_EQ(found.size(), kPages);
    for (std::size_t i = 0; i < found.size(); ++i)
        ASSERT_EQ(found[i].page, i);
}

TEST(DirtyRing, HasRoomAgainOnceSomethingWasCollectedSinceItWasFull)
{
    Writer kernel;
    DirtyRing ring = DirtyRing::map(kernel.fd(), kEntries).value();
    std::vector<DirtyEntry> found;
    EXPECT_FALSE(ring.has_room_again());
    kernel.push(1);
    EXPECT_TRUE(ring.collect(found));
    EXPECT_TRUE(ring.has_room_again());
    EXPECT_FALSE(ring.has_room_again());
}

}  // namespace
}  // namespace godwit::accel::kvm
