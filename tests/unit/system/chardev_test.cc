// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/chardev.h"
#include "system/main_loop.h"
#include "system/yank.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <poll.h>
#include <sstream>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace godwit::system {
namespace {

namespace fs = std::filesystem;

/// A front end that remembers what came in.
struct FrontEnd {
    std::string received;
    std::vector<std::size_t> fds_with;  // how many descriptors came with each receive
    std::string events;
    std::size_t room = 1 << 20;
    Chardev* chardev = nullptr;

    Result<void> attach(Chardev& to)
    {
        chardev = &to;
        return to.attach({
            .can_receive = [this] { return room; },
            .receive =
                [this](std::span<const std::byte> data) {
                    received.append(reinterpret_cast<const char*>(data.data()), data.size());
                    fds_with.push_back(chardev->take_fds().size());
                },
            .event =
                [this](Chardev::FrontEnd::Event event) {
                    events += event == Chardev::FrontEnd::Event::Opened   ? "o"
                              : event == Chardev::FrontEnd::Event::Closed ? "c"
                              : event == Chardev::FrontEnd::Event::Front  ? "f"
                                                                          : "b";
                },
        });
    }
};

struct Chardevs : ::testing::Test {
    std::unique_ptr<MainLoop> loop = MainLoop::create().value();
    std::string notices;
    YankRegistry yanks;
    ChardevSet set{*loop, [this](std::string_view line) { notices += std::string(line) + "\n"; },
                   &yanks};
    fs::path dir;
    MachineGuard guard{loop->lock()};

    Chardevs()
    {
        std::string name = (fs::temp_directory_path() / "gw-chardev-XXXXXX").string();
        dir = ::mkdtemp(name.data());
    }
    ~Chardevs() override { fs::remove_all(dir); }

