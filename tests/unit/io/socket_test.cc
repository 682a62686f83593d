// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/socket.h"

#include "io/listener.h"
#include "io/open.h"
#include "io/pipe_channel.h"
#include "io/resolve.h"
#include "io/tcp.h"
#include "tests/unit/io/test_util.h"
#include "util/event_fd.h"

#include <array>
#include <fcntl.h>
#include <filesystem>
#include <future>
#include <linux/vm_sockets.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godwit::io::test {
namespace {

Patience patient()
{
    return {.cancel = {}, .deadline = soon()};
}

std::unique_ptr<Listener> listen_on(const SocketAddress& address)
{
    return must(Listener::create(address));
}

// A port that was free a moment ago, on the loopback.
std::string free_port()
{
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    return std::get<InetAddress>(listener->addresses().front()).port;
}

TEST(Connect, ARefusedConnectionNamesTheAddressAndTheReason)
{
    const std::string port = free_port();
    const auto refused = connect_socket(InetAddress{.host = "127.0.0.1", .port = port});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message(),
              "Failed to connect to '127.0.0.1:" + port + "': Connection refused");
}

TEST(Connect, AMissingUnixPathNamesThePath)
{
    const TempDir dir;
    const auto missing = connect_socket(UnixAddress{.path = dir.path("none")});
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().message(),
              "Failed to connect to '" + dir.path("none") + "': No such file or directory");
    EXPECT_EQ(missing.error().code(), Errc::NotFound);
}

TEST(Connect, AnUnknownHostSaysThatItCouldNotBeResolved)
{
    const auto unknown = connect_socket(InetAddress{.host = "no.such.host.invalid", .port = "1"});
    ASSERT_FALSE(unknown);
    EXPECT_TRUE(unknown.error().message().starts_with(
        "address resolution failed for no.such.host.invalid:1: "))
        << unknown.error().message();
}

TEST(Connect, APortAbove65535IsNotWrappedAround)
{
    const auto wrapped = connect_socket(InetAddress{.host = "127.0.0.1", .port = "65537"});
    ASSERT_FALSE(wrapped);
    EXPECT_EQ(wrapped.error().message(),
              "address resolution failed for 127.0.0.1:65537: port is above 65535");
}

TEST(Connect, DisablingBothFamiliesIsRefused)
{
    const auto none =
        connect_socket(InetAddress{.host = "127.0.0.1", .port = "1", .ipv4 = false, .ipv6 = false});
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().message(), "Cannot disable IPv4 and IPv6 at same time");
}

TEST(Connect, EachAddressOfANameIsTriedInTurn)
{
    addrinfo* found = nullptr;
    if (::getaddrinfo("localhost", nullptr, nullptr, &found) != 0)
        GTEST_SKIP() << "nothing here knows where localhost is";
    ::freeaddrinfo(found);
    // "localhost" is ::1 and 127.0.0.1 where IPv6 is there; only the second listens.
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    const auto port = std::get<InetAddress>(listener->addresses().front()).port;
    auto client = must(
        connect_socket(InetAddress{.host = "localhost", .port = port}, {.patience = patient()}));
    auto server = must(listener->accept(patient()));
    must(client->write_all(bytes_of("found")));
    EXPECT_EQ(read_text(*server, 5), "found");
}

TEST(Connect, AnEmptyHostIsTheLoopback)
{
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    const auto port = std::get<InetAddress>(listener->addresses().front()).port;
    EXPECT_TRUE(connect_socket(InetAddress{.host = "", .port = port}, {.patience = patient()}));
}

TEST(Connect, CancelledBeforehandItNeverConnects)
{
    const Cancel cancel = must(Cancel::create());
    cancel.request();
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    const auto result = connect_socket(listener->addresses().front(),
                                       {.patience = {.cancel = cancel, .deadline = {}}});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), Errc::Cancelled);
    EXPECT_TRUE(result.error().message().ends_with("': cancelled")) << result.error().message();
}

// A Unix listener whose queue is full makes connect() wait for ever.
class FullListener : public testing::Test {
protected:
    void SetUp() override
    {
        listener = must(Listener::create(UnixAddress{.path = dir.path("full")}, {.backlog = 0}));
        // Asked directly, so that a slow machine cannot make a queue look full.
        const Resolved where = must(resolve(UnixAddress{.path = dir.path("full")}));
        for (;;) {
            UniqueFd one = must(make_socket(where));
            if (::connect(one.get(), where.get(), where.length) < 0)
                break;
            waiting.push_back(std::move(one));
        }
        ASSERT_EQ(errno, EAGAIN);
    }
    TempDir dir;
    std::unique_ptr<Listener> listener;
    std::vector<UniqueFd> waiting;
};

