// SPDX-License-Identifier: LGPL-2.1-or-later
//
// All VFIO devices of one machine: they stop and start together, because a device that stands still
// must not be reached by one that runs.
#pragma once

#include "hw/vfio/migration_states.h"
#include "system/run_state.h"
#include "util/registration.h"
#include "util/result.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godwit::hw::vfio {

class StateWorker;

/// A device as its group sees it.
///
/// Threads  walk_to() in the device's own thread; everything else with the machine lock.
class GroupMember {
public:
    virtual ~GroupMember() = default;
    virtual const std::string& name() const = 0;
    virtual MigrationState state() const = 0;
    virtual StateSet states() const = 0;
    virtual StateWorker& worker() = 0;
    /// What it may take for one round of all.
    virtual std::chrono::milliseconds patience() const = 0;
    /// All steps to a state, without the machine lock.
    virtual Result<void> walk_to(MigrationState to) = 0;
    /// It has arrived: the event, and what waits for a device that runs.
    virtual void arrived(MigrationState at) = 0;
    /// It takes part in an outgoing migration.
    virtual bool is_saving_now() const = 0;
    /// Whether what it took in is still there, so that it may go on.
    virtual Result<void> may_run() const = 0;
    /// It did not become RUNNING: the last resort.
    virtual Result<void> cannot_run(Error error) = 0;
};

/// Order    on a stop, in the first round: all to a state without peer traffic; in the second: all
///          to STOP, or to STOP_COPY what is being saved. On a start, all without peer traffic
///          first, then all to RUNNING. Each step of all devices at once: a round takes as long as
///          the most patient of them allows.
/// Threads  with the machine lock.
/// Errors   the first device's, named; the others are moved all the same.
class MigrationGroup {
public:
    explicit MigrationGroup(system::RunStateMachine& run_state) : run_state_(run_state) {}

    [[nodiscard]] Registration add(GroupMember& member);
    const std::vector<GroupMember*>& members() const noexcept { return members_; }

    /// The two rounds, as the run state has them.
    Result<void> prepare(bool running);
    Result<void> handle(bool running);

    /// "Multiple VFIO devices migration is supported only if all of them support P2P migration",
    /// while there are several and one does not; kept here by whoever registers blockers.
    bool lacks_p2p() const;
    std::optional<Registration> blocker;

private:
    using Target = std::function<std::optional<MigrationState>(const GroupMember&)>;
    struct Failure {
        GroupMember* member;
        Error error;
    };
    std::vector<Failure> move_all(const Target& target);
    Result<void> first_of(std::vector<Failure> failures);
    Result<void> stop_all();
    Result<void> start_all();

    system::RunStateMachine& run_state_;
    std::vector<GroupMember*> members_;
    Registration run_state_handler_;
};

}  // namespace godwit::hw::vfio
