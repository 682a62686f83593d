// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /chaos/kill: one side is killed in each status. The other has the guest, or says clearly that it
// has not.
#include "tests/chaos/held.h"

#include <csignal>
#include <gtest/gtest.h>

namespace godwit::chaos {
namespace {

class Kill : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Statuses, Kill,
                         testing::Values("setup", "active", "pre-switchover", "device"),
                         [](const auto& at) {
                             std::string name = at.param;
                             std::erase(name, '-');
                             return name;
                         });

TEST_P(Kill, TheDestinationAndTheSourceRunsOn)
{
    Held held(GetParam());
    held.kill_peer();
    EXPECT_EQ(qtest::wait_migration_end(held.source()), "failed");
    const std::string error = error_desc(held.source());
    EXPECT_NE(error, "");
    if (held.has_target()) {
        EXPECT_NE(error.find("byte"), std::string::npos) << "names the place: " << error;
    }
    held.source().wait_status("running");
    qtest::expect_synth_right(held.source());
    // And it can be moved all the same.
    qtest::Vmm again(
        {"-machine", "none", "-m", "64M", "-accel", "synth,working-set=32M", "-incoming", "defer"},
        kOwnAccel);
    held.source().qmp().execute(
        "migrate-set-capabilities",
        {{"capabilities",
          Json::array({{{"capability", "pause-before-switchover"}, {"state", false}}})}});
    ASSERT_NO_FATAL_FAILURE(qtest::move(held.source(), again, qtest::Transport::Unix));
    qtest::expect_synth_right(again);
}

TEST_P(Kill, TheSourceAndTheDestinationStartsNothing)
{
    Held held(GetParam());
    held.source().process().kill(SIGKILL);
    held.source().wait_exit();
    if (!held.has_target())
        return;
    held.target().process().kill(SIGCONT);
    EXPECT_EQ(qtest::wait_migration_end(held.target()), "failed");
    const std::string error = error_desc(held.target());
    EXPECT_NE(error.find("byte"), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    EXPECT_EQ(held.target().qmp().execute("query-status")["status"], "inmigrate");
    const Belongings now = settled(held.target().process().pid(), held.target_idle());
    EXPECT_LE(now.descriptors, held.target_idle().descriptors) << to_string(now);
    EXPECT_LE(now.threads, held.target_idle().threads) << to_string(now);
}

// The first deaths fill what is kept on purpose: stacks of threads, the recorder, the heap.
TEST_P(Kill, TheDestinationAgainAndAgainAndTheSourceKeepsNothing)
{
    constexpr int kWarmUp = 3;
    std::unique_ptr<qtest::Vmm> source;
    Belongings idle;
    Belongings before;
    for (int turn = 0; turn < 2 * kWarmUp; ++turn) {
        Held held(GetParam(), std::move(source));
        if (turn == 0)
            idle = held.source_idle();
        held.kill_peer();
        ASSERT_EQ(qtest::wait_migration_end(held.source()), "failed");
        held.source().wait_status("running");
        source = held.leave_source();
        const Belongings now = settled(source->process().pid(), idle);
        EXPECT_LE(now.descriptors, idle.descriptors) << to_string(now);
        EXPECT_EQ(now.threads, idle.threads) << to_string(now);
        if (turn == kWarmUp)
            before = now;
        if (turn > kWarmUp) {
            EXPECT_LE(now.mappings, before.mappings + 2)
                << to_string(before) << " / " << to_string(now);
            EXPECT_LE(now.mapped_bytes, before.mapped_bytes + (1 << 20))
                << to_string(before) << " / " << to_string(now);
        }
    }
    qtest::expect_synth_right(*source);
}

TEST(KillAfterTheEnd, TheDestinationHasTheGuest)
{
    Held held("completed");
    held.source().process().kill(SIGKILL);
    held.source().wait_exit();
    EXPECT_EQ(qtest::wait_migration_end(held.target()), "completed");
    held.target().wait_status("running");
    qtest::expect_synth_right(held.target());
}

TEST(KillAfterTheEnd, ASourceThatGaveItsGuestAwayKeepsItStopped)
{
    Held held("completed");
    held.target().process().kill(SIGKILL);
    held.target().wait_exit();
    EXPECT_EQ(held.source().qmp().execute("query-status")["status"], "postmigrate");
}

TEST(KillDefault, ADestinationWhoseSourceDiesEndsWithOneError)
{
    const std::vector<std::string> guest = {"-machine", "none", "-m", "64M"};
    qtest::Vmm source(guest);
    qtest::fill_pattern(source.qtest(), 0, 1 << 20, 1);
    qtest::Vmm target(incoming(guest));
    qtest::Path path(qtest::Transport::Tcp);
    ASSERT_NO_FATAL_FAILURE(path.start(source, target, {{"max-bandwidth", 1 << 16}}));
    qtest::wait_migration(source, "active");
    source.process().kill(SIGKILL);
    source.wait_exit();
    EXPECT_EQ(target.wait_exit(), (qtest::ExitStatus{.code = 1}));
    const std::string said = target.process().stderr_text();
    EXPECT_NE(said.find("load of migration failed"), std::string::npos) << said;
    // One error; what the flight recorder had follows it.
    EXPECT_EQ(said.find("godwit-system-x86_64: ", 1), std::string::npos) << said;
}

}  // namespace
}  // namespace godwit::chaos
