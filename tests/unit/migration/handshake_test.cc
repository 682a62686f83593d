// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the two ends tell each other, and what becomes of the guest when one of them does not.
// docs/migration/handshake.md.
#include "migration/handshake.h"
#include "migration/stream/sections.h"
#include "migration/stream/writer.h"
#include "tests/unit/migration/test_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <thread>
#include <utility>
#include <vector>

namespace godwit::migration {
namespace {

using stream::ReturnMessage;
using system::RunState;
using testing::HasSubstr;

// The last words of the self-description of a TestMachine.
constexpr std::string_view kLastWords = "\"unused\", \"type\": \"buffer\", \"size\": 66}]}]}";

void say(io::Channel& channel, ReturnMessage type, std::uint32_t value)
{
    stream::StreamWriter out;
    stream::write_return_be32(out, type, value);
    (void)channel.write_all(out.take());
}

// The other end as a test plays it: reads up to the end of the stream, answers with `on_first` when
// the first bytes came and `on_last` behind the description.
using Answer = std::function<void(io::Channel&)>;

class Peer {
public:
    Peer(io::ChannelPtr channel, Answer on_first, Answer on_last)
        : channel_(std::move(channel)),
          thread_([this, on_first, on_last] { read(on_first, on_last); })
    {}
    ~Peer() { join(); }
    /// Waits until the source has closed.
    bool read_to_the_end()
    {
        join();
        return complete_;
    }

private:
    void join()
    {
        if (thread_.joinable())
            thread_.join();
    }
    void read(const Answer& on_first, const Answer& on_last)
    {
        std::string seen;
        std::vector<std::byte> buffer(65536);
        bool first = true;
        for (;;) {
            const auto got = channel_->read_some(buffer);
            if (!got || *got == 0)
                break;
            seen.append(reinterpret_cast<const char*>(buffer.data()), *got);
            if (std::exchange(first, false) && on_first)
                on_first(*channel_);
            if (!complete_ && seen.ends_with(kLastWords)) {
                complete_ = true;
                if (on_last)
                    on_last(*channel_);
            }
        }
        (void)channel_->shutdown(io::Shutdown::Both);
    }

