// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What every connected pair of channels has to do, whatever it is made of.
#include "io/faulty_channel.h"
#include "io/listener.h"
#include "io/memory_channel.h"
#include "io/pipe_channel.h"
#include "io/socket.h"
#include "tests/unit/io/test_util.h"

#include <array>
#include <climits>
#include <functional>
#include <future>
#include <poll.h>
#include <thread>

namespace godwit::io::test {
namespace {

struct Pair {
    ChannelPtr writer;
    ChannelPtr reader;
    bool both_ways = true;
};

Pair connected(const SocketAddress& address)
{
    auto listener = must(Listener::create(address));
    auto client = must(connect_socket(listener->addresses().front(),
                                      {.patience = {.cancel = {}, .deadline = soon()}}));
    auto server = must(listener->accept({.cancel = {}, .deadline = soon()}));
    return {std::move(client), std::move(server)};
}

Pair tcp4()
{
    return connected(InetAddress{.host = "127.0.0.1", .port = "0"});
}

Pair tcp6()
{
    return connected(InetAddress{.host = "::1", .port = "0"});
}

Pair unix_path()
{
    static TempDir dir;
    return connected(UnixAddress{.path = dir.path("contract.sock")});
}

Pair abstract()
{
    const TempDir unique;
    return connected(UnixAddress{.path = unique.path("x"), .abstract = true});
}

Pair socketpair()
{
    auto [one, two] = must(socket_pair());
    return {std::move(one), std::move(two)};
}

Pair memory()
{
    auto [one, two] = must(make_memory_channels(4096));
    return {std::move(one), std::move(two)};
}

Pair pipe()
{
    auto [reader, writer] = must(make_pipe());
    return {std::move(writer), std::move(reader), false};
}

Pair faulty_without_faults()
{
    auto [one, two] = must(make_memory_channels(4096));
    return {must(make_faulty(std::move(one), {})), must(make_faulty(std::move(two), {}))};
}

struct Kind {
    const char* name;
    Pair (*make)();
};

std::ostream& operator<<(std::ostream& out, const Kind& kind)
{
    return out << kind.name;
}

class ChannelContract : public testing::TestWithParam<Kind> {
protected:
    void SetUp() override
    {
        try {
            pair = GetParam().make();
        } catch (const std::runtime_error& error) {
            if (std::string_view(GetParam().name) != "Tcp6")
                throw;
            GTEST_SKIP() << "no IPv6 here: " << error.what();
        }
        pair.writer->set_patience({.cancel = {}, .deadline = soon()});
        pair.reader->set_patience({.cancel = {}, .deadline = soon()});
    }
    Channel& writer() { return *pair.writer; }
    Channel& reader() { return *pair.reader; }
    Pair pair;
};

TEST_P(ChannelContract, BytesArriveInOrderAndAreCounted)
{
    must(writer().write_all(bytes_of("hello ")));
    must(writer().write_all(bytes_of("world")));
    EXPECT_EQ(read_text(reader(), 11), "hello world");
    EXPECT_EQ(writer().bytes_written(), 11u);
    EXPECT_EQ(reader().bytes_read(), 11u);
}

TEST_P(ChannelContract, AWriteLargerThanAnyBufferArrivesWhole)
{
    const auto sent = pattern(8 << 20);
    std::jthread thread([&] { must(writer().write_all(sent)); });
    std::vector<std::byte> got(sent.size());
    must(reader().read_exact(got));
    EXPECT_TRUE(got == sent);
}

TEST_P(ChannelContract, MorePiecesThanTheSystemTakesAtOnceGoThroughBothWays)
{
    const auto sent = pattern(IOV_MAX * 7 + 13);
    std::vector<iovec> from;
    for (std::size_t at = 0; at < sent.size(); ++at) {
        if (at % 5 == 0)
            from.push_back({nullptr, 0});  // empty ones do no harm
        from.push_back(as_iovec(std::span(sent).subspan(at, 1)));
    }
    std::vector<std::byte> got(sent.size());
    std::vector<iovec> to;
    for (std::size_t at = 0; at < got.size(); at += 3)
        to.push_back(
            as_iovec(std::span(got).subspan(at, std::min<std::size_t>(3, got.size() - at))));
    std::jthread thread([&] { must(writer().writev_all(from)); });
    must(reader().readv_exact(to));
    EXPECT_TRUE(got == sent);
}

TEST_P(ChannelContract, AnOrderlyEndBetweenMessagesIsClosed)
{
    must(writer().write_all(bytes_of("abcd")));
    must(writer().close());
    EXPECT_EQ(read_text(reader(), 4), "abcd");
    std::array<std::byte, 4> more;
    EXPECT_FALSE(must(reader().read_exact_or_eof(more)));
    const auto end = reader().read_exact(more);
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Closed);
    EXPECT_EQ(must(reader().read_some(more)), 0u);
}

TEST_P(ChannelContract, AnEndInsideAMessageIsTruncatedAndTellsWhere)
{
    must(writer().write_all(bytes_of("12345678abc")));
    must(writer().close());
    EXPECT_EQ(read_text(reader(), 8), "12345678");
    std::array<std::byte, 8> more;
    const auto end = reader().read_exact(more);
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Truncated);
    EXPECT_EQ(end.error().message(),
              reader().describe() + ": end of stream after 3 of 8 bytes at byte 8");
}