    std::string path(const char* name) const { return (dir / name).string(); }
    std::string add_error(const std::string& option)
    {
        const auto made = set.add(option);
        return made ? "" : made.error().message();
    }
    std::string short_error(const std::string& text)
    {
        const auto made = set.add_short(text, "s");
        return made ? "" : made.error().message();
    }
    template <class Condition>
    void serve_until(Condition&& holds)
    {
        while (!holds())
            loop->run_once(true);
    }
    std::string read_some(int fd, std::size_t size)
    {
        std::string text;
        std::array<char, 4096> buffer;
        while (text.size() < size) {
            loop->run_once(false);
            const ssize_t length = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (length > 0)
                text.append(buffer.data(), static_cast<std::size_t>(length));
            else if (length == 0)
                break;
        }
        return text;
    }
};

std::string contents(const std::string& path)
{
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

int connect_to(const std::string& path)
{
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
}

TEST_F(Chardevs, ComplainInQemusWords)
{
    EXPECT_EQ(add_error("null"), "chardev: no id specified");
    EXPECT_EQ(add_error("id=c"), "chardev: \"c\" missing backend");
    EXPECT_EQ(add_error("foo,id=c"), "'foo' is not a valid char driver name");
    EXPECT_EQ(add_error("null,id=1c"), "Parameter 'id' expects an identifier");
    EXPECT_EQ(add_error("socket,id=c,path=x,reconnect=1,reconnect-ms=10"),
              "'reconnect' and 'reconnect-ms' are mutually exclusive");
    EXPECT_EQ(add_error("null,id=c,foo=1"), "Invalid parameter 'foo'");
    EXPECT_EQ(add_error("file,id=c"), "chardev: file: no filename given");
    EXPECT_EQ(add_error("pipe,id=c"), "chardev: pipe: no device path given");
    EXPECT_EQ(add_error("socket,id=c"), "Unable to parse FD number ");
    EXPECT_EQ(add_error("socket,id=c,fd=x"), "Unable to parse FD number x");
    EXPECT_EQ(add_error("socket,id=c,fd=9999"), "File descriptor '9999' is not a socket");
    EXPECT_EQ(add_error("socket,id=c,host=h"), "chardev: socket: no port given");
    EXPECT_EQ(add_error("socket,id=c,path=/x,host=h"),
              "None or one of 'path', 'fd' or 'host' option required.");
    EXPECT_EQ(add_error("socket,id=c,path=/x,wait=off"),
              "'wait' option is incompatible with socket in client connect mode");
    EXPECT_EQ(add_error("socket,id=c,path=/x,server=maybe"),
              "Parameter 'server' expects 'on' or 'off'");
    EXPECT_EQ(add_error("socket,id=c,path=/nonexistent/x"),
              "Failed to connect to '/nonexistent/x': No such file or directory");
    EXPECT_EQ(add_error("file,id=c,path=/nonexistent/x"),
              "Could not open '/nonexistent/x': No such file or directory");
    EXPECT_EQ(add_error("ringbuf,id=c,size=5"), "size of ringbuf chardev must be power of two");
    EXPECT_EQ(short_error("foo"), "'foo' is not a valid char driver");
    EXPECT_EQ(short_error("chardev:foo"), "chardev \"foo\" not found");
    EXPECT_EQ(short_error("fd:9999").find("File descriptor '9999'"), 0u);
    EXPECT_TRUE(set.list().empty()) << "what failed leaves nothing behind";
}

TEST_F(Chardevs, AnIdIsTakenOnce)
{
    EXPECT_EQ(add_error("null,id=c"), "");
    EXPECT_EQ(add_error("null,id=c"), "Duplicate ID 'c' for chardev");
    EXPECT_EQ(set.remove("x").error().message(), "Chardev 'x' not found");
    FrontEnd front;
    ASSERT_TRUE(front.attach(*set.find("c")));
    FrontEnd second;
    EXPECT_EQ(second.attach(*set.find("c")).error().message(), "Device 'c' is in use");
    EXPECT_EQ(set.remove("c").error().message(), "Chardev 'c' is busy");
    set.find("c")->detach();
    EXPECT_TRUE(set.remove("c"));
    EXPECT_EQ(set.add_short("none", "s").value(), nullptr);
}

TEST_F(Chardevs, AFileIsEmptiedAndWrittenAtOnce)
{
    std::ofstream(path("f")) << "old";
    Chardev* file = set.add_short("file:" + path("f"), "serial0").value();
    EXPECT_EQ(contents(path("f")), "");
    EXPECT_TRUE(file->write("new"));
    EXPECT_EQ(contents(path("f")), "new");
    EXPECT_EQ(file->filename(), "file");
    Chardev* more = set.add("file,id=more,append=on,path=" + path("f")).value();
    EXPECT_TRUE(more->write("er"));
    EXPECT_EQ(contents(path("f")), "newer");
}

TEST_F(Chardevs, AServerServesOneClientAfterTheOther)
{
    Chardev* server = set.add("socket,id=s,server=on,wait=off,path=" + path("s")).value();
    FrontEnd front;
    ASSERT_TRUE(front.attach(*server));
    EXPECT_FALSE(server->write("nobody hears this"));
    EXPECT_EQ(server->filename(), "disconnected:unix:" + path("s") + ",server=on");
    for (int round = 0; round < 2; ++round) {
        front.received.clear();
        front.events.clear();
        const int client = connect_to(path("s"));
        serve_until([&] { return server->connected(); });
        EXPECT_EQ(server->filename(), "unix:" + path("s") + ",server=on");
        ASSERT_EQ(::write(client, "ping", 4), 4);
        serve_until([&] { return front.received == "ping"; });
        EXPECT_TRUE(server->write("pong"));
        EXPECT_EQ(read_some(client, 4), "pong");
        ::close(client);
        serve_until([&] { return !server->connected(); });
        EXPECT_EQ(front.events, "oc");
    }
    server->detach();
    ASSERT_TRUE(set.remove("s"));
    EXPECT_FALSE(fs::exists(path("s"))) << "the path goes with the listener";
}

TEST_F(Chardevs, ASocketCanBeYankedAndServesTheNextClient)
{
    Chardev* server = set.add("socket,id=s,server=on,wait=off,path=" + path("s")).value();
    ASSERT_TRUE(set.add("null,id=n"));
    FrontEnd front;
    ASSERT_TRUE(front.attach(*server));
    const YankInstance instance{YankInstance::Type::Chardev, "s"};
    EXPECT_EQ(yanks.list(), std::vector<YankInstance>{instance});
    EXPECT_TRUE(yanks.yank(std::span(&instance, 1))) << "with nobody there";
    for (int round = 0; round < 2; ++round) {
        const int client = connect_to(path("s"));
        serve_until([&] { return server->connected(); });
        EXPECT_TRUE(yanks.yank(std::span(&instance, 1)));
        char byte = 0;
        EXPECT_EQ(::recv(client, &byte, 1, 0), 0) << "the client sees the end at once";
        serve_until([&] { return !server->connected(); });
        ::close(client);
    }
    EXPECT_EQ(front.events, "ococ");
    server->detach();
    ASSERT_TRUE(set.remove("s"));
    EXPECT_TRUE(yanks.list().empty());
}

TEST_F(Chardevs, ASocketThatNobodyReadsNoticesItsEnd)
{
    Chardev* server = set.add("socket,id=s,server=on,wait=off,path=" + path("s")).value();
    const YankInstance instance{YankInstance::Type::Chardev, "s"};
    for (const bool yanked : {true, false}) {
        const int client = connect_to(path("s"));
        serve_until([&] { return server->connected(); });
        if (yanked) {
            EXPECT_TRUE(yanks.yank(std::span(&instance, 1)));
        } else {
            ::close(client);
        }
        serve_until([&] { return !server->connected(); });
        if (yanked)
            ::close(client);
    }
    EXPECT_EQ(server->filename(), "disconnected:unix:" + path("s") + ",server=on");
}

// QEMU's words.
TEST_F(Chardevs, ADescriptorIsNamedByItsEnds)
{
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    EXPECT_EQ(set.add(fmt::format("socket,id=pair,fd={}", ends[0])).value()->filename(), "unix:");
    ::close(ends[1]);

    ASSERT_TRUE(set.add("socket,id=s,server=on,wait=off,path=" + path("s")));
    EXPECT_EQ(set.add(fmt::format("socket,id=u,fd={}", connect_to(path("s")))).value()->filename(),
              "unix:" + path("s"));

    Chardev* server = set.add("socket,id=t,server=on,wait=off,host=127.0.0.1,port=0").value();
    const std::string listening = server->filename().substr(strlen("disconnected:tcp:"));
    const std::string there = listening.substr(0, listening.find(','));
    Chardev* client =
        set.add("socket,id=v,host=127.0.0.1,port=" + there.substr(there.find(':') + 1)).value();
    serve_until([&] { return server->connected(); });
    const std::string name = client->filename();
    ASSERT_EQ(name.find("tcp:127.0.0.1:"), 0u) << name;
    const std::size_t arrow = name.find(" <-> ");
    ASSERT_NE(arrow, std::string::npos) << name;
    EXPECT_EQ(name.substr(arrow + 5), there);
    EXPECT_EQ(server->filename(), "tcp:" + there + ",server=on <-> " + name.substr(4, arrow - 4));
}

TEST_F(Chardevs, AClientThatFindsNobodyComesBack)
{
    Chardev* client = set.add("socket,id=c,reconnect-ms=5,path=" + path("s")).value();
    FrontEnd front;
    ASSERT_TRUE(front.attach(*client));
    serve_until([&] { return !notices.empty(); });
    EXPECT_EQ(notices, "Unable to connect character device c: Failed to connect to '" + path("s") +
                           "': No such file or directory\n");
    Chardev* server = set.add("socket,id=s,server=on,wait=off,path=" + path("s")).value();
    serve_until([&] { return client->connected() && server->connected(); });
    EXPECT_EQ(front.events, "o");
}

TEST_F(Chardevs, DescriptorsComeWithTheirBytes)
{
    Chardev* server = set.add("socket,id=s,server=on,wait=off,path=" + path("s")).value();
    FrontEnd front;
    ASSERT_TRUE(front.attach(*server));
    const int client = connect_to(path("s"));
    std::array<int, 2> pipe_fds{};
    ASSERT_EQ(::pipe(pipe_fds.data()), 0);
    char byte = 'x';
    iovec bytes{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(2 * sizeof(int));
    std::memcpy(CMSG_DATA(header), pipe_fds.data(), sizeof pipe_fds);
    ASSERT_EQ(::sendmsg(client, &message, 0), 1);
    serve_until([&] { return front.received == "x"; });
    EXPECT_EQ(front.fds_with, std::vector<std::size_t>{2});
    for (const int fd : {client, pipe_fds[0], pipe_fds[1]})
        ::close(fd);
}

TEST_F(Chardevs, AFrontEndWithoutRoomHoldsTheBytesBack)
{
    Chardev* server = set.add("socket,id=s,server=on,wait=off,path=" + path("s")).value();
    FrontEnd front;
    front.room = 0;
    ASSERT_TRUE(front.attach(*server));
    const int client = connect_to(path("s"));
    serve_until([&] { return server->connected(); });
    ASSERT_EQ(::write(client, "abc", 3), 3);
    loop->run_once(false);
    loop->run_once(false);
    EXPECT_EQ(front.received, "");
    front.room = 2;
    server->accept_input();
    serve_until([&] { return front.received.size() >= 2; });
    EXPECT_EQ(front.received.substr(0, 2), "ab");
    serve_until([&] { return front.received == "abc"; });
    ::close(client);
}

TEST_F(Chardevs, WhatDoesNotFitIsQueuedInOrder)
{
    Chardev* server = set.add("socket,id=s,server=on,wait=off,path=" + path("s")).value();
    const int client = connect_to(path("s"));
    FrontEnd front;
    ASSERT_TRUE(front.attach(*server));
    serve_until([&] { return server->connected(); });
    std::string sent;
    for (int i = 0; i < 2'000; ++i)
        sent += std::to_string(i) + std::string(997, '.') + "\n";
    EXPECT_TRUE(server->write(sent));
    EXPECT_GT(server->queued(), 0u);
    EXPECT_EQ(server->write_some(std::as_bytes(std::span("x", 1))), 0u) << "no overtaking";
    bool writable = false;
    server->on_writable([&] { writable = true; });
    EXPECT_TRUE(read_some(client, sent.size()) == sent);
    serve_until([&] { return writable; });
    EXPECT_EQ(server->queued(), 0u);
    ::close(client);
}

TEST_F(Chardevs, AnInheritedDescriptorWorksBothWays)
{
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    Chardev* chardev = set.add_short("fd:" + std::to_string(pair[0]), "mon").value();
    FrontEnd front;
    ASSERT_TRUE(front.attach(*chardev));
    EXPECT_EQ(front.events, "o") << "somebody is there from the start";
    ASSERT_EQ(::write(pair[1], "in", 2), 2);
    serve_until([&] { return front.received == "in"; });
    chardev->write("out");
    EXPECT_EQ(read_some(pair[1], 3), "out");
    ::close(pair[1]);
    serve_until([&] { return front.events == "oc"; });
}

TEST_F(Chardevs, APipeIsTwoFifos)
{
    ASSERT_EQ(::mkfifo(path("p.in").c_str(), 0600), 0);
    ASSERT_EQ(::mkfifo(path("p.out").c_str(), 0600), 0);
    Chardev* chardev = set.add_short("pipe:" + path("p"), "mon").value();
    FrontEnd front;
    ASSERT_TRUE(front.attach(*chardev));
    const int in = ::open(path("p.in").c_str(), O_WRONLY | O_CLOEXEC);
    const int out = ::open(path("p.out").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ASSERT_EQ(::write(in, "hello", 5), 5);
    serve_until([&] { return front.received == "hello"; });
    chardev->write("bye");
    std::array<char, 8> buffer{};
    EXPECT_EQ(::read(out, buffer.data(), buffer.size()), 3);
    ::close(in);
    ::close(out);
}

TEST_F(Chardevs, APtyNoticesWhoComesAndGoes)
{
    Chardev* chardev = set.add_short("pty", "serial0").value();
    const std::string slave = chardev->filename().substr(4);
    EXPECT_EQ(notices, "char device redirected to " + slave + " (label serial0)\n");
    FrontEnd front;
    ASSERT_TRUE(front.attach(*chardev));
    const int client = ::open(slave.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_GE(client, 0);
    serve_until([&] { return chardev->connected(); });
    ASSERT_EQ(::write(client, "key", 3), 3);
    serve_until([&] { return front.received == "key"; });
    chardev->write("echo");
    pollfd readable{.fd = client, .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&readable, 1, -1), 1);
    std::array<char, 8> buffer{};
    EXPECT_EQ(::read(client, buffer.data(), buffer.size()), 4);
    ::close(client);
    serve_until([&] { return front.events.ends_with("c"); });
}

TEST_F(Chardevs, ARingKeepsTheNewestBytes)
{
    Chardev* ring = set.add("ringbuf,id=r,size=4").value();
    ring->write("abcdef");
    EXPECT_EQ(ring->ring_read(3), "cde");
    EXPECT_EQ(ring->ring_read(3), "f");
    EXPECT_EQ(set.add("null,id=n").value()->ring_read(1), std::nullopt);
}

TEST_F(Chardevs, OneTerminalServesSeveralFrontEnds)
{
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    FrontEnd monitor;
    set.set_monitor_maker([&](Chardev& port) { return monitor.attach(port); });
    bool quit = false;
    set.set_quit_handler([&] { quit = true; });
    Chardev* port = set.add_short("mon:fd:" + std::to_string(pair[0]), "serial0").value();
    FrontEnd serial;
    ASSERT_TRUE(serial.attach(*port));
    const auto type = [&](std::string_view keys) {
        ASSERT_EQ(::write(pair[1], keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
    };
    type("ls\x01"
         "cinfo\x01"
         "c\x01"
         "b\x01\x01x");
    serve_until([&] { return serial.received.size() == 4; });
    EXPECT_EQ(serial.received, "ls\x01x") << "the serial port has the keyboard first";
    EXPECT_EQ(monitor.received, "info");
    EXPECT_EQ(serial.events, "ofb") << "C-a c brings it back to the front, C-a b is a break";
    type("\x01x");
    serve_until([&] { return quit; });
    port->write("from the guest");
    EXPECT_NE(read_some(pair[1], 14).find("from the guest"), std::string::npos);
    ::close(pair[1]);
}

}  // namespace
}  // namespace godwit::system
