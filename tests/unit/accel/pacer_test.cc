// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/synth/pacer.h"
#include "util/units.h"

#include <gtest/gtest.h>

namespace godwit::accel::synth {
namespace {

/// Writes whenever it may, in steps of `step` ns, for `total` ns; returns the writes.
std::uint64_t run(Pacer& pacer, std::uint64_t total, std::uint64_t step)
{
    std::uint64_t writes = 0;
    for (std::uint64_t t = 0; t < total; t += step) {
        pacer.advance(step);
        while (pacer.may_write()) {
            pacer.wrote();
            ++writes;
        }
    }
    return writes;
}

TEST(Pacer, WritesAtTheRateWhateverTheSteps)
{
    WorkloadSpec spec;
    spec.rate = 4096 * 10000;  // 10,000 pages a second
    for (std::uint64_t step : {kMs / 10, kMs, 7 * kMs}) {
        Pacer pacer(spec, 1);
        const std::uint64_t writes = run(pacer, 2000 * kMs, step);
        EXPECT_NEAR(static_cast<double>(writes), 20000, 80) << "step " << step;
    }
}

TEST(Pacer, SharesTheRateBetweenTheVcpus)
{
    WorkloadSpec spec;
    spec.rate = 4096 * 10000;
    Pacer pacer(spec, 4);
    EXPECT_NEAR(static_cast<double>(run(pacer, 1000 * kMs, kMs)), 2500, 5);
}

TEST(Pacer, ALongGapIsNotFollowedByAFlood)
{
    WorkloadSpec spec;
    spec.rate = 4096 * 10000;
    Pacer pacer(spec, 1);
    pacer.advance(3600ull * 1000 * kMs);
    std::uint64_t writes = 0;
    for (; pacer.may_write(); pacer.wrote())
        ++writes;
    EXPECT_EQ(writes, 200u);  // 20 ms worth
}

TEST(Pacer, TheSlowestRateStillWrites)
{
    WorkloadSpec spec;
    spec.rate = 1;  // a page in 4096 s
    Pacer pacer(spec, 1);
    EXPECT_FALSE(pacer.may_write());
    EXPECT_NEAR(static_cast<double>(pacer.wait_ns()), 4096e9, 2e9);
    pacer.advance(4097ull * 1000 * kMs);
    EXPECT_TRUE(pacer.may_write());
}

TEST(Pacer, UnlimitedNeverWaits)
{
    Pacer pacer(WorkloadSpec{}, 1);
    EXPECT_TRUE(pacer.may_write());
    EXPECT_EQ(pacer.wait_ns(), 0u);
}

TEST(Pacer, PausesBetweenBurstsAndRemembersWhere)
{
    WorkloadSpec spec;
    spec.burst_ms = 30;
    spec.pause_ms = 70;
    Pacer pacer(spec, 1);
    EXPECT_TRUE(pacer.may_write());
    pacer.advance(30 * kMs);
    EXPECT_FALSE(pacer.may_write());
    EXPECT_EQ(pacer.wait_ns(), 70 * kMs);
    pacer.advance(20 * kMs);
    Pacer moved(spec, 1, pacer.phase_ns());
    EXPECT_EQ(moved.wait_ns(), 50 * kMs);
    moved.advance(50 * kMs);
    EXPECT_TRUE(moved.may_write());
}

TEST(Pacer, OnlyBurstsFillTheBucket)
{
    WorkloadSpec spec;
    spec.rate = 4096 * 10000;
    spec.burst_ms = 10;
    spec.pause_ms = 90;
    Pacer pacer(spec, 1);
    EXPECT_NEAR(static_cast<double>(run(pacer, 10000 * kMs, kMs)), 10000, 200);
}

}  // namespace
}  // namespace godwit::accel::synth