TEST_F(FullListener, CancelFromAnotherThreadEndsABlockedConnect)
{
    const Cancel cancel = must(Cancel::create());
    std::promise<void> started;
    auto result = std::async(std::launch::async, [&] {
        started.set_value();
        return connect_socket(listener->addresses().front(),
                              {.patience = {.cancel = cancel, .deadline = soon()}});
    });
    started.get_future().wait();
    cancel.request();
    const auto end = result.get();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Cancelled);
}

TEST_F(FullListener, ADeadlineEndsABlockedConnect)
{
    const auto end = connect_socket(
        listener->addresses().front(),
        {.patience = {.cancel = {}, .deadline = deadline_in(std::chrono::milliseconds(5))}});
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::TimedOut);
    EXPECT_EQ(end.error().message(), "Failed to connect to '" + dir.path("full") + "': timed out");
}

TEST_F(FullListener, ABlockedConnectSucceedsOnceThereIsRoom)
{
    auto result = std::async(std::launch::async, [&] {
        return connect_socket(listener->addresses().front(), {.patience = patient()});
    });
    auto first = must(listener->accept(patient()));
    EXPECT_TRUE(result.get());
}

TEST(Listener, CancelFromAnotherThreadEndsABlockedAccept)
{
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    const Cancel cancel = must(Cancel::create());
    std::promise<void> started;
    auto result = std::async(std::launch::async, [&] {
        started.set_value();
        return listener->accept({.cancel = cancel, .deadline = soon()});
    });
    started.get_future().wait();
    cancel.request();
    const auto end = result.get();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Cancelled);
}

TEST(Listener, ADeadlineEndsABlockedAccept)
{
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    const auto end =
        listener->accept({.cancel = {}, .deadline = deadline_in(std::chrono::milliseconds(1))});
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::TimedOut);
}

TEST(Listener, TryAcceptIsNothingWhileNobodyKnocks)
{
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    EXPECT_EQ(must(listener->try_accept()), nullptr);
}

TEST(Listener, PortZeroIsReportedAsTheOneThatWasTaken)
{
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    ASSERT_EQ(listener->addresses().size(), 1u);
    const auto& address = std::get<InetAddress>(listener->addresses().front());
    EXPECT_EQ(address.host, "127.0.0.1");
    EXPECT_NE(address.port, "0");
}

TEST(Listener, AnyHostListensOnOnePortForAllFamilies)
{
    const auto listener = listen_on(InetAddress{.host = "", .port = "0"});
    const auto port = std::get<InetAddress>(listener->addresses().front()).port;
    for (const SocketAddress& address : listener->addresses()) {
        EXPECT_EQ(std::get<InetAddress>(address).port, port);
        const bool v6 = std::get<InetAddress>(address).host == "::";
        auto client = must(connect_socket(
            InetAddress{.host = v6 ? "::1" : "127.0.0.1", .port = port}, {.patience = patient()}));
        EXPECT_TRUE(listener->accept(patient()));
    }
}

TEST(Listener, ATakenPortIsSaidSo)
{
    const auto first = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    const auto second = Listener::create(first->addresses().front());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().message(), "Failed to find an available port: Address already in use");
}

TEST(Listener, ARangeOfPortsTakesTheFirstFreeOne)
{
    const auto first = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    InetAddress range = std::get<InetAddress>(first->addresses().front());
    const int port = std::stoi(range.port);
    range.to = static_cast<std::uint16_t>(std::min(port + 100, 65535));
    const auto second = listen_on(range);
    const auto taken = std::get<InetAddress>(second->addresses().front()).port;
    EXPECT_GT(std::stoi(taken), port);
}

TEST(Listener, AnAddressThatIsNotOursCannotBeBound)
{
    const auto foreign = Listener::create(InetAddress{.host = "192.0.2.1", .port = "0"});
    ASSERT_FALSE(foreign);
    EXPECT_EQ(foreign.error().message(), "Failed to bind socket: Cannot assign requested address");
}