    io::ChannelPtr channel_;
    std::atomic<bool> complete_{false};
    std::thread thread_;
};

void echo(io::Channel& channel)
{
    say(channel, ReturnMessage::Pong, kGodwitPing);
}

void shut(io::Channel& channel)
{
    say(channel, ReturnMessage::Shut, 0);
}

// With the capability and without: two Godwits behave the same.
class BetweenGodwits : public testing::TestWithParam<bool> {
protected:
    void SetUp() override
    {
        if (GetParam())
            a.enable({Capability::ReturnPath});
    }
    void begin()
    {
        a.start_guest();
        auto [left, right] = io::make_memory_channels().value();
        ASSERT_TRUE(b->expect_from(std::move(right)));
        ASSERT_TRUE(a.migrate_to(std::move(left)));
    }
    TestMachine a;
    std::unique_ptr<TestMachine> b = std::make_unique<TestMachine>();
};

INSTANTIATE_TEST_SUITE_P(Handshake, BetweenGodwits, testing::Bool(),
                         [](const auto& at) { return at.param ? "ReturnPathOn" : "ByDefault"; });

TEST_P(BetweenGodwits, TheDestinationsErrorIsTheSources)
{
    a.state.mode = 200;  // out of the range that the destination accepts
    begin();
    EXPECT_EQ(a.wait_for_end(), Status::Failed);
    EXPECT_EQ(b->wait_for_end(), Status::Failed);
    EXPECT_THAT(a.error(), HasSubstr("destination: section 'test-device' instance 0: mode: 200 is "
                                     "outside 0..3, at byte"));
    EXPECT_EQ(a.run_state.state(), RunState::Running);
    EXPECT_EQ(b->state.mode, 0) << "the device of the destination is untouched";
}

TEST_P(BetweenGodwits, TheSourceIsDoneOnlyAfterTheDestinationSaidThatItHasEverything)
{
    DeviceState late;
    std::atomic<bool> seen{false};
    bool first = false;
    const auto here = a.registry.add(kTestDevice, late, {.instance_id = 7}).value();
    DeviceState there;
    // The destination's last section: at that time the source must not be done.
    const auto last = b->registry
                          .add(kTestDevice, there, {.instance_id = 7},
                               {.post_load = [&](stream::Version) -> Result<void> {
                                   seen = true;
                                   first = a.service->status() != Status::Completed;
                                   return ok();
                               }})
                          .value();
    begin();
    EXPECT_EQ(a.wait_for_end(), Status::Completed) << a.error();
    EXPECT_TRUE(seen && first);
    EXPECT_EQ(b->wait_for_end(), Status::Completed);
    EXPECT_EQ(b->run_state.state(), RunState::Running);
}

TEST_P(BetweenGodwits, ADestinationThatDiesBeforeItHasEverythingLeavesTheGuestHere)
{
    a.enable({Capability::PauseBeforeSwitchover});
    begin();
    a.wait_for({Status::PreSwitchover});
    b.reset();
    EXPECT_EQ(a.wait_for_end(), Status::Failed);
    EXPECT_EQ(a.run_state.state(), RunState::Running);
}

TEST(Handshake, AQemuIsNotDisturbed)
{
    for (const bool return_path : {true, false}) {
        TestMachine a;
        if (return_path)
            a.enable({Capability::ReturnPath});
        a.start_guest();
        auto [left, right] = io::make_memory_channels().value();
        Peer qemu(std::move(right), echo, shut);
        ASSERT_TRUE(a.migrate_to(std::move(left)));
        EXPECT_EQ(a.wait_for_end(), Status::Completed) << a.error();
        EXPECT_EQ(a.run_state.state(), RunState::Postmigrate);
        EXPECT_TRUE(qemu.read_to_the_end());
    }
}

TEST(Handshake, APeerThatReadsEverythingAndClosesHasTheGuest)
{
    TestMachine a;
    a.start_guest();
    a.write(2, 22);
    auto [left, right] = io::make_memory_channels().value();
    // It cannot answer: a recorder.
    ASSERT_TRUE(right->shutdown(io::Shutdown::Write));
    Peer recorder(std::move(right), {}, {});
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    EXPECT_EQ(a.wait_for_end(), Status::Completed) << a.error();
    EXPECT_TRUE(recorder.read_to_the_end());
}

TEST(Handshake, APeerThatOnlyListensIsWaitedForWhileTheGuestRuns)
{
    FakeClock clock;
    TestMachine a(1 << 20, &clock);
    a.start_guest();
    auto [left, right] = io::make_memory_channels().value();
    Peer mute(std::move(right), {}, {});
    const std::int64_t start = clock.now_ns();
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    EXPECT_EQ(a.wait_for_end(), Status::Completed) << a.error();
    EXPECT_TRUE(mute.read_to_the_end());
    const std::int64_t waited = clock.now_ns() - start;
    EXPECT_GE(waited, 3'000'000'000);
    EXPECT_LE(waited, 5'000'000'000);
    EXPECT_LE(a.service->report().statistics->downtime_ms, 1100);
}

TEST(Handshake, WithTheReturnPathOnTheGuestIsNotStoppedForAPeerThatNeverAnswers)
{
    TestMachine a;
    a.enable({Capability::ReturnPath});
    a.start_guest();
    auto [left, right] = io::make_memory_channels().value();
    Peer mute(std::move(right), {}, {});
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    a.wait_for({Status::Active});
    EXPECT_EQ(a.run_state.state(), RunState::Running);
    ASSERT_TRUE(a.cancel());
    EXPECT_EQ(a.wait_for_end(), Status::Cancelled);
    EXPECT_THAT(a.history(), testing::Not(testing::Contains("STOP")));
}

TEST(Handshake, NonsenseFromAPeerThatNeedNotAnswerIsIgnored)
{
    TestMachine a;
    a.start_guest();
    auto [left, right] = io::make_memory_channels().value();
    Peer odd(std::move(right),
             [](io::Channel& c) { (void)c.write_all(std::vector<std::byte>(64)); }, {});
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    EXPECT_EQ(a.wait_for_end(), Status::Completed) << a.error();
    EXPECT_TRUE(odd.read_to_the_end());
}

TEST(Handshake, ACancelBehindTheEndMarkIsRefusedWhenThePeerNeedNotAnswer)
{
    TestMachine a;
    a.start_guest();
    auto [left, right] = io::make_memory_channels().value();
    std::optional<Result<void>> said;
    Peer quiet(std::move(right), echo, [&](io::Channel&) { said = a.cancel(); });
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    EXPECT_EQ(a.wait_for_end(), Status::Completed) << a.error();
    EXPECT_EQ(a.run_state.state(), RunState::Postmigrate);
    ASSERT_TRUE(said.has_value());
    ASSERT_FALSE(said->has_value());
    EXPECT_EQ(said->error().message(),
              "too late to cancel: the destination may be running the guest");
}

TEST(Handshake, ACancelWhileAGodwitDecidesTakesTheGuestBack)
{
    TestMachine a;
    a.start_guest();
    auto [left, right] = io::make_memory_channels().value();
    // It knows us, reads everything, and does not say that it is ready.
    Peer slow(
        std::move(right),
        [](io::Channel& c) {
            say(c, ReturnMessage::Pong, kGodwitPong);
            echo(c);
        },
        [&](io::Channel&) { EXPECT_TRUE(a.cancel()); });
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    EXPECT_EQ(a.wait_for_end(), Status::Cancelled) << a.error();
    EXPECT_EQ(a.run_state.state(), RunState::Running);
}

/// A Godwit that says it is ready, takes `bytes` of the nine that hand the guest over, and goes
/// away.
Peer hears_of_the_go(io::ChannelPtr channel, std::size_t bytes)
{
    return Peer(
        std::move(channel),
        [](io::Channel& c) {
            say(c, ReturnMessage::Pong, kGodwitPong);
            echo(c);
        },
        [bytes](io::Channel& c) {
            say(c, ReturnMessage::Pong, kGodwitReady);
            std::vector<std::byte> go(bytes);
            EXPECT_TRUE(c.read_exact(go));
            (void)c.shutdown(io::Shutdown::Both);
        });
}

// Nine bytes through a pipe of four, of which the peer takes four: it cannot have the whole word.
TEST(Handshake, AWordThatDidNotLeaveWholeLeavesTheGuestHere)
{
    TestMachine a;
    a.start_guest();
    auto [left, right] = io::make_memory_channels(4).value();
    Peer gone = hears_of_the_go(std::move(right), 4);
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    EXPECT_EQ(a.wait_for_end(), Status::Failed);
    EXPECT_THAT(a.error(), HasSubstr("handing over"));
    EXPECT_EQ(a.run_state.state(), RunState::Running);
}

TEST(Handshake, AGodwitThatGoesAwayAfterTheHandoverKeepsTheGuestStopped)
{
    TestMachine a;
    a.start_guest();
    auto [left, right] = io::make_memory_channels().value();
    Peer gone = hears_of_the_go(std::move(right), 9);
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    EXPECT_EQ(a.wait_for_end(), Status::Failed);
    EXPECT_THAT(a.error(), HasSubstr("after the handover; the destination may be running"));
    EXPECT_EQ(a.run_state.state(), RunState::Postmigrate);
}

}  // namespace
}  // namespace godwit::migration
