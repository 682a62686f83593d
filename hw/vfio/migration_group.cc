// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/migration_group.h"

#include "hw/vfio/state_worker.h"

#include <algorithm>
#include <iterator>

namespace godwit::hw::vfio {

Registration MigrationGroup::add(GroupMember& member)
{
    if (members_.empty())
        run_state_handler_ = run_state_.add(
            {.priority = 0,
             .name = "vfio",
             .prepare = [this](bool running, system::RunState) { return prepare(running); },
             .handle = [this](bool running, system::RunState) { return handle(running); }});
    members_.push_back(&member);
    return Registration([this, &member]() noexcept {
        std::erase(members_, &member);
        if (members_.empty())
            run_state_handler_.reset();
    });
}

bool MigrationGroup::lacks_p2p() const
{
    return members_.size() > 1 &&
           std::ranges::any_of(members_, [](const GroupMember* m) { return !m->states().p2p; });
}

/// Moves every member that `target` names a state for, all at once; returns who did not arrive.
std::vector<MigrationGroup::Failure> MigrationGroup::move_all(const Target& target)
{
    const auto begin = std::chrono::steady_clock::now();
    struct Under {
        GroupMember* member;
        MigrationState to;
        StateWorker::Deadline deadline;
    };
    std::vector<Under> under;
    std::vector<Failure> failures;
    for (GroupMember* member : members_) {
        const auto to = target(*member);
        if (!to || member->state() == *to)
            continue;
        const auto deadline = begin + member->patience();
        auto sent = member->worker().submit(
            "the change to device state " + std::string(to_string(*to)),
            [member, to = *to] { return member->walk_to(to); }, deadline);
        if (sent)
            under.push_back({member, *to, deadline});
        else
            failures.push_back({member, std::move(sent).error()});
    }
    for (const Under& one : under) {
        if (auto moved = one.member->worker().await(one.deadline); !moved)
            failures.push_back({one.member, std::move(moved).error()});
        else
            one.member->arrived(one.to);
    }
    return failures;
}

Result<void> MigrationGroup::first_of(std::vector<Failure> failures)
{
    if (failures.empty())
        return ok();
    Failure& first = failures.front();
    return std::move(first.error).context(first.member->name());
}

Result<void> MigrationGroup::prepare(bool running)
{
    auto failures = move_all([&](const GroupMember& m) -> std::optional<MigrationState> {
        if (!m.states().p2p || m.state() == MigrationState::Error)
            return std::nullopt;
        if (running)
            return is_running(m.state()) ? std::nullopt : std::optional(MigrationState::RunningP2p);
        if (is_pre_copy(m.state()))
            return MigrationState::PreCopyP2p;
        return is_running(m.state()) ? std::optional(MigrationState::RunningP2p) : std::nullopt;
    });
    if (running)  // start_all() has the last word
        return ok();
    return first_of(std::move(failures));
}

Result<void> MigrationGroup::handle(bool running)
{
    return running ? start_all() : stop_all();
}

Result<void> MigrationGroup::stop_all()
{
    auto result = first_of(move_all([](const GroupMember& m) -> std::optional<MigrationState> {
        if (m.state() == MigrationState::PreCopy && m.states().p2p)
            return std::nullopt;  // the first round failed
        if (is_pre_copy(m.state()))
            return MigrationState::StopCopy;
        return is_running(m.state()) ? std::optional(MigrationState::Stop) : std::nullopt;
    }));
    if (!result)
        return result;
    // A plain pause ends here: the guest may go on.
    if (run_state_.state() != system::RunState::FinishMigrate)
        return ok();
    return first_of(move_all([](const GroupMember& m) {
        return m.is_saving_now() ? std::optional(MigrationState::StopCopy) : std::nullopt;
    }));
}

Result<void> MigrationGroup::start_all()
{
    std::vector<Failure> failures;
    for (GroupMember* member : members_)
        if (auto may = member->may_run(); !may)
            failures.push_back({member, std::move(may).error()});
    std::ranges::move(move_all([](const GroupMember&) { return MigrationState::Running; }),
                      std::back_inserter(failures));
    Result<void> result = ok();
    for (Failure& failure : failures) {
        auto saved = failure.member->cannot_run(std::move(failure.error));
        if (!saved && result)
            result = std::move(saved).error().context(failure.member->name());
    }
    return result;
}

}  // namespace godwit::hw::vfio