TEST(Listener, AUnixPathIsRemovedWhenTheListenerGoes)
{
    const TempDir dir;
    auto listener = listen_on(UnixAddress{.path = dir.path("s")});
    EXPECT_TRUE(std::filesystem::exists(dir.path("s")));
    listener.reset();
    EXPECT_FALSE(std::filesystem::exists(dir.path("s")));
}

TEST(Listener, AStaleUnixPathIsReplaced)
{
    const TempDir dir;
    {
        // Its owner dies without cleaning up.
        auto dead = listen_on(UnixAddress{.path = dir.path("alive")});
        std::filesystem::create_hard_link(dir.path("alive"), dir.path("s"));
    }
    ASSERT_TRUE(std::filesystem::exists(dir.path("s")));
    const auto listener = listen_on(UnixAddress{.path = dir.path("s")});
    EXPECT_TRUE(connect_socket(UnixAddress{.path = dir.path("s")}, {.patience = patient()}));
}

TEST(Listener, APathThatSomebodyListensOnIsLeftAlone)
{
    const TempDir dir;
    const auto first = listen_on(UnixAddress{.path = dir.path("s")});
    const auto second = Listener::create(UnixAddress{.path = dir.path("s")});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().message(),
              "Failed to bind socket to " + dir.path("s") + ": Address already in use");
    EXPECT_TRUE(connect_socket(UnixAddress{.path = dir.path("s")}, {.patience = patient()}));
}

TEST(Listener, AFileThatIsNoSocketIsNeverRemoved)
{
    const TempDir dir;
    {
        const UniqueFd file(::open(dir.path("f").c_str(), O_CREAT | O_WRONLY, 0600));
    }
    EXPECT_FALSE(Listener::create(UnixAddress{.path = dir.path("f")}));
    EXPECT_TRUE(std::filesystem::exists(dir.path("f")));
}

TEST(Listener, APathOf107BytesFitsAndOneOf108DoesNot)
{
    const TempDir dir;
    const std::string longest = dir.path(std::string(107 - dir.path("").size(), 'x'));
    ASSERT_EQ(longest.size(), 107u);
    EXPECT_TRUE(Listener::create(UnixAddress{.path = longest}));
    const auto longer = Listener::create(UnixAddress{.path = longest + "x"});
    ASSERT_FALSE(longer);
    EXPECT_EQ(longer.error().message(), "UNIX socket path '" + longest + "x' is too long");
    EXPECT_EQ(longer.error().hint(), "Path must be less than 108 bytes");
}

TEST(Listener, AnInheritedListeningDescriptorServes)
{
    const TempDir dir;
    const auto original = listen_on(UnixAddress{.path = dir.path("s")});
    auto copy = must(UniqueFd::dup_of(original->poll_fds().front()));
    const auto inherited = listen_on(FdAddress{std::to_string(copy.release())});
    auto client = must(connect_socket(UnixAddress{.path = dir.path("s")}));
    EXPECT_TRUE(inherited->accept(patient()));
}

TEST(Listener, ADescriptorThatDoesNotListenIsRefused)
{
    auto [one, two] = must(socket_pair());
    auto copy = must(UniqueFd::dup_of(one->fd()));
    const std::string number = std::to_string(copy.release());
    const auto refused = Listener::create(FdAddress{number});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message(),
              "File descriptor '" + number + "' is not a listening socket");
}

TEST(SocketChannel, ConnectionsOverTcpHaveNoDelayOnBothEnds)
{
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    const auto client = must(connect_socket(listener->addresses().front()));
    const auto server = must(listener->accept(patient()));
    for (const int fd : {client->fd(), server->fd()}) {
        int on = 0;
        socklen_t length = sizeof on;
        ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length), 0);
        EXPECT_NE(on, 0);
        EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    }
}

TEST(SocketChannel, WaitsUntilItsQueueIsShort)
{
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    const auto client = must(connect_socket(listener->addresses().front()));
    const auto server = must(listener->accept(patient()));
    EXPECT_EQ(client->bytes_underway(), 0);
    must(client->wait_until_sent(4096));
    const std::vector<std::byte> block(64 * 1024);
    while (must(client->try_write(block))) {
    }
    // Nobody reads: what the peer's system does not take stays here.
    EXPECT_GT(client->bytes_underway(), 4096);
    client->set_patience({.cancel = {}, .deadline = deadline_in(std::chrono::milliseconds(20))});
    const auto waited = client->wait_until_sent(4096);
    ASSERT_FALSE(waited);
    EXPECT_EQ(waited.error().code(), Errc::TimedOut);

    client->set_patience(patient());
    auto reader = std::async(std::launch::async, [&] {
        std::vector<std::byte> into(1 << 20);
        while (must(server->read_some(into)) != 0) {
        }
    });
    must(client->wait_until_sent(4096));
    EXPECT_LT(client->bytes_underway(), client->bytes_written());
    must(client->shutdown(Shutdown::Write));
    reader.get();
}

