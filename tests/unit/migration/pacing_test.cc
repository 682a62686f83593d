// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Limits, convergence and patience, on a clock that only passes while somebody waits.
#include "migration/live_state.h"
#include "migration/pacing/auto_converge.h"
#include "migration/pacing/page_cost.h"
#include "migration/pacing/rate_limit.h"
#include "migration/pacing/switchover.h"
#include "tests/unit/migration/test_machine.h"
#include "util/units.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace godwit::migration {
namespace {

TEST(SwitchoverEstimate, IsBandwidthTimesDowntime)
{
    SwitchoverEstimate e;
    EXPECT_EQ(e.threshold(), 0u) << "before the first window";
    e.update({100 * kMs, 1'000'000, 250}, {.downtime_ms = 300});
    EXPECT_EQ(e.threshold(), 3'000'000u);
    EXPECT_DOUBLE_EQ(e.mbps(), 80.0);
    EXPECT_EQ(e.pages_per_second(), 2500u);
    EXPECT_EQ(e.expected_downtime_ms(), -1) << "nothing is dirtied";
    e.set_dirty(500'000, 1);
    e.update({100 * kMs, 1'000'000, 250}, {.downtime_ms = 300});
    EXPECT_EQ(e.expected_downtime_ms(), 50);
}

TEST(SwitchoverEstimate, AGivenBandwidthReplacesTheMeasuredOne)
{
    SwitchoverEstimate e;
    e.update({100 * kMs, 10, 0}, {.downtime_ms = 100, .avail_bandwidth = 5'000'999});
    EXPECT_EQ(e.threshold(), 500'000u) << "whole bytes a millisecond, as in QEMU";
    e.update({1, ~std::uint64_t{0}, 0}, {.downtime_ms = 2'000'000});
    EXPECT_EQ(e.threshold(), ~std::uint64_t{0}) << "more than fits is everything";
}

TEST(SwitchoverEstimate, AGuestThatWritesNothingDoesNotMakeTheLinkSlow)
{
    SwitchoverEstimate e;
    e.set_dirty(1'000'000, 1);
    e.update({.ns = 100 * kMs, .bytes = 1'000'000, .pages = 250}, {.downtime_ms = 300});
    e.update({.ns = 100 * kMs, .bytes = 20'000, .pages = 5, .idle_ns = 99 * kMs},
             {.downtime_ms = 300});
    EXPECT_EQ(e.threshold(), 3'000'000u);
    EXPECT_EQ(e.expected_downtime_ms(), 100);
    EXPECT_DOUBLE_EQ(e.mbps(), 1.6) << "the throughput is what was sent";
    e.update({.ns = 100 * kMs, .bytes = 2'000'000, .pages = 500, .idle_ns = 99 * kMs},
             {.downtime_ms = 300});
    EXPECT_EQ(e.threshold(), 6'000'000u) << "it carries at least this, not 2 MB in 1 ms";
    e.update({.ns = 100 * kMs, .bytes = 400'000, .pages = 100, .idle_ns = 20 * kMs},
             {.downtime_ms = 300});
    EXPECT_EQ(e.threshold(), 1'500'000u) << "slower with enough to send: 5 kB a ms of sending";
}

TEST(SwitchoverEstimate, AnIdleFirstWindowIsBetterThanNone)
{
    SwitchoverEstimate e;
    e.update({.ns = 100 * kMs, .bytes = 1'000, .idle_ns = 100 * kMs}, {.downtime_ms = 300});
    EXPECT_EQ(e.threshold(), 3'000u);
}

TEST(SwitchoverStep, CompletesBelowTheThresholdOrWithNothingLeft)
{
    EXPECT_EQ(next_step({.must_precopy = 0}, 0, true), Step::Complete);
    EXPECT_EQ(next_step({.must_precopy = 10}, 10, true), Step::Iterate);
    EXPECT_EQ(next_step({.must_precopy = 9}, 10, true), Step::Complete);
    EXPECT_EQ(next_step({.must_precopy = 5, .can_postcopy = 5}, 10, true), Step::Iterate);
    EXPECT_EQ(next_step({.must_precopy = 0}, 10, false), Step::Iterate);
}

TEST(RateLimit, IsATenthOfTheBandwidthAWindow)
{
    RateLimit rate;
    rate.begin(5, 1000);
    EXPECT_FALSE(rate.exceeded(1000 + 100, 1000));
    EXPECT_TRUE(rate.exceeded(1000 + 101, 1000));
    EXPECT_FALSE(rate.exceeded(1'000'000'000, 0)) << "0 is no limit";
    EXPECT_EQ(rate.room(1000, 1000), 101u);
    EXPECT_EQ(rate.room(1100, 1000), 1u);
    EXPECT_EQ(rate.room(1101, 1000), 0u);
    EXPECT_FALSE(rate.over(5 + kWindowNs - 1));
    EXPECT_TRUE(rate.over(5 + kWindowNs));
}

TEST(AutoConverge, ActsOnTheSecondHitAndStepsUpToTheMost)
{
    LiveLimits limits{Parameters{}};
    AutoConverge converge;
    EXPECT_EQ(converge.period_ended(50, 100, limits), 0u) << "not over the trigger";
    EXPECT_EQ(converge.period_ended(51, 100, limits), 0u);
    EXPECT_EQ(converge.period_ended(51, 100, limits), 20u);
    EXPECT_EQ(converge.period_ended(51, 100, limits), 20u);
    EXPECT_EQ(converge.period_ended(10, 100, limits), 20u) << "hits need not be consecutive";
    EXPECT_EQ(converge.period_ended(51, 100, limits), 30u);
    for (int i = 0; i < 40; ++i)
        (void)converge.period_ended(1000, 100, limits);
    EXPECT_EQ(converge.percent(), 99u);
}

TEST(AutoConverge, TheTailGoesSlowWhenAsked)
{
    LiveLimits limits{Parameters{.cpu_throttle_tailslow = true}};
    AutoConverge converge;
    (void)converge.period_ended(60, 100, limits);
    EXPECT_EQ(converge.period_ended(60, 100, limits), 20u);
    (void)converge.period_ended(52, 100, limits);
    // 80 % of a CPU times 50 / 52 is what would do: a step of 3.
    EXPECT_EQ(converge.period_ended(52, 100, limits), 23u);
}

TEST(Pacing, KeepsToTheBandwidth)
{
    FakeClock clock;
    TestMachine a(4 << 20, &clock);
    TestMachine b(4 << 20, &clock);
    std::memset(a.ram->host(), 0x41, a.ram->used_length());
    a.set({.max_bandwidth = 1 << 20});
    const std::int64_t before = clock.now_ns();
    move(a, b);
    const auto ms = (clock.now_ns() - before) / kMs;
    EXPECT_GE(ms, 3700) << "4 MiB at 1 MiB a second; the last window is free";
    // Waiting for the other thread's answer, up to three seconds, passes on the fake clock too.
    EXPECT_LE(ms, 4200 + 3000);
    EXPECT_EQ(std::memcmp(a.ram->host(), b.ram->host(), a.ram->used_length()), 0);
}

TEST(Pacing, TheLimitCountsMostlyZeroPagesWhole)
{
    FakeClock clock;
    TestMachine a(4 << 20, &clock);
    TestMachine b(4 << 20, &clock);
    for (std::uint64_t page = 0; page < 1024; ++page)
        a.write(page, page + 1);
    a.set({.max_bandwidth = 1 << 20});
    const std::int64_t before = clock.now_ns();
    move(a, b);
    EXPECT_GE((clock.now_ns() - before) / kMs, 3700);
    EXPECT_LT(a.service->report().statistics->transferred, 256u << 10);
}

TEST(PageCost, IsThatOfTheDearerOfTheLastTwoPassesBehindTheFirst)
{
    constexpr std::uint64_t kPage = system::kPageSize;
    PageCost cost;
    EXPECT_EQ(cost.bytes(10), 10 * kPage);
    cost.pass_ended(1000, 1000 * kPage);  // the first tells nothing
    EXPECT_EQ(cost.bytes(10), 10 * kPage);
    cost.pass_ended(1000, 750 * kPage);
    EXPECT_EQ(cost.bytes(1000), 250 * kPage);
    cost.pass_ended(1000, 900 * kPage);
    EXPECT_EQ(cost.bytes(1000), 250 * kPage);
    cost.pass_ended(10, 0);  // too few to tell
    EXPECT_EQ(cost.bytes(1000), 250 * kPage);
    cost.pass_ended(1000, 500 * kPage);
    EXPECT_EQ(cost.bytes(1000), 500 * kPage);
    cost.pass_ended(1000, 1000 * kPage);
    cost.pass_ended(1000, 1000 * kPage);
    EXPECT_GT(cost.bytes(1), 0u);
    EXPECT_EQ(cost.bytes(0), 0u);
}

TEST(Pacing, ALiftedLimitActsAtOnce)
{
    TestMachine a(8 << 20);
    TestMachine b(8 << 20);
    std::memset(a.ram->host(), 0x42, a.ram->used_length());
    a.set({.max_bandwidth = 1});
    auto [left, right] = io::make_memory_channels().value();
    ASSERT_TRUE(b.expect_from(std::move(right)));
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    a.wait_for({Status::Active});
    a.set({.max_bandwidth = 0});
    EXPECT_EQ(a.wait_for_end(), Status::Completed);
}

TEST(Pacing, AutoConvergeSlowsAGuestThatWritesTooFastAndLetsItGoInTheEnd)
{
    FakeClock clock;
    TestMachine a(4 << 20, &clock);
    TestMachine b(4 << 20, &clock);
    a.enable({Capability::AutoConverge});
    a.set({.max_bandwidth = 2 << 20, .downtime_limit_ms = 1});
    std::memset(a.ram->host(), 0x43, a.ram->used_length());
    a.start_guest();
    a.dirty.on_sync = [&](bool) {
        const bool slow = !a.dirty.throttles.empty() && a.dirty.throttles.back() >= 40;
        for (std::uint64_t page = 0; page < 1024 && !slow; ++page)
            a.write(page, page);
    };
    move(a, b);
    EXPECT_THAT(a.dirty.throttles, testing::ElementsAre(20u, 30u, 40u, 0u));
}

// A device of the destination that must agree before the source stops its guest.
class Acker final : public LiveStateHandler, public SwitchoverAcker {
public:
    Result<void> setup(StreamWriter&, const SourceContext&) override { return ok(); }
    Result<Pending> pending_estimate() override { return Pending{.must_precopy = left}; }
    Result<Pending> pending_exact() override { return Pending{.must_precopy = left}; }
    Result<Progress> iterate(StreamWriter&, Budget&) override
    {
        ++rounds;
        return Progress::Done;
    }
    Result<void> complete_precopy(StreamWriter&) override { return ok(); }
    Result<void> complete_postcopy(StreamWriter&) override { return ok(); }
    void cleanup() noexcept override {}
    Result<void> load_setup(const DestinationContext&) override { return ok(); }
    Result<void> load(StreamReader&, stream::SectionType type, Version) override
    {
        if (type == stream::SectionType::Part && ++parts == agrees_at)
            approve();
        return ok();
    }
    void load_cleanup() noexcept override {}
    bool switchover_ack_needed() const override { return true; }
    void on_approval(std::function<void()> callback) override { approve = std::move(callback); }

    std::function<void()> approve;
    std::atomic<int> rounds{0};
    std::uint64_t left = 0;  // what it says it will send with the guest stopped
    int agrees_at = 3;
    int parts = 0;
};

TEST(Pacing, WaitsForTheDestinationsAgreement)
{
    FakeClock clock;
    TestMachine a(1 << 20, &clock);
    TestMachine b(1 << 20, &clock);
    Acker there;
    Acker here;
    const auto one = a.registry.add_live("acker", 1, stream::Priority::Default, here).value();
    const auto two = b.registry.add_live("acker", 1, stream::Priority::Default, there).value();
    a.enable({Capability::ReturnPath, Capability::SwitchoverAck});
    b.enable({Capability::ReturnPath, Capability::SwitchoverAck});
    a.start_guest();
    move(a, b);
    EXPECT_GE(here.rounds, 3);
    a.service->shut_down();
    b.service->shut_down();
}

TEST(Pacing, ADeviceOnlyCopiedStoppedMovesThoughTheGuestHasLongBeenIdle)
{
    FakeClock clock;
    TestMachine a(4 << 20, &clock);
    TestMachine b(4 << 20, &clock);
    std::memset(a.ram->host(), 0x44, a.ram->used_length());
    Acker there;
    Acker here;
    here.left = 2 << 20;  // 200 ms of the link
    there.agrees_at = 10;
    const auto one = a.registry.add_live("acker", 1, stream::Priority::Default, here).value();
    const auto two = b.registry.add_live("acker", 1, stream::Priority::Default, there).value();
    a.enable({Capability::ReturnPath, Capability::SwitchoverAck});
    b.enable({Capability::ReturnPath, Capability::SwitchoverAck});
    a.set({.max_bandwidth = 10 << 20, .downtime_limit_ms = 300});
    a.start_guest();
    move(a, b);
    EXPECT_GE(here.rounds, 10) << "the first few with memory to send, the rest without";
    a.service->shut_down();
    b.service->shut_down();
}

TEST(Pacing, WithoutADeviceThatMustAgreeTheAckComesAtOnce)
{
    TestMachine a;
    TestMachine b;
    a.enable({Capability::ReturnPath, Capability::SwitchoverAck});
    b.enable({Capability::ReturnPath, Capability::SwitchoverAck});
    a.start_guest();
    move(a, b);
}

}  // namespace
}  // namespace godwit::migration
