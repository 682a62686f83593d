// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The protocol over a real socket, with a client made of bytes.
#include "tests/devices/vfio-user-server/session.h"

#include <cerrno>
#include <cstring>
#include <gtest/gtest.h>
#include <sys/socket.h>

namespace godwit::vfio_user_server {
namespace {

struct Answer {
    int error = 0;
    std::uint32_t said = 0;  // size in the header
    std::vector<std::byte> body;
};

template <class... T>
std::vector<std::byte> bytes_of(const T&... values)
{
    std::vector<std::byte> all;
    const auto add = [&](std::span<const std::byte> more) {
        all.insert(all.end(), more.begin(), more.end());
    };
    (add(std::as_bytes(std::span(&values, 1))), ...);
    return all;
}

class VfioUserSession : public testing::Test {
protected:
    void SetUp() override
    {
        session_.reset();
        int fds[2];
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        client_.reset(fds[0]);
        device_ = Device::create({.state_bytes = 64 << 10}).value();
        migration_ = std::make_unique<Migration>(*device_, faults_, MigrationOptions{});
        session_ = std::make_unique<Session>(UniqueFd(fds[1]), *device_, *migration_, faults_,
                                             options_, counters_);
    }
    void send(Command command, const std::vector<std::byte>& body)
    {
        const Header header{.id = 7,
                            .command = static_cast<std::uint16_t>(command),
                            .size = static_cast<std::uint32_t>(sizeof(Header) + body.size())};
        auto all = bytes_of(header);
        all.insert(all.end(), body.begin(), body.end());
        ASSERT_EQ(::send(client_.get(), all.data(), all.size(), 0),
                  static_cast<ssize_t>(all.size()));
    }
    Answer answer()
    {
        Header header;
        Answer answer;
        EXPECT_EQ(::recv(client_.get(), &header, sizeof header, MSG_DONTWAIT),
                  static_cast<ssize_t>(sizeof header));
        EXPECT_EQ(header.id, 7);
        EXPECT_EQ(header.flags & kTypeMask, kReply);
        answer.said = header.size;
        answer.error = (header.flags & kError) != 0 ? static_cast<int>(header.error) : 0;
        answer.body.resize(2 << 20);
        const ssize_t n =
            ::recv(client_.get(), answer.body.data(), answer.body.size(), MSG_DONTWAIT);
        answer.body.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
        return answer;
    }
    Answer ask(Command command, const std::vector<std::byte>& body = {})
    {
        send(command, body);
        EXPECT_TRUE(session_->handle());
        return answer();
    }
    void negotiate() { ASSERT_EQ(ask(Command::Version, bytes_of(VersionHead{})).error, 0); }
    Answer set_state(State state)
    {
        return ask(Command::DeviceFeature,
                   bytes_of(FeatureHead{.argsz = 16, .flags = kFeatureSet | kFeatureMigState},
                            MigState{.state = static_cast<std::uint32_t>(state)}));
    }

