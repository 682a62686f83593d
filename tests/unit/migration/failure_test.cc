// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Cancelled, cut and hostile: the source's guest runs on, the destination says what was wrong.
#include "io/socket.h"
#include "migration/handshake.h"
#include "migration/stream/channel_stream.h"
#include "tests/unit/migration/test_machine.h"

#include <chrono>
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <thread>

namespace godwit::migration {
namespace {

using system::RunState;
using testing::AnyOf;
using testing::HasSubstr;

// A peer that says nothing and reads nothing.
struct Stalled {
    io::ChannelPtr ours;
    io::ChannelPtr theirs;
    Stalled()
    {
        auto [left, right] = io::make_memory_channels(4096).value();
        ours = std::move(left);
        theirs = std::move(right);
    }
};

TEST(Cancel, AStalledPeerDoesNotKeepTheGuest)
{
    TestMachine a(4 << 20);
    std::memset(a.ram->host(), 0x77, a.ram->used_length());
    a.start_guest();
    Stalled peer;
    ASSERT_TRUE(a.migrate_to(std::move(peer.ours)));
    a.wait_for({Status::Setup});
    const auto before = std::chrono::steady_clock::now();
    ASSERT_TRUE(a.cancel());
    EXPECT_EQ(a.wait_for_end(), Status::Cancelled);
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(2000));
    EXPECT_EQ(a.run_state.state(), RunState::Running);
    EXPECT_EQ(a.error(), "");
}

TEST(Cancel, InPreSwitchoverResumesTheGuest)
{
    TestMachine a;
    TestMachine b;
    a.enable({Capability::PauseBeforeSwitchover, Capability::Events});
    a.start_guest();
    a.forget();
    auto [left, right] = io::make_memory_channels().value();
    ASSERT_TRUE(b.expect_from(std::move(right)));
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    a.wait_for({Status::PreSwitchover});
    ASSERT_TRUE(a.cancel());
    EXPECT_EQ(a.wait_for_end(), Status::Cancelled);
    EXPECT_EQ(a.run_state.state(), RunState::Running);
    EXPECT_EQ(b.wait_for_end(), Status::Failed);
    const auto events = a.history();
    const auto at = [&](const char* name) { return std::ranges::find(events, name); };
    EXPECT_LT(at("cancelling"), at("RESUME"));
    EXPECT_LT(at("RESUME"), at("cancelled"));
}

TEST(Cancel, WhileADestinationWithoutGodwitsHandshakeLoadsResumesTheGuest)
{
    // A destination that reads everything, answers the ping as a QEMU does, and never says SHUT.
    TestMachine a;
    a.enable({Capability::ReturnPath});
    a.start_guest();
    auto [left, right] = io::make_memory_channels().value();
    std::thread peer([channel = std::move(right)]() mutable {
        std::vector<std::byte> buffer(65536);
        bool answered = false;
        for (;;) {
            const auto got = channel->read_some(buffer);
            if (!got || *got == 0)
                return;
            if (!std::exchange(answered, true)) {
                stream::StreamWriter out;
                stream::write_return_be32(out, stream::ReturnMessage::Pong, kGodwitPing);
                (void)channel->write_all(out.take());
            }
        }
    });
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    a.wait_for({Status::Device});
    ASSERT_TRUE(a.cancel());
    EXPECT_EQ(a.wait_for_end(), Status::Cancelled);
    EXPECT_EQ(a.run_state.state(), RunState::Running);
    peer.join();
}

TEST(Cancel, DoesNothingWhenNothingRuns)
{
    TestMachine a;
    EXPECT_TRUE(a.cancel());
    EXPECT_EQ(a.service->status(), Status::None);
}

// --- What is left behind -------------------------------------------------------------------------

std::ptrdiff_t descriptors()
{
    return std::ranges::distance(std::filesystem::directory_iterator("/proc/self/fd"));
}

TEST(Cancel, LeavesNoDescriptorBehind)
{
    TestMachine a;
    a.start_guest();
    const auto before = descriptors();
    {
        Stalled peer;
        ASSERT_TRUE(a.migrate_to(std::move(peer.ours)));
        a.wait_for({Status::Setup});
        ASSERT_TRUE(a.cancel());
        EXPECT_EQ(a.wait_for_end(), Status::Cancelled);
    }
    EXPECT_EQ(descriptors(), before);
}

TEST(Move, LeavesNoDescriptorBehindOnEitherSide)
{
    TestMachine a;
    TestMachine b;
    const auto before = descriptors();
    ASSERT_NO_FATAL_FAILURE(move(a, b));
    // The destination says that it is done before it has let go of everything.
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (descriptors() != before && std::chrono::steady_clock::now() < end)
        std::this_thread::yield();
    EXPECT_EQ(descriptors(), before);
}

// --- The connection is cut ----------------------------------------------------------------------

std::vector<std::byte> recorded()
{
    TestMachine a(64 << 10);
    a.write(1, 11);
    a.write(9, 99);
    a.state = {5, 1};
    auto [left, right] = io::make_memory_channels(1 << 20).value();
    EXPECT_TRUE(right->shutdown(io::Shutdown::Write));  // it will not answer
    EXPECT_TRUE(a.migrate_to(std::move(left)));
    EXPECT_EQ(a.wait_for_end(), Status::Completed);
    std::vector<std::byte> all;
    std::vector<std::byte> buffer(65536);
    for (;;) {
        const auto got = right->read_some(buffer);
        if (!got || *got == 0)
            return all;
        all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<long>(*got));
    }
}

