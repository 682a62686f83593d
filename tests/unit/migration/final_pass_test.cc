// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The order of the final pass, and what happens when a step says no. docs/migration/final-pass.md.
#include "migration/live_state.h"
#include "tests/unit/migration/test_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace godwit::migration {
namespace {

using system::RunState;
using testing::ElementsAre;
using testing::HasSubstr;

// A handler that notes its calls and sends a byte of its own.
class Noted final : public LiveStateHandler {
public:
    explicit Noted(TestMachine& machine) : machine_(machine) {}
    Result<void> setup(StreamWriter& out, const SourceContext&) override
    {
        out.put_u8(1);
        return ok();
    }
    Result<Pending> pending_estimate() override { return Pending{}; }
    Result<Pending> pending_exact() override { return Pending{}; }
    Result<Progress> iterate(StreamWriter& out, Budget&) override
    {
        out.put_u8(2);
        return Progress::Done;
    }
    Result<void> complete_precopy(StreamWriter& out) override
    {
        machine_.note("live complete");
        if (!refusal.empty())
            return Error(Errc::Io, refusal);
        out.put_u8(3);
        return ok();
    }
    Result<void> complete_postcopy(StreamWriter&) override { return ok(); }
    void cleanup() noexcept override { ++cleanups; }
    Result<void> load_setup(const DestinationContext&) override { return ok(); }
    Result<void> load(StreamReader& in, stream::SectionType type, Version) override
    {
        const std::uint8_t value = GW_TRY(in.get_u8());
        machine_.note("load " + std::to_string(value));
        return value == static_cast<std::uint8_t>(type)
                   ? ok()
                   : Result<void>(Error(Errc::BadFormat, "another section's byte"));
    }
    void load_cleanup() noexcept override { ++load_cleanups; }

    std::string refusal;
    int cleanups = 0;
    int load_cleanups = 0;

private:
    TestMachine& machine_;
};

// Everything that can happen in the final pass, noted by name.
struct Observed : TestMachine {
    Observed() : noted(*this)
    {
        live = registry.add_live("noted", 1, stream::Priority::Default, noted).value();
        notifier = service->notifiers().add({"flusher", 0, [this](Moment m) -> Result<void> {
                                                 note(std::string(to_string(m)));
                                                 if (m == refuse_at)
                                                     return Error(Errc::Busy, "table is busy");
                                                 if (m == Moment::InCompletion)
                                                     write(7, 0xf1f1);
                                                 return ok();
                                             }});
        watched = registry
                      .add(kTestDevice, extra, {.instance_id = 9},
                           {.pre_save = [this] { return note("device"), ok(); }})
                      .value();
        handler =
            run_state.add({.priority = 0,
                           .name = "vfio",
                           .prepare = [this](bool, RunState) { return note("prepare"), ok(); },
                           .handle = [this](bool, RunState) { return note("handle"), ok(); }});
        dirty.on_sync = [this](bool last) {
            if (last) {
                note("last sync");
                write(8, 0x5151);
            }
        };
    }

    ~Observed() { service->shut_down(); }

    Noted noted;
    DeviceState extra;
    std::optional<Moment> refuse_at;
    Registration live;
    Registration notifier;
    Registration watched;
    Registration handler;
};

TEST(FinalPass, HappensInTheOrderThatTheDesignPromises)
{
    Observed a;
    Observed b;
    a.enable({Capability::Events});
    a.start_guest();
    a.forget();
    move(a, b);
    EXPECT_THAT(a.history(),
                ElementsAre("setup", "setup", "pass 1", "active", "pass 2", "vcpus stop", "prepare",
                            "handle", "STOP", "device", "in-completion", "last sync", "pass 3",
                            "live complete", "device", "completed", "completed"));
}

TEST(FinalPass, WhatAHookWritesAndWhatASyncFindsLastArrives)
{
    Observed a;
    Observed b;
    a.start_guest();
    move(a, b);
    EXPECT_EQ(b.word(7), 0xf1f1u) << "written by the in-completion notifier";
    EXPECT_EQ(b.word(8), 0x5151u) << "reported by the last dirty sync";
    EXPECT_EQ(a.noted.cleanups, 1);
    EXPECT_EQ(b.noted.load_cleanups, 1);
}

TEST(FinalPass, ARefusalAtSetupReachesTheClientAndTheGuestNeverStops)
{
    Observed a;
    Observed b;
    a.refuse_at = Moment::Setup;
    a.start_guest();
    auto [left, right] = io::make_memory_channels().value();
    ASSERT_TRUE(b.expect_from(std::move(right)));
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    EXPECT_EQ(a.wait_for_end(), Status::Failed);
    EXPECT_EQ(a.error(), "flusher: table is busy");
    EXPECT_EQ(a.run_state.state(), RunState::Running);
    EXPECT_THAT(a.history(), testing::Not(testing::Contains("STOP")));
}

TEST(FinalPass, ARefusalAtInCompletionFailsAndTheGuestRunsOn)
{
    Observed a;
    Observed b;
    a.refuse_at = Moment::InCompletion;
    a.start_guest();
    auto [left, right] = io::make_memory_channels().value();
    ASSERT_TRUE(b.expect_from(std::move(right)));
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    EXPECT_EQ(a.wait_for_end(), Status::Failed);
    EXPECT_EQ(b.wait_for_end(), Status::Failed);
    EXPECT_EQ(a.error(), "flusher: table is busy");
    EXPECT_EQ(a.run_state.state(), RunState::Running);
    EXPECT_FALSE(a.dirty.started);
    // And it can go again.
    a.refuse_at.reset();
    a.forget();
    Observed c;
    move(a, c);
    EXPECT_EQ(c.run_state.state(), RunState::Running);
}

TEST(FinalPass, AHandlerThatCannotCompleteFailsAndTheGuestRunsOn)
{
    Observed a;
    Observed b;
    a.noted.refusal = "device gone";
    a.start_guest();
    auto [left, right] = io::make_memory_channels().value();
    ASSERT_TRUE(b.expect_from(std::move(right)));
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    EXPECT_EQ(a.wait_for_end(), Status::Failed);
    EXPECT_EQ(a.error(), "noted: device gone");
    EXPECT_EQ(a.run_state.state(), RunState::Running);
    EXPECT_EQ(a.noted.cleanups, 1);
}

TEST(FinalPass, PausesBeforeSwitchoverUntilTold)
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
    EXPECT_EQ(a.run_state.state(), RunState::FinishMigrate);
    {
        const system::MachineGuard guard(a.lock);
        EXPECT_EQ(a.service->continue_from(Status::Active).error().message(),
                  "Migration not in expected state: pre-switchover");
        ASSERT_TRUE(a.service->continue_from(Status::PreSwitchover));
    }
    EXPECT_EQ(a.wait_for_end(), Status::Completed);
    EXPECT_EQ(b.wait_for_end(), Status::Completed);
    const auto events = a.history();
    const auto at = [&](const char* name) { return std::ranges::find(events, name); };
    EXPECT_LT(at("STOP"), at("pre-switchover"));
    EXPECT_LT(at("pre-switchover"), at("device"));
}

