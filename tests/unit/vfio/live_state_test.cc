// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The section of a device, from one device of the test kernel to another, in both dialects.
#include "hw/vfio/live_state.h"
#include "system/main_loop.h"
#include "tests/unit/vfio/support.h"

#include <cerrno>
#include <fmt/format.h>

namespace godwit::hw::vfio::test {
namespace {

using enum MigrationState;
using migration::Capabilities;
using migration::Capability;
using migration::StreamReader;
using migration::StreamWriter;
using migration::stream::SectionType;

class TestHost final : public MigrationHost {
public:
    explicit TestHost(OpenDevice& open) : open_(open) {}
    const std::string& name() const override { return open_.backend->name(); }
    std::chrono::milliseconds patience() const override { return std::chrono::seconds(10); }
    bool insists_on_multifd() const override { return multifd; }
    void warn(godwit::Error error) override { warnings.push_back(error.message()); }
    Result<void> save_config(StreamWriter& out) override
    {
        out.put_be32(0x0fd11b36);
        return ok();
    }
    Result<void> load_config(StreamReader& in) override
    {
        config = GW_TRY(in.get_be32());
        if (refuse_config)
            return godwit::Error(Errc::BadFormat, "another device");
        return ok();
    }
    Result<void> recover_by_reset() override { return open_.backend->reset(); }
    void state_changed(MigrationState state) override { events.push_back(state); }
    std::uint64_t untracked_bytes() override { return untracked; }

    std::vector<MigrationState> events;
    std::vector<std::string> warnings;
    bool multifd = false;
    std::uint32_t config = 0;
    bool refuse_config = false;
    std::uint64_t untracked = 0;

private:
    OpenDevice& open_;
};

class Unlimited final : public migration::Budget {
public:
    bool spent(std::uint64_t) override { return false; }
    std::uint64_t room(std::uint64_t) const override { return UINT64_MAX; }
};

/// A machine with one device.
struct Side {
    explicit Side(const DeviceSpec& spec)
        : open(spec), host(open), live(host, lock, must(StateWalker::create(*open.backend))),
          group(run_state), member(group.add(live))
    {
        run_state.set_autostart(true);
        EXPECT_TRUE(run_state.start());
    }
    TestDevice& device() { return open.device; }

    system::MachineLock lock;
    system::RunStateMachine run_state;
    OpenDevice open;
    TestHost host;
    VfioLiveState live;
    MigrationGroup group;
    Registration member;
};

/// Steps of a source; the sections' bodies one after the other, as a destination gets them.
struct Journey {
    Journey(Side& the_from, Side& the_to) : from(the_from), to(the_to) {}

    Result<void> section(SectionType type, const std::function<Result<void>(StreamWriter&)>& body)
    {
        StreamWriter out;
        GW_TRY(body(out));
        const std::vector<std::byte> bytes = out.take();
        StreamReader in(bytes);
        GW_TRY(with_context(to.live.load(in, type, 1), "destination"));
        if (!GW_TRY(in.at_end()))
            return godwit::Error(Errc::BadFormat, "destination: bytes were left");
        return ok();
    }
    Result<void> begin()
    {
        GW_TRY(with_context(to.live.load_setup({capabilities}), "destination"));
        if (to.live.switchover_ack_needed())
            to.live.on_approval([this] { ++approvals; });
        return section(SectionType::Start,
                       [&](StreamWriter& out) { return from.live.setup(out, {capabilities}); });
    }
    Result<void> turn()
    {
        Unlimited budget;
        return section(SectionType::Part, [&](StreamWriter& out) -> Result<void> {
            progress = GW_TRY(from.live.iterate(out, budget));
            return ok();
        });
    }
    Result<void> stop()
    {
        const system::MachineGuard guard(from.lock);
        return from.run_state.stop(system::RunState::FinishMigrate);
    }
    Result<void> end()
    {
        GW_TRY(section(SectionType::End,
                       [&](StreamWriter& out) { return from.live.complete_precopy(out); }));
        return section(SectionType::Full,
                       [&](StreamWriter& out) { return from.live.save_final(out); });
    }
    Result<void> run()
    {
        GW_TRY(begin());
        for (int i = 0; i < 3; ++i)
            GW_TRY(turn());
        GW_TRY(stop());
        return end();
    }
    void clean_up(bool good)
    {
        from.live.cleanup();
        to.live.load_cleanup();
        const system::MachineGuard guard(from.lock);
        if (!good) {
            EXPECT_TRUE(from.run_state.start());
        }
    }