// What becomes of a destination that gets exactly these bytes.
struct Outcome {
    Status status;
    std::string error;
    std::unique_ptr<TestMachine> machine;
};

Outcome loaded(std::span<const std::byte> bytes)
{
    auto b = std::make_unique<TestMachine>(64 << 10);
    auto [left, right] = io::make_memory_channels(1 << 20).value();
    EXPECT_TRUE(b->expect_from(std::move(right)));
    EXPECT_TRUE(left->write_all(bytes));
    EXPECT_TRUE(left->shutdown(io::Shutdown::Write));
    const Status end = b->wait_for_end();
    std::string error = b->error();
    return {end, std::move(error), std::move(b)};
}

TEST(CutStream, LoadsOnlyWhenTheEndMarkArrived)
{
    const auto bytes = recorded();
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::size_t description = text.find("{\"configuration\"");
    ASSERT_NE(description, std::string_view::npos);
    const std::size_t end = description - 5;  // behind the end mark
    // Every byte of the device part, and every 97th of the pages.
    const std::size_t devices = text.find("timer") - 6;
    for (std::size_t length = 0; length <= bytes.size();
         length += length < devices && length > 200 ? 97 : 1) {
        if (length > end + 50)
            length = bytes.size();
        const auto outcome = loaded(std::span(bytes).first(length));
        if (length < end) {
            ASSERT_EQ(outcome.status, Status::Failed) << length;
            ASSERT_THAT(outcome.error, HasSubstr(std::to_string(length))) << "names the byte";
            ASSERT_EQ(outcome.machine->run_state.state(), RunState::Inmigrate);
        } else {
            ASSERT_EQ(outcome.status, Status::Completed) << length << outcome.error;
            ASSERT_EQ(outcome.machine->word(9), 99u);
        }
        if (length == bytes.size())
            break;
    }
}

TEST(CutStream, TheSourcesGuestRunsOnWhereverItIsCut)
{
    const auto bytes = recorded();
    for (std::size_t take :
         {std::size_t{0}, std::size_t{20}, std::size_t{5000}, bytes.size() / 2}) {
        TestMachine a(4 << 20);
        std::memset(a.ram->host(), 0x31, a.ram->used_length());
        a.start_guest();
        auto [left, right] = io::make_memory_channels(4096).value();
        std::thread peer([channel = std::move(right), take]() mutable {
            std::vector<std::byte> buffer(take);
            if (take != 0)
                (void)channel->read_exact(buffer);
            (void)channel->shutdown(io::Shutdown::Both);
        });
        ASSERT_TRUE(a.migrate_to(std::move(left)));
        EXPECT_EQ(a.wait_for_end(), Status::Failed);
        EXPECT_NE(a.error(), "");
        EXPECT_EQ(a.run_state.state(), RunState::Running);
        EXPECT_FALSE(a.dirty.started);
        peer.join();
    }
}

// --- Hostile bytes
// --------------------------------------------------------------------------------

TEST(HostileStream, EveryByteChangedEndsInSuccessOrOneError)
{
    const auto bytes = recorded();
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::size_t end = text.find("{\"configuration\"");
    for (std::size_t at = 0; at < end; at += at > 150 && at < 8000 ? 61 : 1) {
        auto changed = bytes;
        changed[at] ^= std::byte{0xff};
        const auto outcome = loaded(changed);
        ASSERT_THAT(outcome.status, AnyOf(Status::Completed, Status::Failed)) << at;
        if (outcome.status == Status::Failed) {
            ASSERT_NE(outcome.error, "") << at;
        }
    }
}

