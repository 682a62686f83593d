// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/run_state.h"

#include <gtest/gtest.h>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace godwit::system {
namespace {

using enum RunState;

constexpr int kStates = static_cast<int>(Colo) + 1;

// QEMU's table, by row, once more: a slip in either copy shows.
const std::map<RunState, std::set<RunState>> kTable = {
    {Debug, {Running, FinishMigrate, Prelaunch, Suspended}},
    {Inmigrate,
     {InternalError, IoError, Paused, Running, Shutdown, Suspended, Watchdog, GuestPanicked,
      FinishMigrate, Prelaunch, Postmigrate, Colo}},
    {InternalError, {Paused, FinishMigrate, Prelaunch}},
    {IoError, {Running, FinishMigrate, Prelaunch}},
    {Paused, {Running, FinishMigrate, Postmigrate, Prelaunch, Colo, Suspended}},
    {Postmigrate, {Running, FinishMigrate, Prelaunch, Suspended}},
    {Prelaunch, {Inmigrate, Running, FinishMigrate, Suspended}},
    {FinishMigrate,
     {Running, Paused, Postmigrate, Prelaunch, Colo, InternalError, IoError, Shutdown, Suspended,
      Watchdog, GuestPanicked}},
    {RestoreVm, {Running, Prelaunch, Suspended, Paused}},
    {Running,
     {Debug, InternalError, IoError, Paused, FinishMigrate, RestoreVm, SaveVm, Shutdown, Suspended,
      Watchdog, GuestPanicked, Colo}},
    {SaveVm, {Running, Suspended, Paused}},
    {Shutdown, {Paused, FinishMigrate, Prelaunch, Colo}},
    {Suspended, {Running, FinishMigrate, Prelaunch, Colo, Paused, SaveVm, RestoreVm, Shutdown}},
    {Watchdog, {Running, FinishMigrate, Prelaunch, Colo}},
    {GuestPanicked, {Running, FinishMigrate, Prelaunch}},
    {Colo, {Running, Prelaunch, Shutdown}},
};

class RunStateRow : public ::testing::TestWithParam<int> {};

TEST_P(RunStateRow, AllowsExactlyItsMoves)
{
    const auto from = static_cast<RunState>(GetParam());
    for (int i = 0; i < kStates; ++i) {
        const auto to = static_cast<RunState>(i);
        const bool legal = from == to || kTable.at(from).contains(to);
        EXPECT_EQ(is_legal_move(from, to), legal) << to_string(from) << " -> " << to_string(to);
    }
}

INSTANTIATE_TEST_SUITE_P(All, RunStateRow, ::testing::Range(0, kStates), [](const auto& row) {
    std::string name(to_string(static_cast<RunState>(row.param)));
    std::erase(name, '-');
    return name;
});

TEST(RunState, NamesReadBack)
{
    for (int i = 0; i < kStates; ++i)
        EXPECT_EQ(qapi::from_string<RunState>(to_string(static_cast<RunState>(i))),
                  static_cast<RunState>(i));
    EXPECT_EQ(qapi::from_string<RunState>("sleeping"), std::nullopt);
}

/// A machine whose hooks and handlers write down when they are called.
struct Recorded : ::testing::Test {
    RunStateMachine run;
    std::vector<std::string> calls;

    Recorded()
    {
        run.set_hooks({
            .pause_vcpus = [this] { calls.push_back("pause"); },
            .resume_vcpus = [this] { calls.push_back("resume"); },
            .stop_clock = [this] { calls.push_back("stop clock"); },
            .start_clock = [this] { calls.push_back("start clock"); },
            .emit = [this](std::string_view event) { calls.emplace_back(event); },
        });
    }
    Registration handler(int priority, const std::string& name)
    {
        return run.add({.priority = priority,
                        .name = name,
                        .prepare = [this, name](bool, RunState) -> Result<void> {
                            calls.push_back("prepare " + name);
                            return {};
                        },
                        .handle = [this, name](bool, RunState) -> Result<void> {
                            calls.push_back("handle " + name);
                            return {};
                        }});
    }
};

TEST_F(Recorded, StartTellsInAscendingOrderBeforeVcpusRun)
{
    const auto high = handler(10, "high");
    const auto low = handler(-10, "low");
    ASSERT_TRUE(run.start());
    EXPECT_EQ(calls,
              (std::vector<std::string>{"RESUME", "start clock", "prepare low", "prepare high",
                                        "handle low", "handle high", "resume"}));
}

TEST_F(Recorded, StopTellsInDescendingOrderAfterVcpusLeft)
{
    const auto high = handler(10, "high");
    const auto low = handler(-10, "low");
    ASSERT_TRUE(run.start());
    calls.clear();
    ASSERT_TRUE(run.stop(Paused));
    EXPECT_EQ(calls, (std::vector<std::string>{"stop clock", "pause", "prepare high", "prepare low",
                                               "handle high", "handle low", "STOP"}));
    EXPECT_EQ(run.state(), Paused);
}

TEST_F(Recorded, RemovedHandlersAreNotCalled)
{
    handler(0, "gone").reset();
    ASSERT_TRUE(run.start());
    EXPECT_EQ(calls, (std::vector<std::string>{"RESUME", "start clock", "resume"}));
}

TEST_F(Recorded, AHandlerThatFailsDoesNotKeepTheOthersFromHearing)
{
    const auto bad = run.add({.name = "vfio", .handle = [](bool, RunState) -> Result<void> {
                                  return Error(Errc::Io, "no answer");
                              }});
    const auto good = handler(5, "good");
    const auto done = run.start();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().message(), "vfio: no answer");
    EXPECT_EQ(calls.back(), "resume");
}

