// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /migration/precopy/*: a guest moves between two processes, and its memory is compared.
#include "tests/qtest/libqtest/migration.h"
#include "util/units.h"

#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <memory>
#include <unistd.h>

namespace godwit::qtest {
namespace {

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

/// How fast a busy machine is beside a guest that writes at full rate, and through two commands and
/// three pipes, nobody can say.
void let_go(Vmm& source)
{
    source.qmp().execute("migrate-set-parameters", {{"downtime-limit", 2'000'000}});
}

TEST_P(Precopy, ASynthGuestWithFourCpusAtFullRateArrivesWhole)
{
    const auto arguments = synth(4, "working-set=32M");
    Vmm source(arguments, kOwnAccel);
    Vmm target(incoming(arguments), kOwnAccel);
    let_go(source);
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
    fill_pattern(source.qtest(), 0x3000, 2 * kMiB, 7);
    fill_pattern(source.qtest(), 32 * kMiB - 0x1800, 0x1800, 8);
    ASSERT_NO_FATAL_FAILURE(move(source, target, GetParam()));
    check_pattern(target.qtest(), 0x3000, 2 * kMiB, 7);
    check_pattern(target.qtest(), 32 * kMiB - 0x1800, 0x1800, 8);
    EXPECT_EQ(target.qtest().readq(0), 0u);
}

// --- Guests under KVM ----------------------------------------------------------------------------

std::vector<std::string> kvm_guest(const std::string& disk, const std::string& serial)
{
    return {"-machine", "q35",
            "-accel",   "kvm",
            "-m",       "16M",
            "-drive",   fmt::format("file={},format=raw,if=none,id=d0", disk),
            "-device",  "ide-hd,drive=d0",
            "-serial",  "file:" + serial};
}

/// What a guest that stands still consists of: its registers, and all its memory.
struct Still {
    std::string registers;
    std::string memory;
};

Still photograph(Vmm& vmm, const TempDir& dir)
{
    const std::string file = dir.file("ram");
    vmm.qmp().execute("pmemsave", {{"val", 0}, {"size", 16 * kMiB}, {"filename", file}});
    return {vmm.qmp().hmp("info registers"), read_file(file)};
}

void expect_same(const Still& there, const Still& here)
{
    EXPECT_NE(here.registers, "");
    EXPECT_EQ(there.registers, here.registers);
    ASSERT_EQ(here.memory.size(), std::size_t{16} * kMiB);
    EXPECT_TRUE(there.memory == here.memory);
}

TEST_P(Precopy, ABootSectorGuestRunsOnUnderKvm)
{
    GW_SKIP_WITHOUT_KVM();
    const TempDir dir;
    const std::string disk =
        patched_disk(dir, "memory_writer.img", 494, {kMiB, 9 * kMiB, kMiB, 3 * kMiB});
    Vmm source(kvm_guest(disk, dir.file("source")), kOwnAccel);
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(dir.file("source"), "B", 2));
    // Held back on arrival, so that what arrived can be compared with what left.
    Vmm target(with(incoming(kvm_guest(disk, dir.file("target"))), {"-S"}), kOwnAccel);
    let_go(source);
    ASSERT_NO_FATAL_FAILURE(move(source, target, GetParam()));
    target.wait_status("paused");
    expect_same(photograph(target, dir), photograph(source, dir));
    target.qmp().execute("cont");
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(dir.file("target"), "B", 3));
    // It went on where it was: a restarted guest says 'A' first.
    EXPECT_EQ(read_file(dir.file("target")).find('A'), std::string::npos);
}

TEST_P(Precopy, AStoppedGuestArrivesAsItStoodUnderKvm)
{
    GW_SKIP_WITHOUT_KVM();
    const TempDir dir;
    const std::string disk =
        patched_disk(dir, "memory_writer.img", 494, {kMiB, 5 * kMiB, kMiB, 3 * kMiB});
    Vmm source(kvm_guest(disk, dir.file("source")), kOwnAccel);
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(dir.file("source"), "B", 1));
    source.qmp().execute("stop");
    const Still before = photograph(source, dir);
    Vmm target(incoming(kvm_guest(disk, dir.file("target"))), kOwnAccel);
    ASSERT_NO_FATAL_FAILURE(move(source, target, GetParam()));
    target.wait_status("paused");
    expect_same(photograph(target, dir), before);
    EXPECT_EQ(read_file(dir.file("target")), "");
    target.qmp().execute("cont");
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(dir.file("target"), "B", 2));
    EXPECT_EQ(read_file(dir.file("target")).find('A'), std::string::npos);
}