TEST(SocketChannel, TheWayOverTheLoopbackHoldsLittle)
{
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    const auto client = must(connect_socket(listener->addresses().front()));
    const auto server = must(listener->accept(patient()));
    std::array<std::byte, 4096> page{};
    must(client->write_all(page));
    must(server->read_exact(page));
    ASSERT_TRUE(tcp_pipe_bytes(client->fd()));
    EXPECT_LT(*tcp_pipe_bytes(client->fd()), std::uint64_t{1} << 40);
    const auto [left, right] = must(socket_pair());
    EXPECT_FALSE(tcp_pipe_bytes(left->fd()));
    EXPECT_FALSE(tcp_pipe_bytes(-1));
}

TEST(SocketChannel, AcknowledgesAtOnceWhenAskedTo)
{
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    const auto client = must(connect_socket(listener->addresses().front()));
    const auto server = must(listener->accept(patient()));
    const auto at_once = [&] {
        int on = 0;
        socklen_t length = sizeof on;
        EXPECT_EQ(::getsockopt(server->fd(), IPPROTO_TCP, TCP_QUICKACK, &on, &length), 0);
        return on != 0;
    };
    // Who answers what comes is taken to answer soon, and its acknowledgements wait for that.
    std::array<std::byte, 16> word{};
    for (int i = 0; i < 1000 && at_once(); ++i) {
        must(client->write_all(word));
        must(server->read_exact(word));
        must(server->write_all(word));
        must(client->read_exact(word));
    }
    EXPECT_FALSE(at_once());
    server->acknowledge();
    EXPECT_TRUE(at_once());
}

TEST(SocketChannel, BothEndsNameTheirAddresses)
{
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    const auto client = must(connect_socket(listener->addresses().front()));
    const auto server = must(listener->accept(patient()));
    EXPECT_EQ(must(client->peer_address()), listener->addresses().front());
    EXPECT_EQ(must(server->peer_address()), must(client->local_address()));
    EXPECT_EQ(client->describe(),
              "tcp 127.0.0.1:" + std::get<InetAddress>(listener->addresses().front()).port);
}

TEST(SocketChannel, AnAcceptedUnixConnectionIsCalledAfterThePath)
{
    const TempDir dir;
    const auto listener = listen_on(UnixAddress{.path = dir.path("s")});
    const auto client = must(connect_socket(UnixAddress{.path = dir.path("s")}));
    EXPECT_EQ(client->describe(), "unix " + dir.path("s"));
    EXPECT_EQ(must(listener->accept(patient()))->describe(), "unix " + dir.path("s"));
}

