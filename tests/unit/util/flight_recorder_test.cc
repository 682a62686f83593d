// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/flight_recorder.h"

#include "util/json.h"
#include "util/thread.h"

#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <map>
#include <thread>
#include <unistd.h>

namespace godwit::test {
namespace {

enum class Colour : std::uint8_t { Red = 1, Green };

constexpr TraceEvent<std::uint64_t, std::int32_t, double, std::string_view> kAll{
    "test_all", {"count", "delta", "rate", "why"}};
constexpr TraceEvent<> kBare{"test_bare", {}};
constexpr TraceEvent<Colour, bool> kSmall{"test_small", {"colour", "on"}};
constexpr TraceEvent<std::uint64_t, std::uint64_t, std::uint64_t> kHammer{"test_hammer",
                                                                          {"thread", "n", "check"}};

TEST(FlightRecorder, WhatIsRecordedIsReadBackWithItsTypes)
{
    FlightRecorder recorder(16);
    set_thread_name("recording");
    recorder.record(kAll, 7u, -3, 0.5, "because");
    recorder.record(kBare);
    recorder.record(kSmall, Colour::Green, true);
    const auto records = recorder.snapshot();
    ASSERT_EQ(records.size(), 3u);
    EXPECT_EQ(records[0].to_string(), "test_all count=7 delta=-3 rate=0.5 why=because");
    EXPECT_EQ(records[1].to_string(), "test_bare");
    EXPECT_EQ(records[2].to_string(), "test_small colour=2 on=1");
    EXPECT_EQ(std::get<std::int64_t>(*records[0].find("delta")), -3);
    EXPECT_EQ(records[0].find("none"), nullptr);
    EXPECT_EQ(records[0].thread, "recording");
    EXPECT_EQ(records[0].tid, ::gettid());
    EXPECT_LE(records[0].time_ns, records[1].time_ns);
    EXPECT_EQ(records[2].sequence, 2u);
}

TEST(FlightRecorder, ALongTextIsCutAndAnEmptyOneIsEmpty)
{
    FlightRecorder recorder(4);
    recorder.record(kAll, 0u, 0, 0, std::string(100, 'x'));
    recorder.record(kAll, 0u, 0, 0, std::string_view());
    const auto records = recorder.snapshot();
    EXPECT_EQ(std::get<std::string>(*records[0].find("why")), std::string(kMaxTraceText, 'x'));
    EXPECT_EQ(std::get<std::string>(*records[1].find("why")), "");
}

TEST(FlightRecorder, TheNewestOverwriteTheOldest)
{
    FlightRecorder recorder(5);  // becomes 8
    EXPECT_EQ(recorder.capacity(), 8u);
    for (std::uint64_t n = 0; n < 20; ++n)
        recorder.record(kHammer, 0u, n, 0u);
    const auto records = recorder.snapshot();
    ASSERT_EQ(records.size(), 8u);
    for (std::size_t i = 0; i < 8; ++i)
        EXPECT_EQ(std::get<std::uint64_t>(*records[i].find("n")), 12 + i);
    EXPECT_EQ(recorder.recorded(), 20u);
    EXPECT_EQ(recorder.dropped(), 0u);
    EXPECT_EQ(recorder.snapshot(3).front().sequence, 17u);
}

TEST(FlightRecorder, OneWithoutCapacityKeepsNothing)
{
    FlightRecorder recorder(0);
    recorder.record(kBare);
    EXPECT_TRUE(recorder.snapshot().empty());
    EXPECT_EQ(recorder.recorded(), 1u);
}

TEST(FlightRecorder, DumpsAsTextAndAsJson)
{
    FlightRecorder recorder(4);
    set_thread_name("main");
    recorder.record(kAll, 1u, 2, 3, "four");
    const std::string text = recorder.dump_text();
    EXPECT_TRUE(text.ends_with("/main test_all count=1 delta=2 rate=3 why=four\n")) << text;
    const Json json = recorder.dump_json();
    EXPECT_EQ(json["recorded"], 1u);
    EXPECT_EQ(json["dropped"], 0u);
    EXPECT_EQ(json["capacity"], 4u);
    EXPECT_EQ(json["events"][0]["name"], "test_all");
    EXPECT_EQ(dump_json(json["events"][0]["data"]),
              R"({"count":1,"delta":2,"rate":3.0,"why":"four"})");
}

TEST(FlightRecorder, TheDumpForSignalHandlersPrintsTheSameLines)
{
    FlightRecorder recorder(8);
    recorder.record(kAll, 18446744073709551615u, -2147483648, -0.25, "a\nb");
    recorder.record(kAll, 0u, 0, 1e300, "");
    recorder.record(kBare);
    int fds[2];
    ASSERT_EQ(::pipe(fds), 0);
    recorder.dump_to(fds[1]);
    recorder.dump_to(-1);  // does no harm
    ::close(fds[1]);
    std::array<char, 4096> text;
    const ssize_t got = ::read(fds[0], text.data(), text.size());
    ::close(fds[0]);
    ASSERT_GT(got, 0);
    EXPECT_EQ(std::string(text.data(), static_cast<std::size_t>(got)), recorder.dump_text());
    EXPECT_NE(recorder.dump_text().find("why=a?b\n"), std::string::npos);
}

TEST(FlightRecorder, EventsThatMatchAPatternAlsoGoToTheLog)
{
    FlightRecorder recorder(4);
    const auto sink = std::make_shared<MemoryLogSink>();
    recorder.echo({"test_*", "-test_small"}, Log(sink));
    recorder.record(kBare);
    recorder.record(kSmall, Colour::Red, false);
    ASSERT_EQ(sink->lines().size(), 1u);
    EXPECT_EQ(sink->lines()[0].message, "test_bare");
    EXPECT_TRUE(recorder.echoes("test_bare"));
    EXPECT_FALSE(recorder.echoes("test_small"));
    recorder.echo({}, Log());
    recorder.record(kBare);
    EXPECT_EQ(sink->lines().size(), 1u);
    EXPECT_EQ(recorder.snapshot().size(), 3u);
}

TEST(FlightRecorder, DeclaredEventsAreListedOnceByName)
{
    FlightRecorder recorder(1);
    const TraceEventInfo* events[] = {&kSmall, &kAll};
    recorder.declare(events);
    recorder.declare(events);
    const auto declared = recorder.declared();
    ASSERT_EQ(declared.size(), 2u);
    EXPECT_EQ(declared[0]->name, "test_all");
    EXPECT_EQ(declared[1]->name, "test_small");
}

// Many writers on a ring so small that they lap each other all the time, and a reader. What is read
// must be whole and in order; meant for the thread sanitizer.
TEST(FlightRecorder, SurvivesAHammering)
{
    constexpr std::uint64_t writers = 4;
    constexpr std::uint64_t each = 20000;
    FlightRecorder recorder(8);
    std::atomic<bool> done = false;
    std::uint64_t seen = 0;
    const auto check = [&] {
        std::uint64_t last_sequence = 0;
        std::map<std::uint64_t, std::uint64_t> last_of;
        for (const TraceRecord& record : recorder.snapshot()) {
            const auto thread = std::get<std::uint64_t>(*record.find("thread"));
            const auto n = std::get<std::uint64_t>(*record.find("n"));
            ASSERT_EQ(std::get<std::uint64_t>(*record.find("check")), thread * 1'000'003 ^ n);
            ASSERT_EQ(record.thread, "writer " + std::to_string(thread));
            ASSERT_TRUE(last_sequence == 0 || record.sequence > last_sequence);
            ASSERT_TRUE(!last_of.contains(thread) || n > last_of[thread]);
            last_sequence = record.sequence;
            last_of[thread] = n;
            ++seen;
        }
    };
    NamedThread reader("reader", [&](std::stop_token) {
        while (!done)
            check();
    });
    {
        std::vector<NamedThread> threads;
        for (std::uint64_t t = 0; t < writers; ++t)
            threads.emplace_back("writer " + std::to_string(t), [&recorder, t](std::stop_token) {
                for (std::uint64_t n = 0; n < each; ++n)
                    recorder.record(kHammer, t, n, t * 1'000'003 ^ n);
            });
    }
    done = true;
    reader.join();
    check();
    EXPECT_GT(seen, 0u);
    EXPECT_EQ(recorder.recorded(), writers * each);
    // Once all is quiet, the ring is full but for what was dropped at its very end.
    EXPECT_GE(recorder.snapshot().size() + recorder.dropped(), recorder.capacity());
}

}  // namespace
}  // namespace godwit::test