TEST_P(Precopy, ASleepingGuestSleepsOnAndWakesUnderKvm)
{
    GW_SKIP_WITHOUT_KVM();
    const TempDir dir;
    const std::string disk = patched_disk(dir, "sleeper.img", 0, {});
    Vmm source(kvm_guest(disk, dir.file("source")), kOwnAccel);
    source.wait_status("suspended");
    const Still before = photograph(source, dir);
    Vmm target(incoming(kvm_guest(disk, dir.file("target"))), kOwnAccel);
    ASSERT_NO_FATAL_FAILURE(move(source, target, GetParam()));
    target.wait_status("suspended");
    expect_same(photograph(target, dir), before);
    target.qmp().execute("system_wakeup");
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(dir.file("target"), "W", 1));  // memory was kept
    target.wait_status("suspended");
}

TEST_P(Precopy, ASynthGuestWithOneCpuAtFullRateArrivesWhole)
{
    const auto arguments = synth(1, "working-set=16M");
    Vmm source(arguments, kOwnAccel);
    Vmm target(with(incoming(arguments), {"-S"}), kOwnAccel);
    let_go(source);
    ASSERT_NO_FATAL_FAILURE(move(source, target, GetParam()));
    target.wait_status("paused");
    // Its counters are its registers: every page follows from them.
    EXPECT_EQ(target.qmp().hmp("info registers"), source.qmp().hmp("info registers"));
    expect_synth_right(target);
    target.qmp().execute("cont");
    target.wait_status("running");
    expect_synth_right(target);
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

TEST(PrecopyReturnPath, BothSidesAgreeBeforeTheSourceIsDone)
{
    const auto arguments = synth(2, "working-set=16M");
    Vmm source(arguments, kOwnAccel);
    Vmm target(incoming(arguments), kOwnAccel);
    enable(source, {"return-path", "switchover-ack"});
    enable(target, {"return-path", "switchover-ack"});
    let_go(source);
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
    enable(source, {"pause-before-switchover"});
    let_go(source);
    Path path(Transport::Unix);
    ASSERT_NO_FATAL_FAILURE(path.start(source, target));
    ASSERT_NO_FATAL_FAILURE(wait_migration(source, "pre-switchover"));
    EXPECT_EQ(source.qmp().execute("query-migrate")["status"], "pre-switchover");
    source.qmp().execute("migrate-continue", {{"state", "pre-switchover"}});
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "completed"));
    ASSERT_NO_FATAL_FAILURE(expect_end(target, "completed"));
    expect_synth_right(target);
}

// On a busy machine a vCPU may not have had its turn yet.
void wait_until_all_is_written(Vmm& vmm)
{
    const Deadline deadline;
    while (!deadline.passed())
        if (vmm.qmp().execute("x-synth-check")["pages-never-written"] == 0)
            return;
    FAIL() << "the guest has not written its working set";
}

TEST(PrecopyAutoConverge, AGuestThatWritesTooFastIsSlowedAndLetGo)
{
    // With a downtime of 1 ms the link is never fast enough for a guest that is not held back.
    const auto arguments = synth(1, "working-set=24M");
    Vmm source(arguments, kOwnAccel);
    Vmm target(incoming(arguments), kOwnAccel);
    ASSERT_NO_FATAL_FAILURE(wait_until_all_is_written(source));
    enable(source, {"auto-converge"});
    Path path(Transport::Unix);
    ASSERT_NO_FATAL_FAILURE(path.start(source, target,
                                       {{"max-bandwidth", 32 * kMiB},
                                        {"downtime-limit", 1},
                                        {"cpu-throttle-initial", 50},
                                        {"throttle-trigger-threshold", 1}}));
    ASSERT_NO_FATAL_FAILURE(wait_migration(source, "active"));
    const Deadline deadline;
    Json info = source.qmp().execute("query-migrate");
    while (!info.contains("cpu-throttle-percentage") && info["status"] == "active" &&
           !deadline.passed()) {
        source.qmp().wait_activity(deadline);
        info = source.qmp().execute("query-migrate");
    }
    ASSERT_TRUE(info.contains("cpu-throttle-percentage")) << info.dump();
    EXPECT_GE(info["cpu-throttle-percentage"], 50);
    source.qmp().execute("migrate-set-parameters",
                         {{"max-bandwidth", 0}, {"downtime-limit", 2000}});
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "completed"));
    ASSERT_NO_FATAL_FAILURE(expect_end(target, "completed"));
    EXPECT_FALSE(source.qmp().execute("query-migrate").contains("cpu-throttle-percentage"));
    expect_synth_right(target);
}