TEST_F(Recorded, AGuestThatArrivedRunsOnlyIfAllHandlersAgree)
{
    ASSERT_TRUE(run.set(Inmigrate));
    bool agrees = false;
    const auto good = handler(-5, "good");
    const auto bad =
        run.add({.name = "vfio", .handle = [&](bool running, RunState) {
                     return !running || agrees ? Result<void>() : Error(Errc::Io, "no answer");
                 }});
    const auto done = run.start();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().message(), "vfio: no answer");
    EXPECT_EQ(run.state(), Inmigrate);
    EXPECT_EQ(calls, (std::vector<std::string>{"start clock", "prepare good", "handle good",
                                               "prepare good", "handle good", "stop clock"}));
    calls.clear();
    agrees = true;
    ASSERT_TRUE(run.start());
    EXPECT_EQ(run.state(), Running);
    EXPECT_EQ(calls, (std::vector<std::string>{"start clock", "prepare good", "handle good",
                                               "RESUME", "resume"}));
}

TEST_F(Recorded, ASecondStartSaysNothing)
{
    ASSERT_TRUE(run.start());
    calls.clear();
    ASSERT_TRUE(run.cont());
    EXPECT_TRUE(calls.empty());
}

TEST_F(Recorded, StopOfAStoppedGuestChangesTheStateOnly)
{
    ASSERT_TRUE(run.stop(FinishMigrate));
    EXPECT_TRUE(calls.empty());
    EXPECT_EQ(run.state(), FinishMigrate);
}

// The machine lock is free while the vCPUs are waited for: `stop`, and a migration at its end.
TEST_F(Recorded, AStopWaitsForTheOneThatIsUnderWay)
{
    const auto device = handler(0, "device");
    int pauses = 0;
    run.set_hooks({.pause_vcpus =
                       [&] {
                           calls.push_back("pause");
                           if (++pauses > 1)
                               return;
                           EXPECT_TRUE(run.stop(FinishMigrate));
                           calls.push_back("stopped");
                       },
                   .emit = [this](std::string_view event) { calls.emplace_back(event); }});
    ASSERT_TRUE(run.start());
    calls.clear();
    ASSERT_TRUE(run.stop(Paused));
    EXPECT_EQ(calls, (std::vector<std::string>{"pause", "pause", "prepare device", "handle device",
                                               "STOP", "stopped"}));
    EXPECT_EQ(run.state(), FinishMigrate);
}

TEST_F(Recorded, AStartWaitsForTheStopThatIsUnderWay)
{
    const auto device = handler(0, "device");
    int pauses = 0;
    run.set_hooks({.pause_vcpus =
                       [&] {
                           calls.push_back("pause");
                           if (++pauses == 1) {
                               EXPECT_TRUE(run.start());
                           }
                       },
                   .resume_vcpus = [this] { calls.push_back("resume"); },
                   .emit = [this](std::string_view event) { calls.emplace_back(event); }});
    ASSERT_TRUE(run.start());
    calls.clear();
    ASSERT_TRUE(run.stop(Paused));
    EXPECT_EQ(calls,
              (std::vector<std::string>{"pause", "pause", "prepare device", "handle device", "STOP",
                                        "RESUME", "prepare device", "handle device", "resume"}));
    EXPECT_EQ(run.state(), Running);
}

TEST_F(Recorded, AnIllegalMoveChangesNothing)
{
    ASSERT_TRUE(run.start());
    calls.clear();
    const auto done = run.stop(Prelaunch);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code(), Errc::BadState);
    EXPECT_EQ(done.error().message(), "invalid runstate transition: 'running' -> 'prelaunch'");
    EXPECT_TRUE(calls.empty());
    EXPECT_EQ(run.state(), Running);
}

TEST_F(Recorded, ContReturnsAStoppedSleeperToSleep)
{
    ASSERT_TRUE(run.start());
    ASSERT_TRUE(run.set(Suspended));
    ASSERT_TRUE(run.stop(Paused));
    EXPECT_TRUE(run.was_suspended());
    calls.clear();
    ASSERT_TRUE(run.cont());
    EXPECT_EQ(run.state(), Suspended);
    EXPECT_EQ(calls, (std::vector<std::string>{"RESUME", "start clock"}))
        << "no vCPU of a sleeper runs";
    EXPECT_FALSE(run.was_suspended());
}

TEST_F(Recorded, ContRefusesInQemusWords)
{
    ASSERT_TRUE(run.start());
    ASSERT_TRUE(run.stop(Shutdown));
    EXPECT_EQ(run.cont().error().message(), "Resetting the Virtual Machine is required");
    ASSERT_TRUE(run.set(FinishMigrate));
    EXPECT_EQ(run.cont().error().message(), "Migration is not finalized yet");
}

TEST_F(Recorded, ContWhileLoadingMeansStartWhenLoaded)
{
    ASSERT_TRUE(run.set(Inmigrate));
    run.set_autostart(false);
    ASSERT_TRUE(run.cont());
    EXPECT_TRUE(run.autostart());
    EXPECT_EQ(run.state(), Inmigrate);
    EXPECT_TRUE(calls.empty());
}

TEST_F(Recorded, ObserversSeeEveryChangeOnce)
{
    std::string seen;
    const auto observer = run.on_change([&](RunState from, RunState to) {
        seen += std::string(to_string(from)) + ">" + std::string(to_string(to)) + " ";
    });
    ASSERT_TRUE(run.start());
    ASSERT_TRUE(run.set(Running));
    ASSERT_TRUE(run.stop(Paused));
    EXPECT_EQ(seen, "prelaunch>running running>paused ");
}

}  // namespace
}  // namespace godwit::system
