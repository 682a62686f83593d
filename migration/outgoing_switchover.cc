// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The final pass: everything that happens while the guest stands still, in the order that
// docs/migration/final-pass.md promises.
#include "migration/outgoing.h"
#include "migration/trace.h"
#include "system/main_loop.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace godwit::migration {

using stream::Command;
using stream::SectionType;
using stream::StateEntry;
using system::RunState;

// Memory that the device part and the description will need, so that the guest does not wait for
// it.
void Outgoing::prepare_buffers()
{
    out_->reserve(std::max<std::size_t>(256 * 1024,
                                        2 * (rehearsal_.bytes() + rehearsal_.description_bytes())));
    description_.reserve(std::max<std::size_t>(128 * 1024, 2 * rehearsal_.description_bytes()));
}

// The contract of docs/migration/final-pass.md. final_pass_test.cc swaps each step with each other
// and sees what is lost.
Result<void> Outgoing::switch_over()
{
    prepare_buffers();
    using Step = Result<void> (Outgoing::*)();
    static constexpr std::array<Step, Environment::kFinalSteps> kSteps = {
        &Outgoing::stop,          &Outgoing::flush_into_memory, &Outgoing::last_sync,
        &Outgoing::complete_live, &Outgoing::send_devices,      &Outgoing::send_end,
    };
    for (const std::uint8_t step : p_.env.final_pass)
        GW_TRY((this->*kSteps.at(step))());
    return ok();
}

Result<void> Outgoing::stop()
{
    GW_TRY(stop_guest());
    if (has(Capability::PauseBeforeSwitchover)) {
        GW_TRY(p_.status.apply(Event::Pause));
        const std::int64_t since = p_.env.clock.now_ns();
        GW_TRY(wait_for_continue());
        note_part("pause", PartKind::Pause, since, out_->position());
    }
    return p_.status.apply(Event::Switchover);
}

Result<void> Outgoing::stop_guest()
{
    const system::MachineGuard guard(p_.env.lock);
    system::RunStateMachine& run_state = p_.env.run_state;
    stop_ns_ = p_.env.clock.now_ns();
    before_ = run_state.state();
    was_live_ = run_state.live();
    p_.global_state.set(to_string(before_));
    p_.global_state.vm_was_suspended = run_state.was_suspended() || before_ == RunState::Suspended;
    stopped_ = true;
    GW_TRY(run_state.stop(RunState::FinishMigrate));
    p_.timeline->note(TimelineKind::Guest, std::string(to_string(run_state.state())));
    note_part("stop", PartKind::Stop, stop_ns_, out_->position());
    return ok();
}

Result<void> Outgoing::wait_for_continue()
{
    std::unique_lock lock(signals_.mutex);
    signals_.woken.wait(lock, [&] {
        return signals_.continued || signals_.cancelled || signals_.path_error || signals_.shut;
    });
    if (signals_.continued && !signals_.cancelled)
        return ok();
    lock.unlock();
    return check_interrupted();
}

// Step 2: devices put what they keep in guest RAM there.
Result<void> Outgoing::flush_into_memory()
{
    sync_ns_ = p_.env.clock.now_ns();
    stream::write_command(*out_, Command::SwitchoverStart);
    const system::MachineGuard guard(p_.env.lock);
    in_completion_ = true;
    return p_.notifiers.ask(Moment::InCompletion);
}

// Step 3: the dirty logs are read.
Result<void> Outgoing::last_sync()
{
    const system::MachineGuard guard(p_.env.lock);
    p_.ram.source()->final_sync();
    note_part("last-sync", PartKind::Sync, sync_ns_, out_->position());
    return ok();
}

// Step 4. The machine lock is free: a peer that does not read must not stop the monitors.
Result<void> Outgoing::complete_live()
{
    for (StateEntry* entry : live_entries()) {
        GW_TRY(check_interrupted());
        const std::int64_t since = p_.env.clock.now_ns();
        const std::uint64_t from = out_->position();
        auto& live = dynamic_cast<LiveStateHandler&>(*entry->live);
        GW_TRY(section(SectionType::End, *entry, [&] { return live.complete_precopy(*out_); }));
        GW_TRY(out_->flush());
        note_part(entry->idstr, entry->idstr == "ram" ? PartKind::Ram : PartKind::Device, since,
                  from);
    }
    return ok();
}

// Called with the machine lock; only fills the writer's buffer.
Result<void> Outgoing::send_device(const StateEntry& entry)
{
    const std::int64_t since = p_.env.clock.now_ns();
    const std::uint64_t from = out_->position();
    description_.begin_object();
    description_.text("name", entry.idstr);
    description_.number("instance_id", entry.instance_id);
    GW_TRY(section(SectionType::Full, entry,
                   [&] { return stream::save_entry(*out_, entry, &description_); }));
    description_.end_object();
    if (stopped_)
        note_part(entry.idstr, PartKind::Device, since, from);
    return ok();
}

// The same for a live handler; what it writes, it does not describe.
Result<void> Outgoing::send_final(const StateEntry& entry, FinalState& state)
{
    const std::int64_t since = p_.env.clock.now_ns();
    const std::uint64_t from = out_->position();
    description_.begin_object();
    description_.text("name", entry.idstr);
    description_.number("instance_id", entry.instance_id);
    const auto body = [&]() -> Result<void> {
        const std::uint64_t before = out_->position();
        GW_TRY(state.save_final(*out_));
        stream::describe_opaque(description_, out_->position() - before);
        return ok();
    };
    GW_TRY(section(SectionType::Full, entry, body));
    description_.end_object();
    note_part(entry.idstr, PartKind::Device, since, from);
    return ok();
}

// Step 5: device state by priority.
Result<void> Outgoing::send_devices()
{
    {
        const system::MachineGuard guard(p_.env.lock);
        for (const auto& entry : p_.env.registry.entries()) {
            if (entry->live != nullptr) {
                if (auto* state = dynamic_cast<FinalState*>(entry->live); state != nullptr)
                    GW_TRY(send_final(*entry, *state));
                continue;
            }
            if (!entry->early_setup() && entry->needed())
                GW_TRY(send_device(*entry));
        }
    }
    return check_interrupted();
}

void Outgoing::note_downtime()
{
    const std::int64_t ns = p_.env.clock.now_ns() - stop_ns_;
    statistics_.downtime_ns = ns;
    statistics_.downtime_ms = ns / 1'000'000;
}

}  // namespace godwit::migration