TEST(SocketChannel, AResetByThePeerIsAnErrorWithItsReason)
{
    const auto listener = listen_on(InetAddress{.host = "127.0.0.1", .port = "0"});
    const auto client = must(connect_socket(listener->addresses().front()));
    auto server = must(listener->accept(patient()));
    const linger now{.l_onoff = 1, .l_linger = 0};
    ASSERT_EQ(::setsockopt(server->fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    server.reset();
    std::array<std::byte, 1> to;
    const auto end = client->read_exact(to);
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().os_errno(), ECONNRESET);
    EXPECT_EQ(end.error().message(),
              client->describe() + ": Unable to read from socket: Connection reset by peer");
}

TEST(SocketChannel, ManyDescriptorsTravelInOneMessage)
{
    auto [one, two] = must(socket_pair());
    const EventFd event = must(EventFd::create());
    const std::vector<int> fds(kMaxFdsPerMessage, event.poll_fd());
    must(one->write_with_fds(bytes_of("x"), fds));
    std::array<std::byte, 1> to;
    const Received got = must(two->read_with_fds(to));
    ASSERT_EQ(got.fds.size(), kMaxFdsPerMessage);
    for (const UniqueFd& fd : got.fds)
        EXPECT_NE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(SocketChannel, OneDescriptorTooManyIsRefusedBeforeItIsSent)
{
    auto [one, two] = must(socket_pair());
    const EventFd event = must(EventFd::create());
    const std::vector<int> fds(kMaxFdsPerMessage + 1, event.poll_fd());
    EXPECT_EQ(one->write_with_fds(bytes_of("x"), fds).error().code(), Errc::InvalidArgument);
    EXPECT_EQ(one->bytes_written(), 0u);
}

TEST(SocketChannel, DescriptorsThatNobodyAsksForAreClosed)
{
    auto [one, two] = must(socket_pair());
    auto [reader, writer] = must(make_pipe());
    const int fds[] = {writer->fd()};
    must(one->write_with_fds(bytes_of("x"), fds));
    EXPECT_EQ(read_text(*two, 1), "x");
    writer.reset();
    std::array<std::byte, 1> to;
    reader->set_patience(patient());
    EXPECT_EQ(must(reader->read_some(to)), 0u);  // nobody else holds the writing end
}

TEST(SocketChannel, AdoptRefusesWhatIsNoStreamSocket)
{
    UniqueFd datagram(::socket(AF_UNIX, SOCK_DGRAM, 0));
    EXPECT_EQ(SocketChannel::adopt(std::move(datagram)).error().code(), Errc::InvalidArgument);
    UniqueFd file(::open("/dev/null", O_RDWR));
    EXPECT_EQ(SocketChannel::adopt(std::move(file)).error().code(), Errc::InvalidArgument);
}

TEST(SocketChannel, ABlockingSocketIsNotMadeNonBlockingForOthers)
{
    int fds[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    const UniqueFd peer(fds[1]);
    auto channel = must(SocketChannel::adopt(UniqueFd(fds[0])));
    std::array<std::byte, 1> to;
    EXPECT_EQ(must(channel->try_read(to)), std::nullopt);
    EXPECT_EQ(::fcntl(channel->fd(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(FdAddress, ANameIsLookedUpAndANumberIsNot)
{
    auto [one, two] = must(socket_pair());
    std::string asked;
    const FdLookup lookup = [&](std::string_view name) {
        asked = name;
        return UniqueFd::dup_of(one->fd());
    };
    EXPECT_TRUE(resolve_fd({"mig"}, lookup));
    EXPECT_EQ(asked, "mig");
    asked.clear();
    auto copy = must(UniqueFd::dup_of(two->fd()));
    EXPECT_TRUE(resolve_fd({std::to_string(copy.release())}, lookup));
    EXPECT_EQ(asked, "");
}

TEST(FdAddress, WhatIsNoNumberOrNotOpenIsRefused)
{
    EXPECT_EQ(resolve_fd({"nope"}, {}).error().message(), "Invalid file descriptor number 'nope'");
    EXPECT_EQ(resolve_fd({"999999"}, {}).error().message(),
              "File descriptor '999999' is not open: Bad file descriptor");
    EXPECT_FALSE(resolve_fd({"99999999999999999999"}, {}));
}

TEST(Vsock, ALoopbackConnectionCarriesBytes)
{
    const auto listener = Listener::create(VsockAddress{.cid = "4294967295", .port = "34571"});
    if (!listener)
        GTEST_SKIP() << "no vsock here: " << listener.error().message();
    auto client = connect_socket(
        VsockAddress{.cid = "1", .port = "34571"},
        {.patience = {.cancel = {}, .deadline = deadline_in(std::chrono::milliseconds(500))}});
    if (!client)
        GTEST_SKIP() << "no vsock loopback here: " << client.error().message();
    auto server = must((*listener)->accept(patient()));
    must((*client)->write_all(bytes_of("over vsock")));
    EXPECT_EQ(read_text(*server, 10), "over vsock");
    EXPECT_EQ((*client)->describe(), "vsock 1:34571");
}

TEST(Vsock, ACidThatIsNoNumberIsNamed)
{
    EXPECT_EQ(connect_socket(VsockAddress{.cid = "4294967296", .port = "1"}).error().message(),
              "Failed to parse cid '4294967296'");
    EXPECT_EQ(connect_socket(VsockAddress{.cid = "3", .port = "x"}).error().message(),
              "Failed to parse port 'x'");
}

TEST(OpenForReading, WhatOthersConnectToNeedsAListener)
{
    const auto refused = open_for_reading(InetAddress{.host = "h", .port = "1"});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message(), "tcp:h:1: others connect to it");
}

}  // namespace
}  // namespace godwit::io::test
