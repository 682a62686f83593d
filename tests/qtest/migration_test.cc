// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /migration/precopy/*: a guest moves between two processes, and its memory is compared.
#include "tests/qtest/libqtest/migration.h"

#include <cstdlib>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <memory>

namespace godwit::qtest {
namespace {

constexpr std::uint32_t kMib = 1 << 20;
constexpr Vmm::Options kOwnAccel{.qtest = false, .accel = ""};

std::vector<std::string> with(std::vector<std::string> arguments,
                              std::initializer_list<std::string> more)
{
    arguments.insert(arguments.end(), more);
    return arguments;
}

std::vector<std::string> incoming(const std::vector<std::string>& arguments)
{
    return with(arguments, {"-incoming", "defer"});
}

std::vector<std::string> synth(unsigned cpus, std::string_view workload)
{
    return {"-machine", "none",
            "-m",       "64M",
            "-smp",     std::to_string(cpus),
            "-accel",   fmt::format("synth,{}", workload)};
}

class Precopy : public testing::TestWithParam<Transport> {};

INSTANTIATE_TEST_SUITE_P(Transports, Precopy,
                         testing::Values(Transport::Tcp, Transport::Tcp6, Transport::Unix,
                                         Transport::Fd, Transport::Exec, Transport::File),
                         [](const auto& at) { return std::string(to_string(at.param)); });

TEST_P(Precopy, ASynthGuestWithFourCpusAtFullRateArrivesWhole)
{
    const auto arguments = synth(4, "working-set=32M");
    Vmm source(arguments, kOwnAccel);
    Vmm target(incoming(arguments), kOwnAccel);
    // A busy disk is no match for four writers in the usual 300 ms.
    if (GetParam() == Transport::File)
        source.qmp().execute("migrate-set-parameters", {{"downtime-limit", 2000}});
    ASSERT_NO_FATAL_FAILURE(move(source, target, GetParam()));
    target.wait_status("running");
    expect_synth_right(target);
    target.qmp().execute("stop");
    expect_synth_right(target);
    EXPECT_EQ(source.qmp().execute("query-status")["status"], "postmigrate");
    expect_synth_right(source);
}

TEST_P(Precopy, WhatAClientWroteArrives)
{
    const std::vector<std::string> arguments = {"-machine", "none,memory-backend=ram0", "-object",
                                                "memory-backend-memfd,id=ram0,size=32M"};
    Vmm source(arguments);
    Vmm target(incoming(arguments));
    fill_pattern(source.qtest(), 0x3000, 2 * kMib, 7);
    fill_pattern(source.qtest(), 32 * kMib - 0x1800, 0x1800, 8);
    ASSERT_NO_FATAL_FAILURE(move(source, target, GetParam()));
    check_pattern(target.qtest(), 0x3000, 2 * kMib, 7);
    check_pattern(target.qtest(), 32 * kMib - 0x1800, 0x1800, 8);
    EXPECT_EQ(target.qtest().readq(0), 0u);
}

TEST_P(Precopy, ABootSectorGuestRunsOnUnderKvm)
{
    GW_SKIP_WITHOUT_KVM();
    const TempDir dir;
    const std::string disk =
        patched_disk(dir, "memory_writer.img", 494, {kMib, 9 * kMib, kMib, 3 * kMib});
    const auto arguments = [&](std::string_view side) -> std::vector<std::string> {
        return {"-machine", "q35",
                "-accel",   "kvm",
                "-m",       "32M",
                "-drive",   fmt::format("file={},format=raw,if=none,id=d0", disk),
                "-device",  "ide-hd,drive=d0",
                "-serial",  fmt::format("file:{}", dir.file(side))};
    };
    Vmm source(arguments("source"), kOwnAccel);
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(dir.file("source"), "B", 2));
    Vmm target(incoming(arguments("target")), kOwnAccel);
    ASSERT_NO_FATAL_FAILURE(move(source, target, GetParam()));
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(dir.file("target"), "B", 3));
    // It went on where it was: a restarted guest says 'A' first.
    EXPECT_EQ(read_file(dir.file("target")).find('A'), std::string::npos);
}

