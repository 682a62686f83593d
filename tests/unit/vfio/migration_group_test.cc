// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Devices that stop and start together.
#include "hw/vfio/migration_group.h"
#include "hw/vfio/state_worker.h"
#include "util/event_fd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <latch>
#include <mutex>

namespace godwit::hw::vfio {
namespace {

using namespace std::chrono_literals;
using enum MigrationState;

/// What happened, in order, from all devices.
struct Diary {
    void note(std::string line)
    {
        const std::lock_guard guard(mutex);
        lines.push_back(std::move(line));
    }
    std::size_t first(std::string_view part) const
    {
        const std::lock_guard guard(mutex);
        const auto found = std::ranges::find_if(
            lines, [&](const std::string& l) { return l.find(part) != std::string::npos; });
        return static_cast<std::size_t>(found - lines.begin());
    }
    std::size_t last(std::string_view part) const
    {
        const std::lock_guard guard(mutex);
        for (std::size_t i = lines.size(); i-- > 0;)
            if (lines[i].find(part) != std::string::npos)
                return i;
        return lines.size();
    }
    bool has(std::string_view part) const { return first(part) != all().size(); }
    std::vector<std::string> all() const
    {
        const std::lock_guard guard(mutex);
        return lines;
    }

    void clear()
    {
        const std::lock_guard guard(mutex);
        lines.clear();
    }

    mutable std::mutex mutex;
    std::vector<std::string> lines;
};

/// A device that does as the test says.
class Member final : public GroupMember {
public:
    Member(std::string name, StateSet states, Diary& diary)
        : name_(std::move(name)), states_(states), diary_(diary)
    {}
    const std::string& name() const override { return name_; }
    MigrationState state() const override { return state_; }
    StateSet states() const override { return states_; }
    StateWorker& worker() override { return worker_; }
    std::chrono::milliseconds patience() const override { return time; }
    Result<void> walk_to(MigrationState to) override
    {
        if (before)
            before(to);
        if (refuses == to)
            return godwit::Error(Errc::Io, "no");
        diary_.note(name_ + " " + std::string(to_string(to)));
        state_ = to;
        return ok();
    }
    void arrived(MigrationState at) override { events.push_back(at); }
    bool is_saving_now() const override { return saving; }
    Result<void> may_run() const override { return ok(); }
    Result<void> cannot_run(godwit::Error error) override
    {
        if (!resets)
            return error;
        diary_.note(name_ + " reset");
        state_ = Running;
        return ok();
    }

    std::function<void(MigrationState)> before;
    std::optional<MigrationState> refuses;
    bool saving = false;
    bool resets = true;
    std::chrono::milliseconds time{10'000};
    std::vector<MigrationState> events;
    std::atomic<MigrationState> state_{Running};

private:
    std::string name_;
    StateSet states_;
    Diary& diary_;
    StateWorker worker_{"vfio/test"};
};

class MigrationGroupTest : public ::testing::Test {
protected:
    Member& add(StateSet states = {.p2p = true, .pre_copy = true})
    {
        members_.push_back(
            std::make_unique<Member>("dev" + std::to_string(members_.size()), states, diary_));
        kept_.push_back(group_.add(*members_.back()));
        return *members_.back();
    }
    void SetUp() override { ASSERT_TRUE(run_state_.start()); }