TEST(PrecopyLimits, ALiftedLimitActsAtOnce)
{
    // At 64 KiB/s the 16 MiB would take minutes.
    const auto arguments = synth(1, "working-set=16M,rate=1M");
    Vmm source(arguments, kOwnAccel);
    Vmm target(incoming(arguments), kOwnAccel);
    Path path(Transport::Tcp);
    ASSERT_NO_FATAL_FAILURE(path.start(source, target, {{"max-bandwidth", 64 << 10}}));
    ASSERT_NO_FATAL_FAILURE(wait_migration(source, "active"));
    source.qmp().hmp("migrate_set_parameter max-bandwidth 0");
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "completed"));
    ASSERT_NO_FATAL_FAILURE(expect_end(target, "completed"));
    expect_synth_right(target);
}

// It is about postcopy. In a precopy the source may take its guest back until the end and `cont` it
// behind that: its memory stays.
TEST(PrecopyOptions, ReleaseRamKeepsTheSourcesMemoryInAPrecopy)
{
    const std::vector<std::string> arguments = {"-machine", "none", "-m", "16M"};
    Vmm source(arguments);
    Vmm target(incoming(arguments));
    fill_pattern(source.qtest(), 0, 8 << 20, 5);
    enable(source, {"release-ram"});
    ASSERT_NO_FATAL_FAILURE(move(source, target, Transport::Tcp));
    check_pattern(target.qtest(), 0, 8 << 20, 5);
    check_pattern(source.qtest(), 0, 8 << 20, 5);
}

// Who has the images: as QEMU 10.0 has it, whose destination takes them when the guest starts and
// never earlier, with late-block-activate and without.
class BlockActivity : public testing::TestWithParam<std::tuple<bool, bool>> {};

INSTANTIATE_TEST_SUITE_P(Late, BlockActivity, testing::Combine(testing::Bool(), testing::Bool()),
                         [](const auto& at) {
                             return std::string(std::get<0>(at.param) ? "Late" : "ByDefault") +
                                    (std::get<1>(at.param) ? "Paused" : "Running");
                         });

bool images_are_active(Vmm& vmm)
{
    const bool active = vmm.qmp().execute("query-named-block-nodes")[0]["active"];
    EXPECT_EQ(vmm.qmp().execute("query-block")[0]["inserted"]["active"], active);
    return active;
}

TEST_P(BlockActivity, FollowsTheGuest)
{
    const auto [late, paused] = GetParam();
    const std::vector<std::string> here = {
        "-machine",       "q35", "-m", "2M", "-drive", "driver=null-co,if=none,id=d0", "-device",
        "ide-hd,drive=d0"};
    std::vector<std::string> there = here;
    if (paused)
        there.push_back("-S");
    Vmm source(here);
    Vmm target(incoming(there));
    if (late)
        for (Vmm* vmm : {&source, &target})
            enable(*vmm, {"late-block-activate"});
    EXPECT_TRUE(images_are_active(source));
    EXPECT_FALSE(images_are_active(target));
    ASSERT_NO_FATAL_FAILURE(move(source, target, Transport::Unix));
    EXPECT_FALSE(images_are_active(source));
    EXPECT_EQ(images_are_active(target), !paused);
    target.qmp().execute("cont");
    EXPECT_TRUE(images_are_active(target));
    target.quit();
    source.qmp().execute("cont");
    EXPECT_TRUE(images_are_active(source)) << "the operator takes the guest back";
}