TEST_P(ChannelContract, NothingToReadIsNothingAndNotTheEnd)
{
    std::array<std::byte, 4> to;
    EXPECT_EQ(must(reader().try_read(to)), std::nullopt);
    must(writer().write_all(bytes_of("x")));
    must(reader().wait(Direction::Read));
    EXPECT_EQ(must(reader().try_read(to)), std::optional<std::size_t>(1));
    EXPECT_EQ(must(reader().try_read(to)), std::nullopt);
}

TEST_P(ChannelContract, AWriterThatWouldWaitIsToldAndCanPoll)
{
    const auto block = pattern(65536);
    std::size_t sent = 0;
    while (const auto some = must(writer().try_write(block)))
        sent += *some;
    PollTarget target = writer().poll_target(Direction::Write);
    pollfd entry{.fd = target.fd, .events = target.events, .revents = 0};
    EXPECT_EQ(::poll(&entry, 1, 0), 0);
    std::vector<std::byte> all(sent);
    must(reader().read_exact(all));
    must(writer().wait(Direction::Write));
    EXPECT_TRUE(must(writer().try_write(block)));
}

TEST_P(ChannelContract, AnEmptyTransferIsDoneAtOnce)
{
    must(writer().write_all({}));
    must(reader().read_exact({}));
    EXPECT_EQ(must(reader().read_some({})), 0u);
}

TEST_P(ChannelContract, CancelWakesABlockedReader)
{
    const Cancel cancel = must(Cancel::create());
    reader().set_patience({.cancel = cancel, .deadline = soon()});
    std::promise<void> started;
    auto result = std::async(std::launch::async, [&] {
        std::array<std::byte, 4> to;
        started.set_value();
        return reader().read_exact(to);
    });
    started.get_future().wait();
    cancel.request();
    const auto end = result.get();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Cancelled);
    EXPECT_EQ(end.error().message(), reader().describe() + ": cancelled");
}

TEST_P(ChannelContract, CancelWakesABlockedWriter)
{
    const Cancel cancel = must(Cancel::create());
    writer().set_patience({.cancel = cancel, .deadline = soon()});
    const std::vector<std::byte> much(16 << 20);
    auto result = std::async(std::launch::async, [&] { return writer().write_all(much); });
    std::array<std::byte, 1> first;
    must(reader().read_exact(first));  // so it writes
    cancel.request();
    const auto end = result.get();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Cancelled);
}

TEST_P(ChannelContract, ACancelThatCameBeforeStopsTheNextTransfer)
{
    const Cancel cancel = must(Cancel::create());
    cancel.request();
    writer().set_patience({.cancel = cancel, .deadline = {}});
    const auto end = writer().write_all(bytes_of("x"));
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Cancelled);
    EXPECT_EQ(writer().bytes_written(), 0u);
}

TEST_P(ChannelContract, ADeadlineEndsTheWait)
{
    reader().set_patience({.cancel = {}, .deadline = deadline_in(std::chrono::milliseconds(1))});
    std::array<std::byte, 4> to;
    const auto end = reader().read_exact(to);
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::TimedOut);
    EXPECT_EQ(end.error().message(), reader().describe() + ": timed out");
}

TEST_P(ChannelContract, ShutdownFromAnotherThreadWakesABlockedReader)
{
    std::promise<void> started;
    auto result = std::async(std::launch::async, [&] {
        std::array<std::byte, 4> to;
        started.set_value();
        return reader().read_exact(to);
    });
    started.get_future().wait();
    must(reader().shutdown(Shutdown::Both));
    const auto end = result.get();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Closed);
}

TEST_P(ChannelContract, ShutdownFromAnotherThreadWakesABlockedWriter)
{
    const std::vector<std::byte> much(16 << 20);
    auto result = std::async(std::launch::async, [&] { return writer().write_all(much); });
    std::array<std::byte, 1> first;
    must(reader().read_exact(first));
    must(writer().shutdown(Shutdown::Both));
    const auto end = result.get();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Closed);
    must(writer().shutdown(Shutdown::Both));  // again does no harm
}