    Side& from;
    Side& to;
    Capabilities capabilities;
    migration::Progress progress = migration::Progress::More;
    int approvals = 0;
};

DeviceSpec spec_of(Dialect dialect, bool p2p, bool precopy, bool mapped = false)
{
    DeviceSpec spec;
    spec.dialect = dialect;
    spec.p2p = p2p;
    spec.precopy = precopy;
    spec.state_bytes = 40 * kChunk + 123;
    spec.v1_mapped = mapped;
    return spec;
}

class LiveState : public ::testing::TestWithParam<std::tuple<Dialect, bool, bool, bool>> {
protected:
    DeviceSpec spec() const
    {
        const auto [dialect, p2p, precopy, mapped] = GetParam();
        return spec_of(dialect, p2p, precopy, mapped);
    }
    bool early() const { return std::get<0>(GetParam()) == Dialect::V1 || std::get<2>(GetParam()); }
};

TEST_P(LiveState, MovesADeviceThatRuns)
{
    Side from(spec());
    Side to(spec());
    from.device().fill_internal(7);
    Journey journey(from, to);
    VFIO_OK(journey.begin());
    EXPECT_EQ(from.device().state(), early() ? PreCopy : Running);
    EXPECT_EQ(to.device().state(), Resuming);
    const auto all = must(from.live.pending_exact());
    EXPECT_GE(all.must_precopy, early() ? 40 * kChunk : 1);
    while (journey.progress == migration::Progress::More)
        VFIO_OK(journey.turn());
    // The device goes on, and what it changes is sent again.
    for (std::size_t chunk : {3, 17}) {
        const auto fresh = bytes_of(fmt::format("changed chunk {}", chunk));
        VFIO_OK(from.device().poke(chunk * kChunk + 5, fresh));
    }
    if (early()) {
        EXPECT_LT(must(from.live.pending_exact()).must_precopy, 5 * kChunk);
    }
    VFIO_OK(journey.turn());
    VFIO_OK(journey.stop());
    EXPECT_EQ(from.device().state(), StopCopy);
    VFIO_OK(journey.end());
    EXPECT_EQ(to.device().state(), std::get<0>(GetParam()) == Dialect::V1 ? Resuming : Stop);
    journey.clean_up(true);
    EXPECT_EQ(from.device().state(), Stop);
    {
        const system::MachineGuard guard(to.lock);
        VFIO_OK(to.group.prepare(true));
        VFIO_OK(to.group.handle(true));
    }
    EXPECT_EQ(to.device().state(), Running);
    EXPECT_EQ(to.device().internal(), from.device().internal());
    EXPECT_EQ(to.host.config, 0x0fd11b36u);
    EXPECT_GE(from.live.transferred(), from.device().internal().size());
    EXPECT_EQ(from.device().resets() + to.device().resets(), 0u);
    EXPECT_EQ(from.device().forbidden_accesses() + to.device().forbidden_accesses(), 0u);
}

TEST_P(LiveState, MovesADeviceOfAPausedGuest)
{
    Side from(spec());
    Side to(spec());
    from.device().fill_internal(9);
    {
        const system::MachineGuard guard(from.lock);
        VFIO_OK(from.run_state.stop(system::RunState::Paused));
    }
    EXPECT_EQ(from.device().state(), Stop);
    Journey journey(from, to);
    VFIO_OK(journey.run());
    journey.clean_up(true);
    EXPECT_EQ(from.device().state(), Stop);
    if (std::get<0>(GetParam()) == Dialect::V1)
        return;  // it checks its data when it starts
    EXPECT_EQ(to.device().state(), Stop);
    EXPECT_EQ(to.device().internal(), from.device().internal());
}

TEST_P(LiveState, AnyRefusalOfTheSourceLeavesItRunningAndAMoveWorksLater)
{
    int refusals = 0;
    for (const MigrationState refused : {PreCopy, PreCopyP2p, RunningP2p, Stop, StopCopy})
        for (const bool broken : {false, true}) {
            Side from(spec());
            Side to(spec());
            from.device().fill_internal(11);
            const auto before = from.device().internal();
            from.device().faults.enter[refused] = {.error = EIO};
            if (broken)
                from.device().faults.enter[refused].lands_in = MigrationState::Error;
            Journey journey(from, to);
            auto moved = journey.run();
            if (moved)
                continue;  // this device does not have the state
            ++refusals;
            EXPECT_NE(message_of(moved).find("0000:3b:00.0: device state "), std::string::npos)
                << message_of(moved);
            EXPECT_NE(message_of(moved).find(std::string(to_string(refused))), std::string::npos)
                << message_of(moved);
            from.device().faults.enter.clear();
            journey.clean_up(false);
            EXPECT_EQ(from.device().state(), Running) << to_string(refused);
            EXPECT_EQ(from.run_state.state(), system::RunState::Running);
            EXPECT_EQ(to.device().state(), Running) << "reset, and of use again";
            if (!broken) {
                EXPECT_EQ(from.device().internal(), before);
            }
            Journey again(from, to);
            VFIO_OK(again.run());
            again.clean_up(true);
        }
    EXPECT_GE(refusals, 4);
}

TEST_P(LiveState, ErrorsOfTheDataNameDeviceStateAndStep)
{
    if (std::get<0>(GetParam()) == Dialect::V1)
        GTEST_SKIP() << "a region of version 1 has no errors but those of its state";
    {
        Side from(spec());
        Side to(spec());
        Journey journey(from, to);
        VFIO_OK(journey.begin());
        from.device().faults.read = EIO;
        auto moved = journey.turn();
        if (moved) {
            VFIO_OK(journey.stop());
            moved = journey.end();
        }
        ASSERT_FALSE(moved);
        EXPECT_NE(message_of(moved).find("0000:3b:00.0: device state "), std::string::npos)
            << message_of(moved);
        EXPECT_NE(message_of(moved).find(": reading its data: "), std::string::npos)
            << message_of(moved);
        from.device().faults.read = 0;
        journey.clean_up(false);
        EXPECT_EQ(from.device().state(), Running);
    }
    Side from(spec());
    Side to(spec());
    Journey journey(from, to);
    VFIO_OK(journey.begin());
    to.device().faults.write = EIO;
    auto moved = journey.turn();
    if (moved) {
        VFIO_OK(journey.stop());
        moved = journey.end();
    }
    ASSERT_FALSE(moved);
    EXPECT_NE(
        message_of(moved).find("destination: 0000:3b:00.0: device state RESUMING: taking in "),
        std::string::npos)
        << message_of(moved);
    journey.clean_up(false);
    EXPECT_EQ(from.device().state(), Running);
    EXPECT_EQ(to.device().state(), Running);
}

TEST_P(LiveState, AConfigurationThatIsRefusedFailsTheLoad)
{
    Side from(spec());
    Side to(spec());
    to.host.refuse_config = true;
    Journey journey(from, to);
    auto moved = journey.run();
    EXPECT_EQ(message_of(moved), "destination: 0000:3b:00.0: configuration: another device");
    journey.clean_up(false);
    EXPECT_EQ(from.device().state(), Running);
    EXPECT_EQ(to.device().state(), Running);
    EXPECT_EQ(to.device().resets(), 1u);
}

TEST_P(LiveState, AResetOfTheDeviceInTheMiddleFailsTheMigration)
{
    Side from(spec());
    Side to(spec());
    Journey journey(from, to);
    VFIO_OK(journey.begin());
    VFIO_OK(from.host.recover_by_reset());
    from.live.was_reset();
    auto moved = journey.turn();
    if (!early()) {  // nothing was open
        VFIO_OK(moved);
        VFIO_OK(journey.stop());
        VFIO_OK(journey.end());
        return;
    }
    EXPECT_NE(message_of(moved).find("the device was reset"), std::string::npos);
    journey.clean_up(false);
    EXPECT_EQ(from.device().state(), Running);
}

TEST_P(LiveState, AStreamCutAnywhereIsAnErrorAndTheDeviceIsOfUseAgain)
{
    DeviceSpec small = spec();
    small.state_bytes = 300;
    Side from(small);
    from.device().fill_internal(3);
    std::vector<std::pair<SectionType, std::vector<std::byte>>> sections;
    Capabilities none;
    const auto note = [&](SectionType type,
                          const std::function<Result<void>(StreamWriter&)>& body) {
        StreamWriter out;
        VFIO_OK(body(out));
        sections.emplace_back(type, out.take());
    };
    note(SectionType::Start, [&](StreamWriter& out) { return from.live.setup(out, {none}); });
    {
        const system::MachineGuard guard(from.lock);
        VFIO_OK(from.run_state.stop(system::RunState::FinishMigrate));
    }
    note(SectionType::End, [&](StreamWriter& out) { return from.live.complete_precopy(out); });
    note(SectionType::Full, [&](StreamWriter& out) { return from.live.save_final(out); });
    from.live.cleanup();

    Side to(small);
    for (std::size_t s = 0; s < sections.size(); ++s)
        for (std::size_t cut = 0; cut < sections[s].second.size(); ++cut) {
            VFIO_OK(to.live.load_setup({none}));
            Result<void> loaded = ok();
            for (std::size_t i = 0; i <= s && loaded; ++i) {
                auto bytes = std::span<const std::byte>(sections[i].second);
                StreamReader in(i == s ? bytes.first(cut) : bytes);
                loaded = to.live.load(in, sections[i].first, 1);
            }
            EXPECT_FALSE(loaded) << s << " cut at " << cut;
            to.live.load_cleanup();
            EXPECT_EQ(to.device().state(), Running);
        }
}

INSTANTIATE_TEST_SUITE_P(V2, LiveState,
                         ::testing::Combine(::testing::Values(Dialect::V2), ::testing::Bool(),
                                            ::testing::Bool(), ::testing::Values(false)));
INSTANTIATE_TEST_SUITE_P(V1, LiveState,
                         ::testing::Values(std::tuple(Dialect::V1, false, true, false),
                                           std::tuple(Dialect::V1, false, true, true)));

// --- The format ----------------------------------------------------------------------------------

std::string marks_of(const std::vector<std::byte>& bytes)
{
    StreamReader in(bytes);
    std::string text;
    while (!must(in.at_end())) {
        const std::uint64_t value = must(in.get_be64());
        if (value == mark::kSetup)
            text += "setup ";
        else if (value == mark::kEnd)
            text += "end ";
        else if (value == mark::kInitDataSent)
            text += "init-sent ";
        else if (value == mark::kConfig) {
            text += "config ";
            EXPECT_TRUE(in.skip(4));
        } else if (value == mark::kData) {
            const std::uint64_t length = must(in.get_be64());
            text += fmt::format("data({}) ", length);
            EXPECT_TRUE(in.skip(length));
        } else {
            return text + "?";
        }
    }
    return text;
}

TEST(LiveStateFormat, IsQemus)
{
    DeviceSpec spec = spec_of(Dialect::V2, true, true);
    spec.state_bytes = 100;
    Side from(spec);
    Unlimited budget;
    Capabilities with_ack;
    with_ack.set(Capability::SwitchoverAck, true);
    StreamWriter out;
    VFIO_OK(from.live.setup(out, {with_ack}));
    EXPECT_EQ(marks_of(out.take()), "setup end ");
    VFIO_OK(from.live.iterate(out, budget));
    EXPECT_EQ(marks_of(out.take()), fmt::format("data({}) init-sent ", 100 + kRecordHeader));
    VFIO_OK(from.live.iterate(out, budget));
    EXPECT_EQ(marks_of(out.take()), "end ");
    {
        const system::MachineGuard guard(from.lock);
        VFIO_OK(from.run_state.stop(system::RunState::FinishMigrate));
    }
    VFIO_OK(from.live.complete_precopy(out));
    EXPECT_EQ(marks_of(out.take()), "data(32) end ");
    VFIO_OK(from.live.save_final(out));
    EXPECT_EQ(marks_of(out.take()), "config end ");
    from.live.cleanup();
}

TEST(LiveStateFormat, TheDestinationApprovesOnceTheInitialBytesAreThere)
{
    Side from(spec_of(Dialect::V2, true, true));
    Side to(spec_of(Dialect::V2, true, true));
    Journey journey(from, to);
    journey.capabilities.set(Capability::SwitchoverAck, true);
    VFIO_OK(journey.begin());
    EXPECT_EQ(journey.approvals, 0);
    while (journey.progress == migration::Progress::More)
        VFIO_OK(journey.turn());
    EXPECT_EQ(journey.approvals, 1);
    VFIO_OK(journey.turn());
    EXPECT_EQ(journey.approvals, 1);
    journey.clean_up(false);
}

TEST(LiveStateFormat, WhatNoSourceSendsIsRefused)
{
    Side to(spec_of(Dialect::V2, true, true));
    const auto loaded = [&](SectionType type, std::vector<std::uint64_t> values) {
        StreamWriter out;
        for (const std::uint64_t value : values)
            out.put_be64(value);
        const auto bytes = out.take();
        StreamReader in(bytes);
        return message_of(to.live.load(in, type, 1));
    };
    VFIO_OK(to.live.load_setup({Capabilities()}));
    EXPECT_EQ(loaded(SectionType::Part, {0x1234}), "0000:3b:00.0: unknown mark 0x1234, at byte 8");
    EXPECT_EQ(loaded(SectionType::Part, {mark::kConfig}),
              "0000:3b:00.0: unknown mark 0xffffffffef100002, at byte 8");
    EXPECT_EQ(loaded(SectionType::Start, {mark::kSetup, mark::kData}),
              "0000:3b:00.0: 0xffffffffef100004 instead of the end mark behind the setup mark, at "
              "byte 16");
    EXPECT_EQ(loaded(SectionType::Full, {mark::kEnd}),
              "0000:3b:00.0: 0xffffffffef100001 instead of the configuration mark, at byte 8");
    EXPECT_EQ(loaded(SectionType::Part, {mark::kInitDataSent}),
              "0000:3b:00.0: INIT_DATA_SENT, but switchover-ack is not in use here, at byte 8");
    to.live.load_cleanup();
    EXPECT_NE(loaded(SectionType::Part, {mark::kData, 8, 0}).find("not the state for that"),
              std::string::npos);
}

TEST(LiveStateFormat, WhatCannotGoTogetherIsRefusedInQemusWords)
{
    Side from(spec_of(Dialect::V2, true, true));
    StreamWriter out;
    Capabilities c;
    c.set(Capability::PostcopyRam, true);
    EXPECT_EQ(message_of(from.live.setup(out, {c})),
              "0000:3b:00.0: VFIO migration is not supported with postcopy migration");
    from.live.cleanup();
    Capabilities s;
    s.set(Capability::BackgroundSnapshot, true);
    EXPECT_EQ(message_of(from.live.setup(out, {s})),
              "0000:3b:00.0: VFIO migration is not supported with background snapshot");
    from.live.cleanup();
    from.host.multifd = true;
    EXPECT_EQ(message_of(from.live.setup(out, {Capabilities()})),
              "0000:3b:00.0: Multifd device transfer requested but unsupported in the current "
              "config");
    from.live.cleanup();
    EXPECT_EQ(from.device().state(), Running);
}

TEST(LiveStatePending, UnknownSizesAndUntrackedMemoryCount)
{
    DeviceSpec spec = spec_of(Dialect::V2, true, false);
    spec.data_size = false;
    Side from(spec);
    StreamWriter out;
    VFIO_OK(from.live.setup(out, {Capabilities()}));
    EXPECT_EQ(must(from.live.pending_estimate()).total(), 0u);
    EXPECT_EQ(must(from.live.pending_exact()).must_precopy, kUnknownSize);
    from.host.untracked = 12345;
    EXPECT_EQ(must(from.live.pending_exact()).must_precopy, kUnknownSize + 12345);
    EXPECT_EQ(must(from.live.pending_estimate()).must_precopy, 12345u);
    from.live.cleanup();
}

TEST(LiveStateEvents, OneForEachStateThatWasWanted)
{
    Side from(spec_of(Dialect::V2, true, true));
    Side to(spec_of(Dialect::V2, true, true));
    Journey journey(from, to);
    VFIO_OK(journey.run());
    journey.clean_up(true);
    EXPECT_EQ(from.host.events, (std::vector{PreCopy, PreCopyP2p, StopCopy, Stop}));
    EXPECT_EQ(to.host.events, (std::vector{Resuming, Stop}));
}

TEST(LiveStatePause, AGuestThatGoesOnAfterAPauseInPreCopyFailsTheMigrationOnly)
{
    Side from(spec_of(Dialect::V2, true, true));
    Side to(spec_of(Dialect::V2, true, true));
    Journey journey(from, to);
    VFIO_OK(journey.begin());
    {
        const system::MachineGuard guard(from.lock);
        VFIO_OK(from.run_state.stop(system::RunState::Paused));
        VFIO_OK(from.run_state.start());
    }
    EXPECT_EQ(from.device().state(), Running);
    EXPECT_FALSE(journey.turn());
    journey.clean_up(false);
    EXPECT_EQ(from.device().state(), Running);
}

}  // namespace
}  // namespace godwit::hw::vfio::test
