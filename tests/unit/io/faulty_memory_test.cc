// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/faulty_channel.h"
#include "io/memory_channel.h"
#include "tests/unit/io/test_util.h"
#include "util/event_fd.h"
#include "util/thread.h"

#include <array>
#include <atomic>
#include <future>
#include <random>

namespace godwit::io::test {
namespace {

using FaultKind = Fault::Kind;

struct Faulty {
    explicit Faulty(std::vector<Fault> faults, std::size_t capacity = 4096)
    {
        auto [one, two] = must(make_memory_channels(capacity));
        faulty = must(make_faulty(std::move(one), std::move(faults)));
        plain = std::move(two);
        faulty->set_patience({.cancel = {}, .deadline = soon()});
        plain->set_patience({.cancel = {}, .deadline = soon()});
    }
    ChannelPtr faulty;
    ChannelPtr plain;
};

TEST(FaultyChannel, AReadBreaksAtItsByteAndThePeerNotices)
{
    Faulty pair({{.kind = FaultKind::Break, .direction = Direction::Read, .at = 5}});
    must(pair.plain->write_all(bytes_of("0123456789")));
    EXPECT_EQ(read_text(*pair.faulty, 5), "01234");
    std::array<std::byte, 1> to;
    const auto end = pair.faulty->read_exact(to);
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Io);
    EXPECT_EQ(end.error().message(), "faulty memory: broken on order at byte 5");
    EXPECT_FALSE(pair.plain->write_all(bytes_of("x")));
}

TEST(FaultyChannel, AWriteBreaksAtItsByteAndNoByteMoreArrives)
{
    Faulty pair({{.kind = FaultKind::Break, .direction = Direction::Write, .at = 3}});
    const auto end = pair.faulty->write_all(bytes_of("abcdef"));
    ASSERT_FALSE(end);
    EXPECT_EQ(pair.faulty->bytes_written(), 3u);
    EXPECT_EQ(read_text(*pair.plain, 3), "abc");
    std::array<std::byte, 1> to;
    EXPECT_EQ(must(pair.plain->read_some(to)), 0u);
}

TEST(FaultyChannel, AReadEndsAtItsByteAsIfThePeerHadClosed)
{
    Faulty pair({{.kind = FaultKind::End, .direction = Direction::Read, .at = 3}});
    must(pair.plain->write_all(bytes_of("abcdef")));
    std::array<std::byte, 6> to;
    const auto end = pair.faulty->read_exact(to);
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Truncated);
}

TEST(FaultyChannel, WrittenBytesAreSwallowedFromTheEndOn)
{
    Faulty pair({{.kind = FaultKind::End, .direction = Direction::Write, .at = 3}});
    must(pair.faulty->write_all(bytes_of("abcdef")));
    must(pair.faulty->close());
    EXPECT_EQ(read_text(*pair.plain, 3), "abc");
    std::array<std::byte, 1> to;
    EXPECT_EQ(must(pair.plain->read_some(to)), 0u);
}

TEST(FaultyChannel, OneByteIsCorruptedAndTheCallersBytesAreNot)
{
    Faulty pair(
        {{.kind = FaultKind::Corrupt, .direction = Direction::Write, .at = 2, .mask = 0x20},
         {.kind = FaultKind::Corrupt, .direction = Direction::Read, .at = 1, .mask = 0x20}});
    const std::string sent = "abcd";
    must(pair.faulty->write_all(bytes_of(sent)));
    EXPECT_EQ(sent, "abcd");
    EXPECT_EQ(read_text(*pair.plain, 4), "abCd");
    must(pair.plain->write_all(bytes_of("wxyz")));
    EXPECT_EQ(read_text(*pair.faulty, 4), "wXyz");
}

TEST(FaultyChannel, ShortTransfersStillArriveWhole)
{
    Faulty pair({{.kind = FaultKind::Shorten, .direction = Direction::Read, .at = 2, .chunk = 1},
                 {.kind = FaultKind::Shorten, .direction = Direction::Write, .chunk = 3}});
    const auto there = pattern(1000);
    must(pair.faulty->write_all(there));
    std::vector<std::byte> got(1000);
    must(pair.plain->read_exact(got));
    EXPECT_TRUE(got == there);
    must(pair.plain->write_all(bytes_of("abcdef")));
    std::array<std::byte, 6> to;
    EXPECT_EQ(must(pair.faulty->read_some(to)), 2u);
    EXPECT_EQ(must(pair.faulty->read_some(to)), 1u);
    EXPECT_EQ(read_text(*pair.faulty, 3), "def");
}

TEST(FaultyChannel, ADelayPassesAndTheDeadlineCountsMeanwhile)
{
    Faulty pair({{.kind = FaultKind::Delay,
                  .direction = Direction::Read,
                  .at = 2,
                  .delay = std::chrono::milliseconds(1)}});
    must(pair.plain->write_all(bytes_of("abcd")));
    EXPECT_EQ(read_text(*pair.faulty, 4), "abcd");
    Faulty slow(
        {{.kind = FaultKind::Delay, .direction = Direction::Read, .delay = std::chrono::hours(1)}});
    must(slow.plain->write_all(bytes_of("abcd")));
    slow.faulty->set_patience(
        {.cancel = {}, .deadline = deadline_in(std::chrono::milliseconds(1))});
    std::array<std::byte, 4> to;
    EXPECT_EQ(slow.faulty->read_exact(to).error().code(), Errc::TimedOut);
}