TEST(HostileStream, ErrorsNameWhatWasWrong)
{
    auto bytes = recorded();
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::size_t name = text.find("test-device");
    auto unknown = bytes;
    unknown[name] = std::byte{'b'};
    EXPECT_THAT(loaded(unknown).error,
                HasSubstr("Unknown savevm section or instance 'best-device' 0"));
    auto newer = bytes;
    newer[name + 11 + 7] = std::byte{9};
    EXPECT_THAT(loaded(newer).error,
                HasSubstr("savevm: unsupported version 9 for 'test-device' v2"));
    auto mode = bytes;
    mode[name + 11 + 8 + 4] = std::byte{4};
    EXPECT_THAT(loaded(mode).error,
                HasSubstr("section 'test-device' instance 0: mode: 4 is outside 0..3, at byte"));
    auto footer = bytes;
    footer[name + 11 + 8 + 5] = std::byte{0};
    EXPECT_THAT(loaded(footer).error, HasSubstr("Missing section footer for test-device"));
}

// --- Sections that the destination does not know
// ----------------------------------------------------

struct Extra {
    std::uint16_t a = 7;
    bool more = true;
    std::array<std::uint32_t, 3> list{1, 2, 3};
};
constexpr auto kExtraMore =
    stream::vmstate<Extra>("extra/more", {}, stream::field<&Extra::more>("more"));
constexpr auto kExtra =
    stream::vmstate<Extra>("extra", {}, stream::field<&Extra::a>("a"),
                           stream::field<&Extra::list>("list"), stream::subsection(kExtraMore));

void move_with_extra(bool ignore, TestMachine& a, TestMachine& b)
{
    Extra extra;
    const auto one = a.registry.add(kExtra, extra).value();
    const auto two = a.registry.add(kExtra, extra).value();
    DeviceState behind{77, 1};
    DeviceState behind_there;
    const auto here = a.registry.add(kTestDevice, behind, {.instance_id = 5}).value();
    const auto there = b.registry.add(kTestDevice, behind_there, {.instance_id = 5}).value();
    b.service->set_ignore_unknown_sections(ignore);
    a.start_guest();
    a.write(3, 33);
    auto [left, right] = io::make_memory_channels(4096).value();
    ASSERT_TRUE(b.expect_from(std::move(right)));
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    a.wait_for_end();
    b.wait_for_end();
    EXPECT_EQ(behind_there.value, ignore ? 77u : 0u);
}

TEST(UnknownSection, IsRefusedByNameByDefault)
{
    TestMachine a;
    TestMachine b;
    move_with_extra(false, a, b);
    EXPECT_THAT(b.error(), HasSubstr("Unknown savevm section or instance 'extra' 0"));
    EXPECT_THAT(a.error(), HasSubstr("Unknown savevm section or instance 'extra' 0"));
    EXPECT_EQ(a.run_state.state(), RunState::Running);
}

TEST(UnknownSection, IsSkippedByTheSelfDescriptionWhenAllowed)
{
    TestMachine a;
    TestMachine b;
    move_with_extra(true, a, b);
    EXPECT_EQ(b.service->status(), Status::Completed) << b.error();
    EXPECT_EQ(b.word(3), 33u);
}

// --- Refusals
// ---------------------------------------------------------------------------------------

TEST(Migrate, IsRefusedInQemusWords)
{
    TestMachine a;
    a.start_guest();
    auto blocker = a.service->block("something stands in the way").value();
    Stalled peer;
    EXPECT_EQ(a.migrate_to(std::move(peer.ours)).error().message(), "something stands in the way");
    blocker.reset();
    Stalled other;
    ASSERT_TRUE(a.migrate_to(std::move(other.ours)));
    Stalled third;
    EXPECT_EQ(a.migrate_to(std::move(third.ours)).error().message(),
              "There's a migration process in progress");
    const CapabilityChange change{Capability::Events, true};
    EXPECT_EQ(a.service->set_capabilities({&change, 1}).error().message(),
              "There's a migration process in progress");
    ASSERT_TRUE(a.cancel());
    EXPECT_EQ(a.wait_for_end(), Status::Cancelled);
    TestMachine b;
    a.forget();
    move(a, b);
    Stalled fourth;
    EXPECT_EQ(a.migrate_to(std::move(fourth.ours)).error().message(),
              "Can't migrate the vm that was paused due to previous migration");
}

TEST(Migrate, ALogThatCannotStartFailsBeforeTheGuestStops)
{
    TestMachine a;
    a.dirty.refusal = "no dirty log";
    a.enable({Capability::Events});
    a.start_guest();
    a.forget();
    Stalled peer;
    ASSERT_TRUE(a.migrate_to(std::move(peer.ours)));
    EXPECT_EQ(a.wait_for_end(), Status::Failed);
    EXPECT_EQ(a.error(), "ram: no dirty log");
    EXPECT_EQ(a.run_state.state(), RunState::Running);
    EXPECT_THAT(a.history(), testing::ElementsAre("setup", "active", "failed"));
}

}  // namespace
}  // namespace godwit::migration