    ProtocolOptions options_;
    ProtocolCounters counters_;
    Faults faults_;
    UniqueFd client_;
    std::unique_ptr<Device> device_;
    std::unique_ptr<Migration> migration_;
    std::unique_ptr<Session> session_;
};

TEST_F(VfioUserSession, BeginsWithTheVersion)
{
    EXPECT_EQ(ask(Command::DeviceGetInfo, bytes_of(DeviceInfo{.argsz = 16})).error, EINVAL);
    EXPECT_EQ(ask(Command::Version, bytes_of(VersionHead{.major = 1})).error, EINVAL);
    negotiate();
    EXPECT_EQ(ask(Command::DeviceGetInfo, bytes_of(DeviceInfo{.argsz = 16})).error, 0);
    EXPECT_EQ(ask(Command::Version, bytes_of(VersionHead{})).error, EINVAL);
}

TEST_F(VfioUserSession, RefusesRequestsThatEndTooEarly)
{
    negotiate();
    for (std::uint16_t n = 2; n <= kLastCommand; ++n) {
        if (n == static_cast<std::uint16_t>(Command::DeviceReset))
            continue;
        EXPECT_NE(ask(static_cast<Command>(n), {std::byte{0}}).error, 0) << command_name(n);
    }
}

TEST_F(VfioUserSession, EndsWithAMessageOfImpossibleLength)
{
    for (const std::uint32_t size : {0u, 15u, 0xffffffffu}) {
        SetUp();
        const Header header{.command = 1, .size = size};
        ASSERT_EQ(::send(client_.get(), &header, sizeof header, 0),
                  static_cast<ssize_t>(sizeof header));
        EXPECT_FALSE(session_->handle());
    }
}

TEST_F(VfioUserSession, ReadsAndWritesWithinRegionsOnly)
{
    negotiate();
    const auto read = [&](std::uint32_t region, std::uint64_t offset, std::uint32_t count) {
        return ask(Command::RegionRead, bytes_of(RegionAccess{offset, region, count})).error;
    };
    EXPECT_EQ(read(kConfig, 0, 256), 0);
    EXPECT_EQ(read(kConfig, 0, 257), EINVAL);
    EXPECT_EQ(read(kConfig, ~std::uint64_t{0}, 2), EINVAL);
    EXPECT_EQ(read(2, kMemoryBarSize - 1, 1), 0);
    EXPECT_EQ(read(3, 0, 1), EINVAL);
    EXPECT_EQ(read(77, 0, 1), EINVAL);
    EXPECT_EQ(read(2, 0, 0xffffffff), EINVAL);
}

TEST_F(VfioUserSession, MovesItsStateOnlyInTheStatesForThat)
{
    negotiate();
    const auto read = [&] {
        return ask(Command::MigDataRead, bytes_of(MigData{.argsz = 8, .size = 1 << 16}));
    };
    EXPECT_EQ(read().error, EINVAL);
    EXPECT_EQ(set_state(State::StopCopy).error, 0);
    EXPECT_EQ(ask(Command::RegionRead, bytes_of(RegionAccess{0, kConfig, 4})).error, EINVAL);
    EXPECT_EQ(read().body.size(), sizeof(MigData) + (1 << 16));
    EXPECT_EQ(set_state(State::PreCopy).error, EINVAL);
    EXPECT_EQ(set_state(State::Running).error, 0);
    EXPECT_EQ(read().error, EINVAL);
    EXPECT_EQ(set_state(State::Resuming).error, 0);
    EXPECT_EQ(set_state(State::Stop).error, EINVAL) << "nothing was loaded";
    EXPECT_EQ(migration_->state(), State::Error);
    EXPECT_EQ(ask(Command::DeviceReset).error, 0);
    EXPECT_EQ(migration_->state(), State::Running);
}

TEST_F(VfioUserSession, FaultsHappenWhereTheyWereAskedFor)
{
    negotiate();
    faults_.add(Fault::parse("refuse,arc=STOP:STOP_COPY,errno=EBUSY").value());
    EXPECT_EQ(set_state(State::StopCopy).error, EBUSY);
    EXPECT_EQ(migration_->state(), State::Stop);
    EXPECT_EQ(set_state(State::StopCopy).error, 0);
    faults_.add(Fault::parse("bad-length,command=MIG_DATA_READ,after=1").value());
    for (const std::size_t lie : {0, kLie}) {
        const Answer data = ask(Command::MigDataRead, bytes_of(MigData{.argsz = 8, .size = 64}));
        MigData head;
        std::memcpy(&head, data.body.data(), sizeof head);
        EXPECT_EQ(head.size, 64 + lie);
    }
    faults_.add(Fault::parse("disconnect,to=STOP").value());
    send(Command::DeviceFeature,
         bytes_of(FeatureHead{.argsz = 16, .flags = kFeatureSet | kFeatureMigState},
                  MigState{.state = 1}));
    EXPECT_FALSE(session_->handle());
}

TEST_F(VfioUserSession, AHangKeepsTheAnswerUntilItIsLetGo)
{
    negotiate();
    faults_.add(Fault::parse("hang,to=STOP").value());
    send(Command::DeviceFeature,
         bytes_of(FeatureHead{.argsz = 16, .flags = kFeatureSet | kFeatureMigState},
                  MigState{.state = 1}));
    EXPECT_TRUE(session_->handle());
    EXPECT_FALSE(session_->listens());
    EXPECT_TRUE(session_->unhang());
    EXPECT_EQ(answer().error, EIO);
    EXPECT_TRUE(session_->listens());
}

TEST(FaultSpecs, NameWhatTheyDoNotKnow)
{
    for (const char* bad :
         {"", "refuse", "nonsense,to=STOP", "refuse,to=*", "refuse,to=NOWHERE", "refuse,arc=STOP",
          "refuse,command=X", "refuse,to=STOP,arc=*:*", "refuse,to=STOP,errno=EWHAT",
          "refuse,to=STOP,leave=RUNNING", "refuse,to=STOP,after=x", "refuse,to=STOP,other=1"})
        EXPECT_FALSE(Fault::parse(bad)) << bad;
}

}  // namespace
}  // namespace godwit::vfio_user_server