    Diary diary_;
    system::RunStateMachine run_state_;
    std::vector<std::unique_ptr<Member>> members_;
    MigrationGroup group_{run_state_};
    std::vector<Registration> kept_;
};

TEST_F(MigrationGroupTest, NoneStandsStillWhileOneMayStillReachIt)
{
    add();
    add({.p2p = true}).saving = true;
    Member& early = add();
    early.saving = true;
    early.state_ = PreCopy;
    add();
    ASSERT_TRUE(run_state_.stop(system::RunState::FinishMigrate));
    EXPECT_LT(diary_.last("P2P"), diary_.first(" STOP"));
    EXPECT_LT(diary_.last(" STOP"), diary_.all().size());
    EXPECT_EQ(early.events, (std::vector{PreCopyP2p, StopCopy}));
    EXPECT_EQ(members_[0]->events, (std::vector{RunningP2p, Stop}));
    EXPECT_EQ(members_[1]->events, (std::vector{RunningP2p, Stop, StopCopy}));
    diary_.clear();
    ASSERT_TRUE(run_state_.start());
    EXPECT_LT(diary_.last("RUNNING_P2P"), diary_.all().size() - members_.size());
    for (const auto& member : members_)
        EXPECT_EQ(member->state(), Running);
}

TEST_F(MigrationGroupTest, APlainPauseSavesNothing)
{
    Member& one = add({.p2p = true});
    one.saving = true;
    ASSERT_TRUE(run_state_.stop(system::RunState::Paused));
    EXPECT_EQ(one.state(), Stop);
}

TEST_F(MigrationGroupTest, AllMoveAtOnce)
{
    // Each step of each device waits until all eight are in it: one by one, none would end.
    constexpr int devices = 8;
    std::latch p2p(devices);
    std::latch stop(devices);
    for (int i = 0; i < devices; ++i)
        add().before = [&](MigrationState to) {
            if (to == RunningP2p)
                p2p.arrive_and_wait();
            if (to == Stop)
                stop.arrive_and_wait();
        };
    ASSERT_TRUE(run_state_.stop(system::RunState::Paused));
    for (const auto& member : members_)
        EXPECT_EQ(member->state(), Stop);
}

TEST_F(MigrationGroupTest, OneDeadlineForAllAndTheSlowOneIsNamed)
{
    // A device's thread may still wait for it when the test is over.
    const auto go = std::make_shared<EventFd>(EventFd::create().value());
    add();
    add().before = [go](MigrationState to) {
        if (to == Stop)
            go->wait(10000);
    };
    add();
    members_[1]->time = 30ms;
    auto stopped = run_state_.stop(system::RunState::Paused);
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().code(), Errc::TimedOut);
    EXPECT_EQ(stopped.error().message(),
              "vfio: dev1: the change to device state STOP took too long");
    EXPECT_EQ(members_[2]->state(), Stop) << "the others are moved all the same";
    // It still hangs, and is not asked a second thing meanwhile; the way back is a reset.
    members_[1]->time = 10ms;
    (void)run_state_.start();
    EXPECT_EQ(members_[0]->state(), Running);
    EXPECT_TRUE(diary_.has("dev1 reset"));
    go->signal();
}

TEST_F(MigrationGroupTest, ARefusalNamesTheDeviceAndTheRestGoesOn)
{
    add();
    Member& bad = add();
    bad.refuses = RunningP2p;
    add();
    auto stopped = run_state_.stop(system::RunState::FinishMigrate);
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().message(), "vfio: dev1: no");
    bad.refuses.reset();
    ASSERT_TRUE(run_state_.start());
    for (const auto& member : members_)
        EXPECT_EQ(member->state(), Running);
}

TEST_F(MigrationGroupTest, ADeviceThatCannotRunIsResetOrFailsTheStart)
{
    add();
    Member& bad = add();
    ASSERT_TRUE(run_state_.stop(system::RunState::Paused));
    bad.refuses = Running;
    ASSERT_TRUE(run_state_.start());
    EXPECT_EQ(bad.state(), Running);
    ASSERT_TRUE(run_state_.stop(system::RunState::Paused));
    bad.resets = false;
    auto started = run_state_.start();
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().message(), "vfio: dev1: no");
}

TEST_F(MigrationGroupTest, SeveralDevicesNeedP2p)
{
    add({});
    EXPECT_FALSE(group_.lacks_p2p());
    add({.p2p = true});
    EXPECT_TRUE(group_.lacks_p2p());
    kept_.erase(kept_.begin());
    EXPECT_FALSE(group_.lacks_p2p());
}

}  // namespace
}  // namespace godwit::hw::vfio
