// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/insight/peer_timeline.h"
#include "migration/insight/timeline.h"
#include "migration/stream/sections.h"
#include "migration/stream/writer.h"
#include "tests/unit/migration/test_machine.h"

#include <gmock/gmock.h>
#include <random>

namespace godwit::migration {
namespace {

using testing::Contains;
using testing::Field;

struct StillClock final : Clock {
    std::int64_t now = 1'000'000'000;
    std::int64_t now_ns() const override { return now; }
    void wait(std::unique_lock<std::mutex>&, std::condition_variable&, std::int64_t until) override
    {
        now = until;
    }
};

TEST(Timeline, KeepsTheFirstAndTheLastEventsOfALongAttempt)
{
    StillClock clock;
    Timeline timeline(Side::Source, 1, clock);
    timeline.note(TimelineKind::Connect, "main");
    for (int i = 0; i < 5000; ++i)
        timeline.note(TimelineKind::Pass, "ram", i);
    timeline.note(TimelineKind::DeviceSave, "timer");
    const auto now = timeline.snapshot();
    EXPECT_EQ(now.events.size(), Timeline::kMaxEvents);
    EXPECT_EQ(now.dropped, 5002 - Timeline::kMaxEvents);
    EXPECT_EQ(now.events.front().kind, TimelineKind::Connect);
    EXPECT_EQ(now.events[1].number, 0);
    EXPECT_EQ(now.events.back().name, "timer");
    EXPECT_EQ(now.events[now.events.size() - 2].number, 4999);
}

TEST(Timeline, TakesSamplesLessOftenTheLongerItGetsButKeepsTheFirst)
{
    StillClock clock;
    Timeline timeline(Side::Source, 1, clock);
    for (int i = 0; i < 100000; ++i)
        timeline.sample({.time_ns = i});
    const auto samples = timeline.snapshot().samples;
    EXPECT_LE(samples.size(), Timeline::kMaxSamples);
    EXPECT_GE(samples.size(), Timeline::kMaxSamples / 4);
    EXPECT_EQ(samples.front().time_ns, 0);
    EXPECT_GT(samples.back().time_ns, 98000);
    const std::int64_t step = samples[1].time_ns - samples[0].time_ns;
    for (std::size_t i = 1; i < samples.size(); ++i)
        EXPECT_EQ(samples[i].time_ns - samples[i - 1].time_ns, step);
}

TEST(Timeline, StandsStillWhenTheAttemptIsOver)
{
    StillClock clock;
    Timeline timeline(Side::Source, 1, clock);
    timeline.status_changed(Status::Setup);
    clock.now += 5000;
    timeline.status_changed(Status::Completed);
    clock.now += 5000;
    EXPECT_EQ(timeline.snapshot().total_ns, 5000);
}

TEST(Timelines, RememberAFewAttemptsNewestFirst)
{
    StillClock clock;
    Timelines timelines(clock);
    EXPECT_EQ(timelines.current(Side::Source), nullptr);
    for (int i = 0; i < 20; ++i)
        timelines.begin(i % 2 == 0 ? Side::Source : Side::Destination);
    const auto all = timelines.last(100);
    ASSERT_EQ(all.size(), Timelines::kKept);
    EXPECT_EQ(all[0]->number(), 20u);
    EXPECT_EQ(timelines.current(Side::Source)->number(), 19u);
    EXPECT_EQ(timelines.last(1).size(), 1u);
}

// A destination's clock that is 5 s ahead, asked over a way of 2 ms there and back.
struct Told {
    StillClock here;
    StillClock there;
    PeerTimeline peer{here};

