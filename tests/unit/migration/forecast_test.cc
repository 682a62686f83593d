// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The model of the forecast, without a migration.
#include "migration/pacing/forecast.h"
#include "util/units.h"

#include <cmath>
#include <gtest/gtest.h>

namespace godwit::migration {
namespace {

std::uint64_t mib(double count)
{
    return static_cast<std::uint64_t>(count * kMiB);
}

// A guest of 1 GiB over a wire of 100 MiB/s, with 300 ms of downtime.
Outlook outlook(double rate_mib, double set_mib)
{
    return {.curve = {rate_mib * kMiB, set_mib * kMiB},
            .wire_rate = 100 * kMiB,
            .switchover_rate = 100 * kMiB,
            .touched = mib(1024),
            .remaining = mib(1024),
            .pass_seconds = 0,
            .downtime_limit_ms = 300};
}

std::vector<DirtySample> samples_of(const DirtyCurve& curve)
{
    std::vector<DirtySample> samples;
    for (std::int64_t ms = 100; ms <= 1500; ms += 100)
        samples.push_back(
            {ms * kMs, static_cast<std::uint64_t>(curve.distinct(static_cast<double>(ms) / 1e3))});
    return samples;
}

TEST(DirtyCurve, IsFoundAgainInItsSamples)
{
    for (const double rate : {20.0, 100.0, 400.0}) {
        const DirtyCurve truth{rate * kMiB, 64 * kMiB};
        const DirtyCurve found = DirtyCurve::fit(samples_of(truth), mib(1024));
        EXPECT_NEAR(found.rate / truth.rate, 1, 0.05) << rate;
        EXPECT_NEAR(found.set / truth.set, 1, 0.05) << rate;
    }
}

TEST(DirtyCurve, IsStraightWhenNothingSaturates)
{
    const DirtySample samples[] = {{100 * kMs, mib(1)}, {1000 * kMs, mib(10)}};
    const DirtyCurve found = DirtyCurve::fit(samples, mib(1024));
    EXPECT_NEAR(found.rate / kMiB, 10, 0.1);
    EXPECT_EQ(found.set, 1024 * kMiB);
}

TEST(DirtyCurve, OfAGuestThatWritesNothingIsFlat)
{
    const DirtySample samples[] = {{100 * kMs, 0}, {1000 * kMs, 0}};
    EXPECT_EQ(DirtyCurve::fit(samples, mib(1024)).rate, 0);
    EXPECT_EQ(DirtyCurve::fit({}, mib(1024)).distinct(5), 0);
}

TEST(DirtyCurve, StaysFiniteWhenTheFirstSampleIsFull)
{
    const DirtySample samples[] = {{100 * kMs, mib(64)}, {1000 * kMs, mib(64)}};
    const DirtyCurve found = DirtyCurve::fit(samples, mib(1024));
    EXPECT_NEAR(found.set / kMiB, 64, 2);
    EXPECT_GT(found.rate, 2000 * kMiB);
    EXPECT_TRUE(std::isfinite(found.rate));
}

TEST(Judge, ASlowWriterConvergesInAboutTheTimeOfItsBytes)
{
    const Forecast f = judge(outlook(20, 64));
    EXPECT_EQ(f.verdict, Verdict::Converges);
    ASSERT_TRUE(f.time_left_min_ms && f.time_left_max_ms);
    EXPECT_LT(*f.time_left_min_ms, 10500);
    EXPECT_GT(*f.time_left_min_ms, 8000);
    EXPECT_GT(*f.time_left_max_ms, 10500);
    EXPECT_LT(*f.time_left_max_ms, 15000);
    EXPECT_EQ(f.settles_at, 0u);
}

TEST(Judge, AWorkingSetThatFitsIntoTheDowntimeConverges)
{
    EXPECT_EQ(judge(outlook(5000, 20)).verdict, Verdict::Converges);
}

TEST(Judge, AFastWriterNeedsTheDowntimeOfWhatSettles)
{
    const Forecast f = judge(outlook(200, 128));
    EXPECT_EQ(f.verdict, Verdict::AboveDowntime);
    EXPECT_NEAR(static_cast<double>(f.settles_at) / kMiB, 64, 0.1);
    EXPECT_NEAR(static_cast<double>(f.downtime_needed_ms.value()), 640 * 1.1 + 50, 2);
    EXPECT_FALSE(f.time_left_min_ms);
}

TEST(Judge, AWriterOfEverythingAtOnceNeverConverges)
{
    const Forecast f = judge(outlook(1500, 1024));
    EXPECT_EQ(f.verdict, Verdict::Never);
    EXPECT_GT(f.downtime_needed_ms.value(), 8000);
}

TEST(Judge, SaysMoreDowntimeIsEnoughWhenItIs)
{
    Outlook o = outlook(200, 128);
    o.downtime_limit_ms = static_cast<std::uint64_t>(judge(o).downtime_needed_ms.value()) + 50;
    EXPECT_EQ(judge(o).verdict, Verdict::Converges);
}

TEST(Judge, LeavesOutTheLongestTimeNearTheEdge)
{
    const Forecast f = judge(outlook(115, 512));
    EXPECT_EQ(judge(outlook(95, 512)).verdict, Verdict::Converges);
    EXPECT_FALSE(judge(outlook(95, 512)).time_left_max_ms);
    EXPECT_EQ(f.verdict, Verdict::AboveDowntime);
}

TEST(Judge, WhatCostsLessOnTheWireIsOverSooner)
{
    Outlook o = outlook(0, 0);
    const Forecast whole = judge(o);
    o.cost = 0.25;  // three pages in four are zero
    const Forecast quarter = judge(o);
    EXPECT_NEAR(static_cast<double>(*quarter.time_left_max_ms - 300),
                static_cast<double>(*whole.time_left_max_ms - 300) / 4, 300);
    // Pages that the guest rewrites and that compress well are drained faster than written.
    Outlook rewritten = outlook(200, 512);
    EXPECT_EQ(judge(rewritten).verdict, Verdict::AboveDowntime);
    rewritten.fresh_cost = 0.25;
    EXPECT_EQ(judge(rewritten).verdict, Verdict::Converges);
}

TEST(Judge, IsLessSureOfAWireItHasHardlySeen)
{
    Outlook o = outlook(0, 0);
    const Forecast later = judge(o);
    o.wire_seconds = 0.2;
    const Forecast sooner = judge(o);
    EXPECT_LT(sooner.time_left_min_ms, later.time_left_min_ms);
    EXPECT_GT(sooner.time_left_max_ms, later.time_left_max_ms);
}

// A forecaster that hears of a guest with this curve, window after window.
struct Heard {
    Forecaster forecaster;
    std::int64_t now = 0;
    double left = 1024;
    Forecaster::Limits limits{
        .downtime_ms = 300, .max_bandwidth = 0, .avail_bandwidth = 0, .throttle = 0};