TEST(PrecopyCancel, TheSourceRunsOnAndCanMoveAgain)
{
    const auto arguments = synth(1, "working-set=32M");
    Vmm source(arguments, kOwnAccel);
    {
        Vmm target(incoming(arguments), kOwnAccel);
        Path path(Transport::Tcp);
        ASSERT_NO_FATAL_FAILURE(path.start(source, target, {{"max-bandwidth", kMiB}}));
        ASSERT_NO_FATAL_FAILURE(wait_migration(source, "active"));
        source.qmp().execute("migrate_cancel");
        ASSERT_NO_FATAL_FAILURE(expect_end(source, "cancelled"));
        EXPECT_EQ(target.wait_exit(), (ExitStatus{.code = 1}));
    }
    EXPECT_EQ(source.qmp().execute("query-status")["status"], "running");
    Vmm again(incoming(arguments), kOwnAccel);
    let_go(source);
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
    ASSERT_NO_FATAL_FAILURE(wait_migration(source, "active"));
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
    Path path(Transport::Tcp);
    ASSERT_NO_FATAL_FAILURE(path.start(source, target, {{"max-bandwidth", kMiB}}));
    ASSERT_NO_FATAL_FAILURE(wait_migration(source, "active"));
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
    enable(source, {"return-path"});
    Path path(Transport::Unix);
    ASSERT_NO_FATAL_FAILURE(path.start(source, target));
    EXPECT_EQ(target.wait_exit(), (ExitStatus{.code = 1}));
    EXPECT_NE(target.process().stderr_text().find("Size mismatch: ram"), std::string::npos)
        << target.process().stderr_text();
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "failed"));
    const std::string told = source.qmp().execute("query-migrate").value("error-desc", "");
    EXPECT_NE(told.find("Size mismatch: ram"), std::string::npos) << told;
    source.wait_status("running");
}

TEST(PrecopyFailure, AnotherUuidIsRefusedOnBothSides)
{
    const std::vector<std::string> none = {"-machine", "none", "-m", "16M"};
    const std::string ours = "11111111-2222-3333-4444-555555555555";
    Vmm source(with(none, {"-uuid", ours}));
    Vmm target(with(incoming(none), {"-uuid", "aaaaaaaa-2222-3333-4444-555555555555"}));
    for (Vmm* vmm : {&source, &target})
        enable(*vmm, {"validate-uuid", "return-path"});
    Path path(Transport::Unix);
    ASSERT_NO_FATAL_FAILURE(path.start(source, target));
    EXPECT_EQ(target.wait_exit(), (ExitStatus{.code = 1}));
    EXPECT_NE(target.process().stderr_text().find(ours), std::string::npos)
        << target.process().stderr_text();
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "failed"));
    const std::string told = source.qmp().execute("query-migrate").value("error-desc", "");
    EXPECT_NE(told.find("destination: configuration: UUID received is " + ours), std::string::npos)
        << told;
    source.wait_status("running");
    // One that has none to compare takes it, with a warning.
    Vmm any(incoming(none));
    ASSERT_NO_FATAL_FAILURE(move(source, any, Transport::Unix));
    EXPECT_NE(any.process().stderr_text().find("UUID"), std::string::npos)
        << any.process().stderr_text();
}

TEST(PrecopyFailure, ADeviceThatTheOtherSideLacksIsRefusedByNameOrSkippedWhenAllowed)
{
    const std::vector<std::string> plain = {"-machine", "microvm,isa-serial=off,rtc=off", "-m",
                                            "4M"};
    const std::vector<std::string> more = {"-machine", "microvm,isa-serial=off,rtc=on", "-m", "4M"};
    Vmm source(more);
    fill_pattern(source.qtest(), kMiB, kMiB, 3);
    {
        Vmm target(incoming(plain));
        Path path(Transport::Unix);
        ASSERT_NO_FATAL_FAILURE(path.start(source, target));
        ASSERT_NO_FATAL_FAILURE(expect_end(source, "failed"));
        const std::string told = source.qmp().execute("query-migrate").value("error-desc", "");
        EXPECT_NE(told.find("Unknown savevm section or instance 'mc146818rtc' 0"),
                  std::string::npos)
            << told;
        EXPECT_EQ(target.wait_exit(), (ExitStatus{.code = 1}));
        source.wait_status("running");
    }
    Vmm lenient(with(incoming(plain), {"-global", "migration.x-ignore-unknown-sections=on"}));
    ASSERT_NO_FATAL_FAILURE(move(source, lenient, Transport::Unix));
    check_pattern(lenient.qtest(), kMiB, kMiB, 3);
    EXPECT_NE(lenient.process().stderr_text().find("ignoring section 'mc146818rtc'"),
              std::string::npos)
        << lenient.process().stderr_text();
}