TEST(PrecopyState, AStoppedGuestStaysStopped)
{
    const auto arguments = synth(1, "working-set=16M");
    Vmm source(arguments, kOwnAccel);
    source.qmp().execute("stop");
    Vmm target(incoming(arguments), kOwnAccel);
    ASSERT_NO_FATAL_FAILURE(move(source, target, Transport::Unix));
    target.wait_status("paused");
    expect_synth_right(target);
    target.qmp().execute("cont");
    target.wait_status("running");
    expect_synth_right(target);
}

TEST(PrecopyState, ASleepingGuestSleepsOnAndWakes)
{
    GW_SKIP_WITHOUT_KVM();
    const TempDir dir;
    const std::string disk = patched_disk(dir, "sleeper.img", 0, {});
    const auto arguments = [&](std::string_view side) -> std::vector<std::string> {
        return {"-machine", "q35",
                "-accel",   "kvm",
                "-m",       "32M",
                "-drive",   fmt::format("file={},format=raw,if=none,id=d0", disk),
                "-device",  "ide-hd,drive=d0",
                "-serial",  fmt::format("file:{}", dir.file(side))};
    };
    Vmm source(arguments("source"), kOwnAccel);
    source.wait_status("suspended");
    Vmm target(incoming(arguments("target")), kOwnAccel);
    ASSERT_NO_FATAL_FAILURE(move(source, target, Transport::Tcp));
    target.wait_status("suspended");
    target.qmp().execute("system_wakeup");
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(dir.file("target"), "W", 1));  // memory was kept
    target.wait_status("suspended");
}

TEST(PrecopyReturnPath, BothSidesAgreeBeforeTheSourceIsDone)
{
    const auto arguments = synth(2, "working-set=16M");
    Vmm source(arguments, kOwnAccel);
    Vmm target(incoming(arguments), kOwnAccel);
    enable(source, {"return-path", "switchover-ack"});
    enable(target, {"return-path", "switchover-ack"});
    ASSERT_NO_FATAL_FAILURE(move(source, target, Transport::Tcp));
    expect_synth_right(target);
}

TEST(PrecopyXbzrle, SmallChangesTravelAsDifferences)
{
    const auto arguments = synth(1, "working-set=16M,rate=40M");
    Vmm source(arguments, kOwnAccel);
    Vmm target(incoming(arguments), kOwnAccel);
    enable(source, {"xbzrle"});
    ASSERT_NO_FATAL_FAILURE(move(source, target, Transport::Unix));
    expect_synth_right(target);
    EXPECT_TRUE(source.qmp().execute("query-migrate").contains("xbzrle-cache"));
}

TEST(PrecopyPause, AGuestHeldBeforeSwitchoverGoesWhenTold)
{
    const auto arguments = synth(1, "working-set=16M");
    Vmm source(arguments, kOwnAccel);
    Vmm target(incoming(arguments), kOwnAccel);
    prepare(source);
    prepare(target);
    enable(source, {"pause-before-switchover"});
    Path path(Transport::Unix);
    path.prepare_target(target);
    path.start_source(source);
    source.qmp().wait_event("MIGRATION",
                            [](const Json& data) { return data["status"] == "pre-switchover"; });
    EXPECT_EQ(source.qmp().execute("query-migrate")["status"], "pre-switchover");
    source.qmp().execute("migrate-continue", {{"state", "pre-switchover"}});
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "completed"));
    ASSERT_NO_FATAL_FAILURE(expect_end(target, "completed"));
    expect_synth_right(target);
}

TEST(PrecopyCancel, TheSourceRunsOnAndCanMoveAgain)
{
    const auto arguments = synth(1, "working-set=32M");
    Vmm source(arguments, kOwnAccel);
    {
        Vmm target(incoming(arguments), kOwnAccel);
        prepare(source);
        prepare(target);
        source.qmp().execute("migrate-set-parameters", {{"max-bandwidth", 1 << 20}});
        Path path(Transport::Tcp);
        path.prepare_target(target);
        path.start_source(source);
        source.qmp().wait_event("MIGRATION",
                                [](const Json& data) { return data["status"] == "active"; });
        source.qmp().execute("migrate_cancel");
        ASSERT_NO_FATAL_FAILURE(expect_end(source, "cancelled"));
        EXPECT_EQ(target.wait_exit(), (ExitStatus{.code = 1}));
    }
    EXPECT_EQ(source.qmp().execute("query-status")["status"], "running");
    Vmm again(incoming(arguments), kOwnAccel);
    ASSERT_NO_FATAL_FAILURE(move(source, again, Transport::Tcp));
    expect_synth_right(again);
}

