// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/clock.h"
#include "system/main_loop.h"
#include "util/units.h"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace godwit::system {
namespace {

struct Clock : ::testing::Test {
    std::unique_ptr<MainLoop> loop = MainLoop::create().value();
    Clocks clocks{*loop};
    MachineGuard guard{loop->lock()};

    std::int64_t guest() const { return clocks.now_ns(ClockType::Virtual); }
};

TEST_F(Clock, GuestTimeStandsUntilStartedAndWhileStopped)
{
    EXPECT_EQ(guest(), 0);
    clocks.start_virtual();
    while (guest() < kMs) {
    }
    clocks.stop_virtual();
    const std::int64_t stopped = guest();
    std::this_thread::yield();
    EXPECT_EQ(guest(), stopped);
    EXPECT_EQ(clocks.virtual_ns(), stopped);
}

TEST_F(Clock, ADestinationTakesOverTheSourcesTime)
{
    clocks.set_virtual_ns(5'000 * kMs);
    EXPECT_EQ(guest(), 5'000 * kMs);
    clocks.start_virtual();
    EXPECT_GE(guest(), 5'000 * kMs);
    EXPECT_LT(guest(), 5'000 * kMs + 3'600'000 * kMs);
}

TEST_F(Clock, TimersExpireInOrderThroughTheLoop)
{
    std::string order;
    Timer second(clocks, ClockType::Realtime, [&] { order += "2"; });
    Timer first(clocks, ClockType::Realtime, [&] { order += "1"; });
    second.arm_in_ns(2 * kMs);
    first.arm_in_ns(kMs);
    EXPECT_EQ(clocks.next_deadline_ns(ClockType::Realtime), first.expiry_ns());
    while (order.size() < 2)
        loop->run_once(true);
    EXPECT_EQ(order, "12");
    EXPECT_EQ(first.expiry_ns(), -1);
}

TEST_F(Clock, GuestTimersDoNotExpireWhileTheGuestIsStopped)
{
    bool expired = false;
    Timer timer(clocks, ClockType::Virtual, [&] { expired = true; });
    timer.arm_at_ns(0);
    loop->run_once(false);
    EXPECT_FALSE(expired);
    clocks.start_virtual();
    while (!expired)
        loop->run_once(true);
}

TEST_F(Clock, ATimerMayDestroyItselfOrArmItselfAgain)
{
    int count = 0;
    auto timer = std::make_unique<Timer>(clocks, ClockType::Realtime, [] {});
    timer = std::make_unique<Timer>(clocks, ClockType::Realtime, [&] {
        if (++count == 3)
            timer.reset();
        else
            timer->arm_in_ns(0);
    });
    timer->arm_in_ns(0);
    while (timer)
        loop->run_once(true);
    EXPECT_EQ(count, 3);
}

TEST_F(Clock, DisarmedAndDestroyedTimersDoNotExpire)
{
    bool expired = false;
    Timer timer(clocks, ClockType::Realtime, [&] { expired = true; });
    {
        Timer gone(clocks, ClockType::Realtime, [&] { expired = true; });
        gone.arm_in_ns(0);
    }
    timer.arm_in_ns(0);
    timer.disarm();
    EXPECT_FALSE(timer.armed());
    loop->run_once(false);
    EXPECT_FALSE(expired);
    EXPECT_EQ(clocks.next_deadline_ns(ClockType::Realtime), kNeverNs);
}

struct ClientClock : Clock {
    ClientClock()
    {
        clocks.make_client_driven();
        clocks.start_virtual();
    }
};

TEST_F(ClientClock, MovesOnlyWhenTold)
{
    EXPECT_EQ(clocks.step(1'000), 1'000);
    EXPECT_EQ(guest(), 1'000);
    EXPECT_EQ(clocks.set(500), 1'000) << "never backwards";
    EXPECT_EQ(clocks.step(std::nullopt), 1'000) << "no timer is armed";
}

TEST_F(ClientClock, StepsStopAtEveryTimerOnTheWay)
{
    std::vector<std::int64_t> seen;
    Timer periodic(clocks, ClockType::Virtual, [&] {
        seen.push_back(guest());
        if (seen.size() < 3)
            periodic.arm_in_ns(100);
    });
    periodic.arm_at_ns(100);
    EXPECT_EQ(clocks.step(1'000), 1'000);
    EXPECT_EQ(seen, (std::vector<std::int64_t>{100, 200, 300}));
}

TEST_F(ClientClock, AStepWithoutALengthGoesToTheNextTimer)
{
    bool expired = false;
    Timer timer(clocks, ClockType::Virtual, [&] { expired = true; });
    timer.arm_at_ns(777);
    EXPECT_EQ(clocks.step(std::nullopt), 777);
    EXPECT_TRUE(expired);
}

TEST_F(ClientClock, ATimerThatArmsItselfForThePastCannotStopTheClock)
{
    int count = 0;
    Timer timer(clocks, ClockType::Virtual, [&] {
        ++count;
        timer.arm_at_ns(0);
    });
    timer.arm_at_ns(0);
    EXPECT_EQ(clocks.step(10), 10);
    EXPECT_GT(count, 0);
}

TEST_F(ClientClock, AHugeStepEndsAtTheEndOfTime)
{
    EXPECT_EQ(clocks.step(kNeverNs), kNeverNs);
    EXPECT_EQ(clocks.step(kNeverNs), kNeverNs);
}

TEST_F(Clock, AnyThreadReadsGuestTimeWithoutTheLock)
{
    std::atomic<bool> stop = false;
    std::int64_t last = 0;
    bool monotonic = true;
    std::jthread reader([&] {
        while (!stop) {
            const std::int64_t now = clocks.now_ns(ClockType::Virtual);
            monotonic = monotonic && now >= last;
            last = now;
        }
    });
    for (int i = 0; i < 2'000; ++i) {
        clocks.start_virtual();
        clocks.stop_virtual();
    }
    stop = true;
    reader.join();
    EXPECT_TRUE(monotonic);
}

TEST(MainLoop, RunsWhatOtherThreadsPostInOrderWithTheLock)
{
    auto loop = MainLoop::create().value();
    std::vector<int> order;
    std::jthread poster([&] {
        for (int i = 0; i < 100; ++i)
            loop->post([&, i] {
                EXPECT_TRUE(loop->lock().held());
                EXPECT_TRUE(loop->in_loop_thread());
                order.push_back(i);
            });
        loop->post([&] { loop->quit(); });
    });
    loop->run();
    ASSERT_EQ(order.size(), 100u);
    EXPECT_TRUE(std::ranges::is_sorted(order));
}

TEST(MainLoop, DropsTheLockWhileItSleeps)
{
    auto loop = MainLoop::create().value();
    int turns = 0;
    std::jthread other([&] {
        for (int i = 0; i < 50; ++i) {
            MachineGuard guard(loop->lock());
            ++turns;
        }
        loop->quit();
    });
    loop->run();
    EXPECT_EQ(turns, 50);
}

TEST(MainLoop, AWatchMayRemoveItself)
{
    auto loop = MainLoop::create().value();
    int fds[2];
    ASSERT_EQ(::pipe(fds), 0);
    Registration watch;
    int calls = 0;
    watch = loop->watch(fds[0], 1, [&](unsigned) {
        ++calls;
        watch.reset();
        loop->post([&] { loop->quit(); });
    });
    ASSERT_EQ(::write(fds[1], "x", 1), 1);
    loop->run();
    EXPECT_EQ(calls, 1);
    ::close(fds[0]);
    ::close(fds[1]);
}

TEST(MainLoop, RegistrationsMayOutliveIt)
{
    auto loop = MainLoop::create().value();
    bool ticked = false;
    Registration timer = loop->after_ms(0, [&] { ticked = true; });
    Registration never = loop->after_ms(1'000'000, [] {});
    while (!ticked)
        loop->run_once(true);
    loop.reset();
    timer.reset();
    never.reset();
}

TEST(MachineLockDeathTest, TakingItTwiceIsOurBug)
{
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    MachineLock lock;
    EXPECT_DEATH(
        {
            lock.lock();
            lock.lock();
        },
        "machine lock taken twice");
}

}  // namespace
}  // namespace godwit::system