TEST(PrecopyFailure, WhatCannotBeOpenedFailsTheCommandAndTheAttempt)
{
    Vmm source({"-machine", "none", "-m", "16M"});
    prepare(source);
    const std::vector<std::pair<std::string, std::string>> wrong = {
        {"file:/nonexistent/x", "Could not open '/nonexistent/x': No such file or directory"},
        {"fd:nobody", "File descriptor named 'nobody' has not been found"},
        {"file:/dev/fdset/7", "Could not open '/dev/fdset/7': fdset 7 does not exist"},
    };
    for (const auto& [uri, text] : wrong) {
        EXPECT_EQ(source.qmp().error_of("migrate", {{"uri", uri}}), text);
        const Json info = source.qmp().execute("query-migrate");
        EXPECT_EQ(info.value("status", ""), "failed") << info.dump();
        EXPECT_EQ(info.value("error-desc", ""), text);
        for (const char* status : {"setup", "failed"})
            EXPECT_EQ(source.qmp().wait_event("MIGRATION")["data"]["status"], status);
    }
    const TempDir dir;
    source.qmp().execute("migrate", {{"uri", "file:" + dir.file("good")}});
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "completed"));
    EXPECT_FALSE(source.qmp().execute("query-migrate").contains("error-desc"));
}

TEST(PrecopyFdset, ASetIsInUseAsLongAsItsChannel)
{
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]);
    UniqueFd write_end(ends[1]);
    Vmm target({"-machine", "none", "-m", "16M", "-incoming", "defer"});
    prepare(target);
    const int passed = read_end.get();
    target.qmp().execute_with_fds("add-fd", {{"fdset-id", 2}}, {&passed, 1});
    target.qmp().execute("migrate-incoming",
                         {{"uri", "file:/dev/fdset/2"}, {"exit-on-error", false}});
    // Its member is taken away; the duplicate that waits for a stream remains.
    target.qmp().execute("remove-fd", {{"fdset-id", 2}});
    const Json sets = target.qmp().execute("query-fdsets");
    ASSERT_EQ(sets.size(), 1u) << sets.dump();
    EXPECT_EQ(sets[0]["fdset-id"], 2);
    EXPECT_TRUE(sets[0]["fds"].empty());
    write_end.reset();
    ASSERT_NO_FATAL_FAILURE(expect_end(target, "failed"));
    EXPECT_TRUE(target.qmp().execute("query-fdsets").empty());
}

TEST(PrecopyFdset, AFileOfASetTakesAndGivesTheStreamAtItsOffset)
{
    const TempDir dir;
    const std::string file = dir.write("stream", "keep");
    const std::vector<std::string> none = {"-machine", "none", "-m", "16M"};
    Vmm source(none);
    Vmm target(incoming(none));
    prepare(source);
    prepare(target);
    const auto hand = [&](Vmm& vmm, int flags) {
        const UniqueFd fd(::open(file.c_str(), flags | O_CLOEXEC));
        const int passed = fd.get();
        vmm.qmp().execute_with_fds("add-fd", {{"fdset-id", 1}}, {&passed, 1});
    };
    hand(source, O_WRONLY);
    hand(target, O_RDONLY);
    const Json to{{"uri", "file:/dev/fdset/1,offset=0x200"}};
    source.qmp().execute("migrate", to);
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "completed"));
    EXPECT_EQ(read_file(file).substr(0, 4), "keep");
    EXPECT_EQ(read_file(file).substr(0x200, 4), "QEVM");
    target.qmp().execute("migrate-incoming", to);
    ASSERT_NO_FATAL_FAILURE(expect_end(target, "completed"));
    for (Vmm* vmm : {&source, &target}) {
        vmm->qmp().execute("remove-fd", {{"fdset-id", 1}});
        EXPECT_TRUE(vmm->qmp().execute("query-fdsets").empty());
    }
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
        let_go(*source);
        ASSERT_NO_FATAL_FAILURE(
            move(*source, *target, turn % 2 ? Transport::Tcp : Transport::Unix));
        expect_synth_right(*target);
        ASSERT_FALSE(HasFailure());
        source = std::move(target);
    }
}

}  // namespace
}  // namespace godwit::qtest