TEST_P(ChannelContract, WritingToAPeerThatHasGoneIsAnErrorAndNoSignal)
{
    pair.reader.reset();
    const auto block = pattern(65536);
    Result<void> end = ok();
    for (int i = 0; i < 64 && end; ++i)
        end = writer().write_all(block);
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Io);
    EXPECT_TRUE(end.error().os_errno() == EPIPE || end.error().os_errno() == ECONNRESET)
        << end.error().message();
    EXPECT_TRUE(end.error().message().starts_with(writer().describe() + ": "));
}

TEST_P(ChannelContract, OneReaderAndOneWriterMayBeTwoThreadsOnEachEnd)
{
    if (!pair.both_ways)
        GTEST_SKIP() << "one way only";
    const auto there = pattern(1 << 20, 1);
    const auto back = pattern(1 << 20, 2);
    std::vector<std::byte> got_there(there.size());
    std::vector<std::byte> got_back(back.size());
    {
        std::jthread a([&] { must(writer().write_all(there)); });
        std::jthread b([&] { must(reader().write_all(back)); });
        std::jthread c([&] { must(writer().read_exact(got_back)); });
        must(reader().read_exact(got_there));
    }
    EXPECT_TRUE(got_there == there);
    EXPECT_TRUE(got_back == back);
}

TEST_P(ChannelContract, ShuttingOneDirectionLeavesTheOther)
{
    if (!writer().has(Feature::Shutdown))
        GTEST_SKIP() << "this kind of channel cannot do that";
    must(writer().shutdown(Shutdown::Write));
    std::array<std::byte, 1> to;
    EXPECT_EQ(must(reader().read_some(to)), 0u);
    must(reader().write_all(bytes_of("still here")));
    EXPECT_EQ(read_text(writer(), 10), "still here");
}

TEST_P(ChannelContract, PeekSeesBytesWithoutTakingThem)
{
    std::array<std::byte, 8> to;
    if (!reader().has(Feature::Peek)) {
        EXPECT_EQ(reader().peek(to).error().code(), Errc::Unsupported);
        return;
    }
    must(writer().write_all(bytes_of("QE")));
    EXPECT_EQ(must(reader().peek(to)), 2u);
    std::jthread late([&] { must(writer().write_all(bytes_of("VM"))); });
    EXPECT_EQ(must(reader().peek(std::span(to).first(4), 4)), 4u);
    EXPECT_EQ(text_of(std::span(to).first(4)), "QEVM");
    EXPECT_EQ(reader().bytes_read(), 0u);
    EXPECT_EQ(read_text(reader(), 4), "QEVM");
}

TEST_P(ChannelContract, PeekForMoreThanWillEverComeEndsWithThePeer)
{
    if (!reader().has(Feature::Peek))
        GTEST_SKIP() << "this kind of channel cannot do that";
    must(writer().write_all(bytes_of("ab")));
    must(writer().shutdown(Shutdown::Write));
    std::array<std::byte, 4> to;
    EXPECT_EQ(must(reader().peek(to, 4)), 2u);
    EXPECT_EQ(read_text(reader(), 2), "ab");
    EXPECT_EQ(must(reader().peek(to, 4)), 0u);
}

TEST_P(ChannelContract, DescriptorsTravelOrAreRefused)
{
    const auto [kept, sent] = must(make_pipe());
    const int fds[] = {sent->fd()};
    if (!writer().has(Feature::FdPassing)) {
        const auto refused = writer().write_with_fds(bytes_of("x"), fds);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code(), Errc::Unsupported);
        return;
    }
    must(writer().write_with_fds(bytes_of("take this"), fds));
    std::array<std::byte, 64> to;
    Received got = must(reader().read_with_fds(to));
    EXPECT_EQ(text_of(std::span(to).first(got.bytes)), "take this");
    ASSERT_EQ(got.fds.size(), 1u);
    auto copy = must(adopt_fd(std::move(got.fds[0]), "copy"));
    must(copy->write_all(bytes_of("through")));
    EXPECT_EQ(read_text(*kept, 7), "through");
}

TEST_P(ChannelContract, DescribeNamesTheKind)
{
    EXPECT_FALSE(writer().describe().empty());
    EXPECT_EQ(writer().describe().find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ChannelContract,
                         testing::Values(Kind{"Tcp4", tcp4}, Kind{"Tcp6", tcp6},
                                         Kind{"UnixPath", unix_path}, Kind{"Abstract", abstract},
                                         Kind{"Socketpair", socketpair}, Kind{"Memory", memory},
                                         Kind{"Pipe", pipe},
                                         Kind{"FaultyWithoutFaults", faulty_without_faults}),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace godwit::io::test