TEST(FaultyChannel, AStallEndsOnlyByCancelOrShutdown)
{
    Faulty pair({{.kind = FaultKind::Stall, .direction = Direction::Read, .at = 1}});
    must(pair.plain->write_all(bytes_of("abcd")));
    EXPECT_EQ(read_text(*pair.faulty, 1), "a");
    auto result = std::async(std::launch::async, [&] {
        std::array<std::byte, 1> to;
        return pair.faulty->read_exact(to);
    });
    must(pair.faulty->shutdown(Shutdown::Both));
    EXPECT_EQ(result.get().error().code(), Errc::Closed);
}

TEST(FaultyChannel, ANoticeComesOnceBeforeItsByte)
{
    std::vector<std::uint64_t> seen;
    Channel* channel = nullptr;
    Faulty pair(
        {{.kind = FaultKind::Notify, .direction = Direction::Write, .at = 4, .reached = [&] {
              seen.push_back(channel->bytes_written());
          }}});
    channel = pair.faulty.get();
    must(pair.faulty->write_all(bytes_of("0123456789")));
    EXPECT_EQ(seen, std::vector<std::uint64_t>{4});
}

TEST(MemoryChannel, ItHoldsItsCapacityAndNotAByteMore)
{
    auto [one, two] = must(make_memory_channels(10));
    EXPECT_EQ(must(one->try_write(pattern(100))), std::optional<std::size_t>(10));
    EXPECT_EQ(must(one->try_write(pattern(1))), std::nullopt);
    std::array<std::byte, 4> to;
    must(two->read_exact(to));
    EXPECT_EQ(must(one->try_write(pattern(100))), std::optional<std::size_t>(4));
    EXPECT_FALSE(make_memory_channels(0));
}

TEST(MemoryChannel, DescriptorsStayWithTheirBytes)
{
    auto [one, two] = must(make_memory_channels());
    const EventFd event = must(EventFd::create());
    const int fds[] = {event.poll_fd()};
    must(one->write_all(bytes_of("before")));
    must(one->write_with_fds(bytes_of("A"), fds));
    must(one->write_with_fds(bytes_of("B"), fds));
    std::array<std::byte, 64> to;
    const Received first = must(two->read_with_fds(to));
    EXPECT_EQ(first.bytes, 6u);
    EXPECT_TRUE(first.fds.empty());
    const Received second = must(two->read_with_fds(to));
    EXPECT_EQ(second.bytes, 1u);
    EXPECT_EQ(second.fds.size(), 1u);
    const Received third = must(two->read_with_fds(to));
    EXPECT_EQ(third.bytes, 1u);
    EXPECT_EQ(third.fds.size(), 1u);
}

// Random portions in both directions at once, with a thread that looks at the counters and one end
// that shuts down in the middle of it all; meant for the thread sanitizer.
TEST(MemoryChannel, SurvivesAHammering)
{
    constexpr std::size_t total = 1 << 20;
    auto [one, two] = must(make_memory_channels(777));
    const auto sent = pattern(total);
    std::atomic<bool> done = false;
    const auto write = [&](Channel& channel, unsigned seed) {
        std::mt19937 random(seed);
        for (std::size_t at = 0; at < total;) {
            const std::size_t part = std::min<std::size_t>(random() % 3000 + 1, total - at);
            must(channel.write_all(std::span(sent).subspan(at, part)));
            at += part;
        }
    };
    const auto read = [&](Channel& channel, unsigned seed) {
        std::mt19937 random(seed);
        std::vector<std::byte> got(total);
        for (std::size_t at = 0; at < total;) {
            const std::size_t part = std::min<std::size_t>(random() % 2000 + 1, total - at);
            at += must(channel.read_some(std::span(got).subspan(at, part)));
        }
        EXPECT_TRUE(got == sent);
    };
    NamedThread watcher("watch", [&](std::stop_token) {
        std::uint64_t last = 0;
        while (!done) {
            const std::uint64_t now = one->bytes_written() + two->bytes_read();
            EXPECT_GE(now, last);
            last = now;
        }
    });
    {
        std::jthread a([&] { write(*one, 1); });
        std::jthread b([&] { read(*two, 2); });
        std::jthread c([&] { write(*two, 3); });
        std::jthread d([&] { read(*one, 4); });
    }
    done = true;
}

TEST(MemoryChannel, ShutdownRacesWithTransfersWithoutHarm)
{
    for (int round = 0; round < 200; ++round) {
        auto [one, two] = must(make_memory_channels(64));
        const auto much = pattern(10000);
        std::jthread writer([&] {
            while (one->write_all(much)) {
            }
        });
        std::jthread reader([&] {
            std::vector<std::byte> to(700);
            while (two->read_exact(to)) {
            }
        });
        must((round % 2 == 0 ? one : two)->shutdown(Shutdown::Both));
        must((round % 2 == 0 ? two : one)->shutdown(Shutdown::Both));
    }
}

}  // namespace
}  // namespace godwit::io::test
