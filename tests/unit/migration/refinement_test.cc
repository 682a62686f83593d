// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/pacing/refinement.h"
#include "util/units.h"

#include <gtest/gtest.h>

namespace godwit::migration {
namespace {

constexpr double kRate = 1.0;  // bytes a ns: 1 GB/s

TEST(Refinement, APassThatGetsSmallerIsFinished)
{
    Refinement r;
    EXPECT_TRUE(r.finish_pass(100 * kMiB));
    EXPECT_TRUE(r.finish_pass(50 * kMiB));
    EXPECT_FALSE(r.finish_pass(49 * kMiB));  // hardly smaller: somebody else's bytes
    EXPECT_FALSE(r.finish_pass(0));
}

TEST(Refinement, GoesOnWhileEachPassLeavesClearlyLess)
{
    Refinement r;
    std::int64_t now = 0;
    const std::int64_t second = 1000 * kMs;
    EXPECT_TRUE(r.another_pass(32 * kMiB, kRate, now += 34 * kMs, second));
    EXPECT_TRUE(r.another_pass(12 * kMiB, kRate, now += 13 * kMs, second));
    EXPECT_TRUE(r.another_pass(4 * kMiB, kRate, now += 4 * kMs, second));
    EXPECT_FALSE(r.another_pass(4 * kMiB, kRate, now += 4 * kMs, second));
    EXPECT_EQ(r.passes(), 3u);
}

TEST(Refinement, WhatIsSentInAMomentIsNotWorthAPass)
{
    Refinement r;
    EXPECT_FALSE(r.another_pass(100 << 10, kRate, 0, 1000 * kMs));
}

TEST(Refinement, TakesASmallPartOfTheWholeTime)
{
    Refinement r;
    EXPECT_FALSE(r.another_pass(200 * kMiB, kRate, 0, 1000 * kMs));
    EXPECT_TRUE(r.another_pass(100 * kMiB, kRate, 0, 1000 * kMs));
    EXPECT_FALSE(r.another_pass(50 * kMiB, kRate, 100 * kMs, 1000 * kMs));
}

TEST(Refinement, WithoutABandwidthThereIsNothingToReckonWith)
{
    Refinement r;
    EXPECT_FALSE(r.another_pass(32 * kMiB, 0, 0, 1000 * kMs));
}

}  // namespace
}  // namespace godwit::migration
