// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/event_limiter.h"

#include <gtest/gtest.h>

namespace godwit::monitor {
namespace {

QueuedEvent event(std::string name, Json data = Json::object())
{
    return {.name = std::move(name), .data = std::move(data)};
}

TEST(EventLimiter, OrdinaryEventsAlwaysGoAtOnce)
{
    EventLimiter limiter;
    for (int i = 0; i < 100; ++i)
        EXPECT_TRUE(limiter.offer(event("STOP"), 0));
    EXPECT_FALSE(limiter.next_ms());
}

TEST(EventLimiter, OfALimitedKindTheLastInASecondIsKept)
{
    EventLimiter limiter;
    EXPECT_TRUE(limiter.offer(event("RTC_CHANGE", {{"offset", 1}}), 0));
    EXPECT_FALSE(limiter.offer(event("RTC_CHANGE", {{"offset", 2}}), 10));
    EXPECT_FALSE(limiter.offer(event("RTC_CHANGE", {{"offset", 3}}), 20));
    EXPECT_EQ(limiter.next_ms(), 1000);
    EXPECT_TRUE(limiter.due(999).empty());
    const auto due = limiter.due(1000);
    ASSERT_EQ(due.size(), 1u);
    EXPECT_EQ(due[0].data["offset"], 3);
    EXPECT_FALSE(limiter.offer(event("RTC_CHANGE", {{"offset", 4}}), 1500));
    EXPECT_EQ(limiter.due(2000).size(), 1u);
    EXPECT_TRUE(limiter.due(3000).empty());
    EXPECT_FALSE(limiter.next_ms());
    EXPECT_TRUE(limiter.offer(event("RTC_CHANGE"), 3000));
}

TEST(EventLimiter, KindsWithANameAreLimitedPerName)
{
    EventLimiter limiter;
    EXPECT_TRUE(limiter.offer(event("VSERPORT_CHANGE", {{"id", "a"}}), 0));
    EXPECT_TRUE(limiter.offer(event("VSERPORT_CHANGE", {{"id", "b"}}), 0));
    EXPECT_FALSE(limiter.offer(event("VSERPORT_CHANGE", {{"id", "a"}}), 0));
}

}  // namespace
}  // namespace godwit::monitor