    Told()
    {
        there.now = here.now + 5'000'000'000;
        const std::uint32_t ping = peer.ask_clock().value();
        here.now += 2'000'000;
        there.now += 1'000'000;
        peer.clock_told(encode_clock(ping, there.now));
        there.now += 1'000'000;
    }
};

TEST(PeerTimeline, FindsTheOtherClockToHalfTheRoundTrip)
{
    Told told;
    const auto result = told.peer.result();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->clock_offset_ns, 5'000'000'000);
    EXPECT_EQ(result->clock_error_ns, 1'000'000);
    EXPECT_EQ(told.peer.round_trip_ns(), 2'000'000);
}

TEST(PeerTimeline, BringsEventsOver)
{
    Told told;
    Timeline timeline(Side::Destination, 1, told.there);
    timeline.note(TimelineKind::Guest, "running");
    timeline.add({.kind = TimelineKind::DeviceLoad,
                  .name = "serial",
                  .start_ns = told.there.now + 5,
                  .duration_ns = 77,
                  .bytes = 123,
                  .number = -4});
    for (int i = 0; i < 40; ++i)
        timeline.note(TimelineKind::Stall, "wire");
    const auto messages = encode_timeline(timeline);
    EXPECT_GT(messages.size(), 1u);
    for (const auto& message : messages) {
        EXPECT_LE(message.size(), stream::kMaxReturnPayload);
        told.peer.events_told(message);
    }
    const auto result = told.peer.result();
    EXPECT_EQ(result->events.size(), 42u);
    EXPECT_EQ(result->dropped, 0u);
    const TimelineEvent& event = result->events.back();
    EXPECT_EQ(event.name, "serial");
    EXPECT_EQ(event.start_ns, told.there.now + 5);
    EXPECT_EQ(event.duration_ns, 77);
    EXPECT_EQ(event.bytes, 123u);
    EXPECT_EQ(event.number, -4);
}

TEST(PeerTimeline, DropsWhatMakesNoSense)
{
    Told told;
    const auto tell = [&](std::uint8_t kind, std::uint64_t start, const std::string& name) {
        stream::StreamWriter out;
        out.put_u8(kind);
        out.put_u8(0);
        out.put_be64(start);
        out.put_str8(name);
        told.peer.events_told(out.take());
    };
    const auto now = static_cast<std::uint64_t>(told.there.now);
    tell(0, now, "\x1b[31mred\n");
    tell(200, now, "no such kind");
    tell(0, ~std::uint64_t{0}, "before time");
    tell(0, now + (std::uint64_t{1} << 60), "in the future");
    told.peer.clock_told(encode_clock(0xdeadbeef, 1));
    told.peer.clock_told({});
    const auto result = told.peer.result();
    ASSERT_EQ(result->events.size(), 1u);
    EXPECT_EQ(result->events[0].name, "\\x1b[31mred\\x0a");
    EXPECT_EQ(result->dropped, 3u);
    EXPECT_EQ(result->clock_offset_ns, 5'000'000'000);
}

TEST(PeerTimeline, StaysSmallAndWholeWhateverIsTold)
{
    Told told;
    std::mt19937 random(7);
    for (int i = 0; i < 20000; ++i) {
        std::vector<std::byte> bytes(random() % stream::kMaxReturnPayload);
        for (std::byte& b : bytes)
            b = static_cast<std::byte>(random() % 4 == 0 ? random() : random() % 8);
        told.peer.events_told(bytes);
        told.peer.clock_told(bytes);
    }
    EXPECT_LE(told.peer.result()->events.size(), kMaxPeerEvents);
}

TEST(PeerTimeline, SaysNothingWithoutAClock)
{
    StillClock clock;
    PeerTimeline peer(clock);
    Timeline timeline(Side::Destination, 1, clock);
    timeline.note(TimelineKind::Guest, "running");
    for (const auto& message : encode_timeline(timeline))
        peer.events_told(message);
    EXPECT_FALSE(peer.result());
}

TEST(PeerTimeline, AsksAClockOnlySoOften)
{
    StillClock clock;
    PeerTimeline peer(clock);
    int asked = 0;
    while (peer.ask_clock() && asked < 1000)
        ++asked;
    EXPECT_EQ(asked, 64);
}

TEST(PeerTimeline, OfAWholeMoveSaysWhenTheGuestRanThere)
{
    TestMachine a;
    TestMachine b;
    a.enable({Capability::ReturnPath});
    a.start_guest();
    move(a, b);
    const auto timeline = a.service->timelines().current(Side::Source);
    ASSERT_NE(timeline, nullptr);
    const auto here = timeline->snapshot();
    EXPECT_EQ(here.status, Status::Completed);
    EXPECT_THAT(here.events, Contains(Field(&TimelineEvent::kind, TimelineKind::DeviceSave)));
    ASSERT_TRUE(here.peer);
    EXPECT_THAT(here.peer->events, Contains(Field(&TimelineEvent::kind, TimelineKind::DeviceLoad)));
    EXPECT_THAT(here.peer->events, Contains(Field(&TimelineEvent::name, "running")));
    const auto there = b.service->timelines().current(Side::Destination)->snapshot();
    EXPECT_EQ(there.status, Status::Completed);
    EXPECT_FALSE(there.peer);
}

}  // namespace
}  // namespace godwit::migration