    Heard() { forecaster.begin(0, mib(1024)); }
    bool windows(int count, const DirtyCurve& curve)
    {
        bool news = false;
        for (int i = 1; i <= count; ++i) {
            now += 100 * kMs;
            left -= 10;
            forecaster.wire(100 * kMs, mib(10), mib(left));
            forecaster.probe({i * 100 * kMs, static_cast<std::uint64_t>(curve.distinct(i * 0.1))});
            news |= forecaster.judge_now(now, mib(500), limits);
        }
        return news;
    }
};

TEST(Forecaster, JudgesWithinTheFirstPass)
{
    Heard heard;
    EXPECT_FALSE(heard.windows(1, {20 * kMiB, 64 * kMiB}));
    EXPECT_TRUE(heard.windows(3, {20 * kMiB, 64 * kMiB}));
    ASSERT_TRUE(heard.forecaster.report());
    EXPECT_EQ(heard.forecaster.report()->latest.verdict, Verdict::Converges);
    EXPECT_EQ(heard.forecaster.report()->latest.pass, 1u);
}

TEST(Forecaster, LearnsWhatMemoryCostsOnTheWire)
{
    const auto foretold = [](double drop) {
        Heard heard;
        for (int i = 1; i <= 10; ++i) {
            heard.now += 100 * kMs;
            heard.left -= drop;
            heard.forecaster.wire(100 * kMs, mib(10), mib(heard.left));
            heard.forecaster.probe({i * 100 * kMs, mib(1)});
        }
        EXPECT_FALSE(heard.forecaster.judge_now(heard.now, mib(500), heard.limits));
        EXPECT_TRUE(heard.forecaster.judge_now(heard.now, mib(500), heard.limits));
        return *heard.forecaster.report()->latest.time_left_max_ms - 300;
    };
    EXPECT_NEAR(static_cast<double>(foretold(40)), static_cast<double>(foretold(10)) / 4, 300);
}

TEST(Forecaster, TellsOfAChangeOnce)
{
    Heard heard;
    heard.windows(10, {20 * kMiB, 64 * kMiB});
    EXPECT_TRUE(heard.windows(15, {5000 * kMiB, 1024 * kMiB}));
    EXPECT_FALSE(heard.windows(15, {5000 * kMiB, 1024 * kMiB}));
    EXPECT_EQ(heard.forecaster.report()->latest.verdict, Verdict::Never);
    EXPECT_EQ(heard.forecaster.report()->changes, 1u);
}

TEST(Forecaster, ScoresFirstAndLastVerdict)
{
    Heard heard;
    heard.windows(10, {5000 * kMiB, 1024 * kMiB});
    heard.windows(15, {20 * kMiB, 64 * kMiB});
    heard.forecaster.ended({.completed = true, .total_ms = 7600, .limits_changed = false});
    const auto& scores = heard.forecaster.report()->scores;
    ASSERT_EQ(scores.size(), 2u);
    EXPECT_EQ(scores[0].verdict, Verdict::Never);
    EXPECT_EQ(scores[0].correct, false);
    EXPECT_EQ(scores[1].verdict, Verdict::Converges);
    EXPECT_EQ(scores[1].correct, true);
    EXPECT_EQ(scores[1].in_range, true);
}

TEST(Forecaster, ScoresNothingThatWasGivenUpOrAskedAnew)
{
    Heard cancelled;
    cancelled.windows(10, {20 * kMiB, 64 * kMiB});
    cancelled.forecaster.ended({.completed = false, .total_ms = 1000, .limits_changed = false});
    EXPECT_FALSE(cancelled.forecaster.report()->scores.at(0).correct);
    Heard changed;
    changed.windows(10, {5000 * kMiB, 1024 * kMiB});
    changed.limits.downtime_ms = 20000;
    changed.windows(10, {5000 * kMiB, 1024 * kMiB});
    changed.forecaster.ended({.completed = true, .total_ms = 2000, .limits_changed = false});
    EXPECT_FALSE(changed.forecaster.report()->scores.at(0).correct);
}

}  // namespace
}  // namespace godwit::migration
