// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /chaos/yank: a connection that hangs is torn loose, out of band, on either side.
#include "tests/chaos/held.h"

#include <algorithm>
#include <arpa/inet.h>
#include <csignal>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace godwit::chaos {
namespace {

using testing::HasSubstr;

const Json kMigration = {{"instances", {{{"type", "migration"}}}}};

// Out of band all the way: who works in band may hang.
bool can_yank_migration(qtest::Vmm& vmm)
{
    const Json all = vmm.qmp().execute_oob("query-yank");
    return std::ranges::find(all, Json{{"type", "migration"}}) != all.end();
}

void expect_source_runs_on(qtest::Vmm& source)
{
    ASSERT_TRUE(can_yank_migration(source));
    source.qmp().execute_oob("yank", kMigration);
    EXPECT_EQ(qtest::wait_migration_end(source), "failed");
    source.wait_status("running");
    EXPECT_THAT(error_desc(source), HasSubstr("the connection was yanked"));
    EXPECT_FALSE(can_yank_migration(source));
    qtest::expect_synth_right(source);
}

class SourceYank : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Statuses, SourceYank,
                         testing::Values("setup", "active", "pre-switchover", "device"),
                         [](const auto& at) {
                             std::string name = at.param;
                             std::erase(name, '-');
                             return name;
                         });

TEST_P(SourceYank, WithAPeerThatStoppedReadingLeavesTheGuestHere)
{
    Held held(GetParam(), Held::make_source(true));
    if (held.has_target())
        held.target().process().kill(SIGSTOP);
    expect_source_runs_on(held.source());
}

// The address of a socket, on a fresh TCP port or a path.
struct Place {
    Place(bool tcp, const std::string& path)
    {
        auto* inet = reinterpret_cast<sockaddr_in*>(&address);
        auto* local = reinterpret_cast<sockaddr_un*>(&address);
        if (tcp) {
            inet->sin_family = AF_INET;
            inet->sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
            size = sizeof *inet;
        } else {
            local->sun_family = AF_UNIX;
            path.copy(local->sun_path, sizeof local->sun_path - 1);
            size = sizeof *local;
        }
    }
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&address); }
    void set_port(const std::string& port)
    {
        reinterpret_cast<sockaddr_in*>(&address)->sin_port =
            ::htons(static_cast<std::uint16_t>(std::stoi(port)));
    }

    sockaddr_storage address{};
    socklen_t size = 0;
};

UniqueFd stream_socket(const Place& place)
{
    return UniqueFd(::socket(place.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

class Yank : public testing::TestWithParam<bool> {
protected:
    bool tcp() const { return GetParam(); }
};

INSTANTIATE_TEST_SUITE_P(Sockets, Yank, testing::Bool(),
                         [](const auto& at) { return at.param ? "Tcp" : "Unix"; });

TEST_P(Yank, OfASourceWhosePeerNeverReads)
{
    qtest::TempDir dir;
    qtest::Vmm::Options options = kOwnAccel;
    options.oob = true;
    qtest::Vmm source({"-machine", "none", "-m", "64M", "-accel", "synth,working-set=32M"},
                      options);
    qtest::prepare(source);
    Place place(tcp(), dir.file("m.sock"));
    const UniqueFd listener = stream_socket(place);
    ASSERT_EQ(::bind(listener.get(), place.get(), place.size), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    ASSERT_EQ(::getsockname(listener.get(), place.get(), &place.size), 0);
    const auto* inet = reinterpret_cast<const sockaddr_in*>(&place.address);
    source.qmp().execute("migrate",
                         {{"uri", tcp() ? fmt::format("tcp:127.0.0.1:{}", ::ntohs(inet->sin_port))
                                        : "unix:" + dir.file("m.sock")}});
    const UniqueFd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(peer);
    qtest::wait_migration(source, "active");
    expect_source_runs_on(source);
}

TEST_P(Yank, OfADestinationWhosePeerFallsSilent)
{
    qtest::TempDir dir;
    qtest::Vmm::Options options = kOwnAccel;
    options.oob = true;
    qtest::Vmm target(incoming({"-machine", "none", "-m", "16M", "-accel", "qtest"}), options);
    qtest::prepare(target);
    EXPECT_FALSE(can_yank_migration(target));
    expect_at(target, tcp() ? "tcp:127.0.0.1:0" : "unix:" + dir.file("m.sock"));
    // Nobody has come: there is nothing to break, and the target waits on.
    EXPECT_TRUE(can_yank_migration(target));
    target.qmp().execute_oob("yank", kMigration);
    Place place(tcp(), dir.file("m.sock"));
    const Json address = target.qmp().execute("query-migrate")["socket-address"][0];
    if (tcp())
        place.set_port(address["port"]);
    const UniqueFd peer = stream_socket(place);
    ASSERT_EQ(::connect(peer.get(), place.get(), place.size), 0);
    constexpr std::string_view kBegin("QEVM\0\0\0\3\7\0\0", 11);  // and a length that is cut
    ASSERT_EQ(::send(peer.get(), kBegin.data(), kBegin.size(), 0),
              static_cast<ssize_t>(kBegin.size()));
    qtest::wait_migration(target, "active");
    target.qmp().execute_oob("yank", kMigration);
    EXPECT_EQ(qtest::wait_migration_end(target), "failed");
    EXPECT_THAT(error_desc(target), HasSubstr("the connection was yanked"));
    EXPECT_FALSE(can_yank_migration(target));
    EXPECT_EQ(target.qmp().execute("query-status")["status"], "inmigrate");
    char byte = 0;
    EXPECT_EQ(::recv(peer.get(), &byte, 1, 0), 0);
}

}  // namespace
}  // namespace godwit::chaos