TEST(PrecopyCancel, AStalledPeerCannotHoldTheSource)
{
    const auto arguments = synth(1, "working-set=32M");
    Vmm source(arguments, kOwnAccel);
    Vmm target(incoming(arguments), kOwnAccel);
    prepare(source);
    prepare(target);
    Path path(Transport::Unix);
    path.prepare_target(target);
    target.process().kill(SIGSTOP);
    path.start_source(source);
    source.qmp().wait_event("MIGRATION",
                            [](const Json& data) { return data["status"] == "active"; });
    source.qmp().execute("migrate_cancel");
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "cancelled"));
    source.wait_status("running");
    expect_synth_right(source);
    target.process().kill(SIGKILL);
    target.wait_exit();
}

TEST(PrecopyFailure, APeerThatDiesLeavesTheSourceRunning)
{
    const auto arguments = synth(1, "working-set=32M");
    Vmm source(arguments, kOwnAccel);
    Vmm target(incoming(arguments), kOwnAccel);
    prepare(source);
    source.qmp().execute("migrate-set-parameters", {{"max-bandwidth", 1 << 20}});
    Path path(Transport::Tcp);
    path.prepare_target(target);
    path.start_source(source);
    source.qmp().wait_event("MIGRATION",
                            [](const Json& data) { return data["status"] == "active"; });
    target.process().kill(SIGKILL);
    target.wait_exit();
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "failed"));
    EXPECT_NE(source.qmp().execute("query-migrate").value("error-desc", ""), "");
    source.wait_status("running");
    expect_synth_right(source);
}

TEST(PrecopyFailure, AnotherMachineIsRefusedByNameOnBothSides)
{
    Vmm source({"-machine", "none", "-m", "16M"});
    Vmm target({"-machine", "none", "-m", "32M", "-incoming", "defer"});
    prepare(source);
    prepare(target);
    enable(source, {"return-path"});
    Path path(Transport::Unix);
    path.prepare_target(target);
    path.start_source(source);
    EXPECT_EQ(target.wait_exit(), (ExitStatus{.code = 1}));
    EXPECT_NE(target.process().stderr_text().find("Size mismatch: ram"), std::string::npos)
        << target.process().stderr_text();
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "failed"));
    const std::string told = source.qmp().execute("query-migrate").value("error-desc", "");
    EXPECT_NE(told.find("Size mismatch: ram"), std::string::npos) << told;
    source.wait_status("running");
}

TEST(PrecopyFailure, ARefusedConnectionIsToldLater)
{
    Vmm source({"-machine", "none", "-m", "16M"});
    prepare(source);
    const TempDir dir;
    source.qmp().execute("migrate", {{"uri", "unix:" + dir.file("nobody")}});
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "failed"));
    EXPECT_NE(source.qmp()
                  .execute("query-migrate")
                  .value("error-desc", "")
                  .find("Failed to connect to '" + dir.file("nobody") + "'"),
              std::string::npos)
        << source.qmp().execute("query-migrate").dump();
    source.wait_status("running");
}

/// Moves back and forth, each time into a fresh process, the guest writing all the while.
TEST(PrecopySoak, ManyMovesInARowLoseNothing)
{
    const char* wanted = std::getenv("GODWIT_SOAK_MOVES");
    const int moves = wanted ? std::atoi(wanted) : 50;
    const auto arguments = synth(2, "working-set=16M,pattern=uniform");
    auto source = std::make_unique<Vmm>(arguments, kOwnAccel);
    for (int turn = 0; turn < moves; ++turn) {
        SCOPED_TRACE(fmt::format("move {}", turn));
        auto target = std::make_unique<Vmm>(incoming(arguments), kOwnAccel);
        ASSERT_NO_FATAL_FAILURE(
            move(*source, *target, turn % 2 ? Transport::Tcp : Transport::Unix));
        expect_synth_right(*target);
        ASSERT_FALSE(HasFailure());
        source = std::move(target);
    }
}

}  // namespace
}  // namespace godwit::qtest
