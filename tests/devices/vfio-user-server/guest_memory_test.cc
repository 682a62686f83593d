// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/guest_memory.h"

#include "tests/devices/vfio-user-server/engine.h"
#include "util/unique_fd.h"

#include <cerrno>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace godwit::vfio_user_server {
namespace {

constexpr std::uint64_t kPage = 4096;

TEST(DirtyLogOfADevice, ForgetsWhatItReported)
{
    DirtyLog log;
    ASSERT_TRUE(log.start(kPage, {}));
    log.mark(3 * kPage + 4095, 2);  // pages 3 and 4
    log.mark(64 * kPage, 1);
    EXPECT_EQ(log.take(0, 65 * kPage, kPage).value(), (std::vector<std::uint64_t>{0x18, 1}));
    EXPECT_EQ(log.take(0, 65 * kPage, kPage).value(), (std::vector<std::uint64_t>{0, 0}));
}

TEST(DirtyLogOfADevice, ReportsInSmallerAndLargerPagesThanItsOwn)
{
    DirtyLog log;
    ASSERT_TRUE(log.start(4 * kPage, {}));
    log.mark(5 * kPage, 1);  // its page 1, ours 4 to 7
    EXPECT_EQ(log.take(0, 16 * kPage, kPage).value()[0], 0xf0u);
    log.mark(5 * kPage, 1);
    EXPECT_EQ(log.take(0, 16 * kPage, 8 * kPage).value()[0], 1u);
}

TEST(DirtyLogOfADevice, LeavesOutWhatIsInNoRange)
{
    DirtyLog log;
    const DirtyLog::Range range{.iova = 8 * kPage, .length = 2 * kPage};
    ASSERT_TRUE(log.start(kPage, std::span(&range, 1)));
    for (std::uint64_t page = 0; page < 16; ++page)
        log.mark(page * kPage, 1);
    EXPECT_EQ(log.take(0, 16 * kPage, kPage).value()[0], 0x300u);
}

TEST(DirtyLogOfADevice, RefusesWhatTheKernelRefuses)
{
    using Range = DirtyLog::Range;
    const auto refused = [](std::uint64_t page_size, std::vector<Range> ranges) {
        DirtyLog log;
        const auto started = log.start(page_size, ranges);
        return started ? 0 : started.error().os_errno();
    };
    EXPECT_EQ(refused(0, {}), EINVAL);
    EXPECT_EQ(refused(3 * kPage, {}), EINVAL);
    EXPECT_EQ(refused(kPage, {{.iova = 1, .length = kPage}}), EINVAL);
    EXPECT_EQ(refused(kPage, {{.iova = 0, .length = 2 * kPage}, {.iova = kPage, .length = kPage}}),
              EINVAL);
    EXPECT_EQ(refused(kPage, {{.iova = ~std::uint64_t{0} - kPage + 1, .length = 2 * kPage}}),
              EOVERFLOW);
    EXPECT_EQ(refused(kPage, std::vector<Range>(257, Range{.length = kPage})), E2BIG);
    DirtyLog log;
    ASSERT_TRUE(log.start(kPage, {}));
    EXPECT_EQ(log.start(kPage, {}).error().os_errno(), EBUSY);
    EXPECT_EQ(log.take(1, kPage, kPage).error().os_errno(), EINVAL);
    EXPECT_EQ(log.take(0, ~std::uint64_t{0}, kPage).error().os_errno(), E2BIG);
}

class RingInMemory : public testing::Test {
protected:
    void SetUp() override
    {
        fd_.reset(::memfd_create("ram", MFD_CLOEXEC));
        ASSERT_EQ(::ftruncate(fd_.get(), 16 * kPage), 0);
        ASSERT_TRUE(memory_.map(0x10000, 16 * kPage, true, true, fd_.get(), 0));
        engine_ = {.ring = 0x11000, .slots = 100, .device = 3};
    }
    DmaRecord* slot(std::uint64_t n)
    {
        return reinterpret_cast<DmaRecord*>(
            memory_.find(0x11000 + n * sizeof(DmaRecord), sizeof(DmaRecord), true));
    }
    UniqueFd fd_;
    GuestMemory memory_;
    EngineState engine_;
};

TEST_F(RingInMemory, IsRightAfterManyTurns)
{
    EXPECT_EQ(write_records(engine_, memory_, 1234), 1234u);
    const RingReport report = check_ring(engine_, memory_);
    EXPECT_TRUE(report.right());
    EXPECT_EQ(report.checked, 100u);
}

TEST_F(RingInMemory, ShowsLostTornRepeatedAndForeignRecords)
{
    write_records(engine_, memory_, 250);
    const DmaRecord old = make_record(engine_, 110);
    *slot(10) = old;  // 210 should stand there
    slot(20)->words[1] ^= 1;
    EngineState later = engine_;
    later.next = 1000;
    *slot(30) = make_record(later, 330);
    EngineState other = engine_;
    other.device = 4;
    *slot(40) = make_record(other, 240);
    *slot(60) = DmaRecord{};
    const RingReport report = check_ring(engine_, memory_);
    EXPECT_EQ(report.lost, 2u);
    EXPECT_EQ(report.torn, 1u);
    EXPECT_EQ(report.alien, 2u);
}

TEST_F(RingInMemory, OutsideEveryWindowIsMissedAndNotWritten)
{
    engine_.ring = 0x20000 - 64;
    EXPECT_EQ(write_records(engine_, memory_, 3), 1u);
    EXPECT_EQ(engine_.missed, 2u);
    EXPECT_EQ(engine_.next, 1u);
}

TEST_F(RingInMemory, WindowsDoNotOverlapAndGoAsTheyCame)
{
    EXPECT_EQ(memory_.map(0x1f000, 2 * kPage, true, true, -1, 0).error().os_errno(), EEXIST);
    EXPECT_EQ(memory_.map(0x0f000, 2 * kPage, true, true, -1, 0).error().os_errno(), EEXIST);
    EXPECT_EQ(memory_.unmap(0x10000, kPage).error().os_errno(), ENOENT);
    EXPECT_TRUE(memory_.unmap(0x10000, 16 * kPage));
    EXPECT_EQ(memory_.find(0x10000, 1, false), nullptr);
}

}  // namespace
}  // namespace godwit::vfio_user_server
