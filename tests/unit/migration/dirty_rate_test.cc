// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/pacing/dirty_rate.h"

#include "system/dirty_tracking.h"
#include "tests/unit/migration/test_machine.h"
#include "util/units.h"

#include <semaphore>

namespace godwit::migration {
namespace {

/// What the guest does while time passes, once for each measurement.
class GuestClock final : public Clock {
public:
    std::int64_t now_ns() const override { return now_; }
    void wait(std::unique_lock<std::mutex>& lock, std::condition_variable&,
              std::int64_t until_ns) override
    {
        lock.unlock();
        if (meanwhile)
            meanwhile();
        now_ = until_ns;
        lock.lock();
    }
    std::function<void()> meanwhile;

private:
    std::atomic<std::int64_t> now_{1'000'000'000};
};

struct DirtyRates : testing::Test {
    void write(std::uint64_t first, std::uint64_t pages)
    {
        for (std::uint64_t i = first; i < first + pages; ++i)
            block->host()[i << system::kPageBits] ^= std::byte{1};
        block->mark_dirty(first << system::kPageBits, pages << system::kPageBits);
    }
    DirtyRateResult measure(DirtyRateRequest request)
    {
        {
            const system::MachineGuard guard(lock);
            const auto started = rate.start(request);
            EXPECT_TRUE(started) << started.error().message();
        }
        return wait_for_end();
    }
    DirtyRateResult wait_for_end()
    {
        while (rate.result().status == DirtyRateStatus::Measuring)
            std::this_thread::yield();
        return rate.result();
    }

    system::MachineLock lock;
    system::AddressSpace memory{"memory", lock, 0};
    system::GuestMemory ram;
    system::RamBlock* block = ram.create({.id = "ram", .used_length = 64 * kMiB}).value();
    GuestClock clock;
    DirtyRate rate{memory, ram, clock};
};

TEST_F(DirtyRates, NothingIsKnownBeforeTheFirst)
{
    EXPECT_EQ(rate.result().status, DirtyRateStatus::Unstarted);
    EXPECT_FALSE(rate.result().rate);
}

TEST_F(DirtyRates, TheBitmapCountsEachPageOnce)
{
    clock.meanwhile = [&] {
        write(0, 10 * 256);
        write(0, 10 * 256);
    };
    const auto result = measure({.mode = DirtyRateMode::DirtyBitmap, .time_ms = 500});
    EXPECT_EQ(result.status, DirtyRateStatus::Measured);
    EXPECT_EQ(result.rate, 20u);
    EXPECT_FALSE(block->dirty().enabled(system::DirtyClient::Rate));
}

TEST_F(DirtyRates, TheBitmapLeavesMarksOfAMigrationAlone)
{
    clock.meanwhile = [&] {
        block->dirty().enable(system::DirtyClient::Migration);
        write(100, 256);
    };
    EXPECT_EQ(measure({.mode = DirtyRateMode::DirtyBitmap, .time_ms = 1000}).rate, 1u);
    EXPECT_EQ(block->dirty().bitmap(system::DirtyClient::Migration).count(), 256u);
}

TEST_F(DirtyRates, TheLogOfAMigrationIsNotTouched)
{
    block->dirty().enable(system::DirtyClient::Migration);
    const system::MachineGuard guard(lock);
    const auto refused = rate.start({.mode = DirtyRateMode::DirtyBitmap, .time_ms = 1000});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Errc::Busy);
    EXPECT_EQ(rate.result().status, DirtyRateStatus::Unstarted);
    EXPECT_FALSE(block->dirty().enabled(system::DirtyClient::Rate));
}

TEST_F(DirtyRates, SamplesSeeWhatChanged)
{
    clock.meanwhile = [&] { write(0, block->page_count() / 2); };
    const auto half =
        measure({.mode = DirtyRateMode::PageSampling, .time_ms = 1000, .sample_pages = 16384});
    EXPECT_EQ(half.rate, 32u) << "a page of each sixteen";
    clock.meanwhile = [&] { write(0, block->page_count()); };
    EXPECT_EQ(
        measure({.mode = DirtyRateMode::PageSampling, .time_ms = 2000, .sample_pages = 128}).rate,
        32u);
    clock.meanwhile = nullptr;
    EXPECT_EQ(
        measure({.mode = DirtyRateMode::PageSampling, .time_ms = 1000, .sample_pages = 512}).rate,
        0u);
}

TEST_F(DirtyRates, ASecondOneIsRefusedWhileTheFirstMeasures)
{
    std::binary_semaphore go(0);
    clock.meanwhile = [&] { go.acquire(); };
    {
        const system::MachineGuard guard(lock);
        ASSERT_TRUE(rate.start({.time_ms = 1000, .sample_pages = 512}));
        EXPECT_EQ(rate.result().status, DirtyRateStatus::Measuring);
        const auto second = rate.start({.time_ms = 1000, .sample_pages = 512});
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().message(), "the dirty rate is already being measured.");
    }
    go.release();
    EXPECT_EQ(wait_for_end().status, DirtyRateStatus::Measured);
}

TEST_F(DirtyRates, ALookOfSomebodyElseGoesFirst)
{
    auto other = system::DirtyTracking(memory, ram).start(system::DirtyClient::Rate).value();
    EXPECT_FALSE(rate.start({.mode = DirtyRateMode::DirtyBitmap, .time_ms = 1000}));
    other.reset();
    clock.meanwhile = [&] { write(0, 512); };
    EXPECT_EQ(measure({.mode = DirtyRateMode::DirtyBitmap, .time_ms = 1000}).rate, 2u);
}

TEST_F(DirtyRates, TheEndDoesNotWaitForTheMeasurement)
{
    SteadyClock steady;
    const system::MachineGuard guard(lock);
    DirtyRate slow(memory, ram, steady);
    ASSERT_TRUE(slow.start({.mode = DirtyRateMode::DirtyBitmap, .time_ms = kMaxDirtyRateMs}));
}

}  // namespace
}  // namespace godwit::migration