TEST(FinalPass, SaysWhereTheDowntimeWent)
{
    TestMachine a;
    TestMachine b;
    a.enable({Capability::ReturnPath});
    a.start_guest();
    move(a, b);
    std::vector<std::string> names;
    for (const SwitchoverPart& part : a.service->report().statistics->switchover_parts())
        names.push_back(part.name);
    EXPECT_THAT(names, ElementsAre("stop", "last-sync", "ram", "timer", "test-device",
                                   "globalstate", "flush", "handover", "resume"));
    for (const SwitchoverPart& part : a.service->report().statistics->switchover_parts()) {
        EXPECT_GE(part.ns, 0) << part.name;
        EXPECT_EQ(part.predicted_ns >= 0, part.name != "stop") << part.name;
    }
    EXPECT_GE(a.service->report().statistics->predicted_downtime_ns, 0);
}

// --- Any other order loses something
// --------------------------------------------------------------

// What each step owes the next, as bytes that must arrive.
struct Owing : TestMachine {
    Owing()
    {
        // The vCPU's last store, which becomes visible when it has left the guest.
        run_state.set_hooks({.pause_vcpus = [this] { write(5, 55); },
                             .resume_vcpus = [] {},
                             .stop_clock = {},
                             .start_clock = {},
                             .emit = {}});
        // A table that is made from the guest's memory and written back to it.
        notifier = service->notifiers().add({"table", 0, [this](Moment m) -> Result<void> {
                                                 if (m == Moment::InCompletion)
                                                     write(7, word(5) + 1);
                                                 return ok();
                                             }});
        // A device whose last DMA only its own log knows.
        dirty.on_sync = [this](bool last) {
            if (last)
                write(8, 88);
        };
        // A device that looks at guest memory when it is loaded.
        reader = registry
                     .add(kTestDevice, extra, {.instance_id = 9},
                          {.post_load = [this](stream::Version) -> Result<void> {
                              read = {word(5), word(7), word(8)};
                              return ok();
                          }})
                     .value();
    }
    ~Owing() { service->shut_down(); }

    DeviceState extra{.value = 4711};
    std::array<std::uint64_t, 3> read{};
    Registration notifier;
    Registration reader;
};

// Whether everything arrived.
bool arrives(const std::array<std::uint8_t, Environment::kFinalSteps>& order)
{
    Owing a;
    Owing b;
    b.extra = {};
    a.service->set_final_pass(order);
    a.start_guest();
    auto [left, right] = io::make_memory_channels(1 << 20).value();
    EXPECT_TRUE(b.expect_from(std::move(right)));
    EXPECT_TRUE(a.migrate_to(std::move(left)));
    if (a.wait_for_end() != Status::Completed || b.wait_for_end() != Status::Completed)
        return false;
    const std::array<std::uint64_t, 3> right_words{55, 56, 88};
    return b.extra.value == 4711 && b.read == right_words && b.word(5) == 55 && b.word(7) == 56 &&
           b.word(8) == 88;
}

TEST(FinalPassOrder, LosesNothingAsTheDesignHasIt)
{
    EXPECT_TRUE(arrives({0, 1, 2, 3, 4, 5}));
}

TEST(FinalPassOrder, LosesSomethingWhenAnyTwoStepsChangePlaces)
{
    constexpr std::array<const char*, Environment::kFinalSteps> kNames = {
        "stop", "flush into memory", "last sync", "pages", "devices", "end mark"};
    for (std::size_t i = 0; i < kNames.size(); ++i)
        for (std::size_t j = i + 1; j < kNames.size(); ++j) {
            std::array<std::uint8_t, Environment::kFinalSteps> order{0, 1, 2, 3, 4, 5};
            std::swap(order[i], order[j]);
            EXPECT_FALSE(arrives(order)) << kNames[i] << " <-> " << kNames[j];
        }
}

}  // namespace
}  // namespace godwit::migration
