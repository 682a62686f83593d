// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/service.h"

#include "migration/service_state.h"
#include "migration/trace.h"
#include "system/clock.h"
#include "system/main_loop.h"

#include <fmt/format.h>

namespace godwit::migration {
namespace {

Result<void> register_first_sections(ServiceState& s)
{
    stream::StateRegistry& registry = s.env.registry;
    s.sections.push_back(
        GW_TRY(registry.add(stream::kTimerSection, s.timer, {},
                            {.pre_save = [&s]() -> Result<void> {
                                 if (s.env.clocks != nullptr)
                                     s.timer.cpu_clock_offset = s.env.clocks->virtual_ns();
                                 return ok();
                             },
                             .post_load = [&s](Version) -> Result<void> {
                                 if (s.env.clocks != nullptr)
                                     s.env.clocks->set_virtual_ns(s.timer.cpu_clock_offset);
                                 return ok();
                             }})));
    s.sections.push_back(
        GW_TRY(registry.add_live("ram", kRamVersion, stream::Priority::Default, s.ram)));
    registry.skip_section_id();  // dirty-bitmap, which we never send
    return ok();
}

void watch(ServiceState& s, StatusTracker& tracker, Side side)
{
    s.observers.push_back(tracker.observe([&s, side](Status from, Status to) {
        if (const auto timeline = s.timelines.current(side); timeline != nullptr)
            timeline->status_changed(to);
        if (s.env.recorder != nullptr)
            s.env.recorder->record(kTraceStatus, to_string(from), to_string(to));
        if (s.capabilities.has(Capability::Events) && s.env.emit_status)
            s.env.emit_status(to_string(to));
    }));
}

std::optional<std::uint64_t> external_bytes(const stream::StateRegistry& registry)
{
    std::optional<std::uint64_t> sum;
    for (const auto& entry : registry.entries())
        if (const auto* device = dynamic_cast<const ExternalDevice*>(entry->live);
            device != nullptr)
            sum = sum.value_or(0) + device->transferred();
    return sum;
}

}  // namespace

Result<std::unique_ptr<MigrationService>> MigrationService::create(Environment environment)
{
    auto state = std::make_unique<ServiceState>(std::move(environment));
    GW_TRY(register_first_sections(*state));
    watch(*state, state->source, Side::Source);
    watch(*state, state->destination, Side::Destination);
    return std::unique_ptr<MigrationService>(new MigrationService(std::move(state)));
}

MigrationService::MigrationService(std::unique_ptr<ServiceState> state) : state_(std::move(state))
{}

MigrationService::~MigrationService()
{
    shut_down();
}

void MigrationService::shut_down()
{
    ServiceState& s = *state_;
    if (s.incoming)
        s.incoming->stop();
    if (s.outgoing)
        (void)s.outgoing->cancel();
    const auto drop = [&s] {
        s.outgoing.reset();
        s.incoming.reset();
    };
    if (s.env.lock.held()) {
        const system::MachineUnlock unlocked(s.env.lock);
        drop();
    } else {
        drop();
    }
}

Result<void> MigrationService::machine_done(std::string machine_name,
                                            std::optional<stream::Uuid> uuid)
{
    ServiceState& s = *state_;
    s.env.machine_name = std::move(machine_name);
    s.env.uuid = uuid;
    s.sections.push_back(GW_TRY(s.env.registry.add(stream::kGlobalStateSection, s.global_state)));
    return ok();
}

const Capabilities& MigrationService::capabilities() const noexcept
{
    return state_->capabilities;
}

const Parameters& MigrationService::parameters() const noexcept
{
    return state_->parameters;
}

Result<void> MigrationService::set_capabilities(std::span<const CapabilityChange> changes)
{
    ServiceState& s = *state_;
    if (is_running(s.source.status()))
        return Error(Errc::BadState, "There's a migration process in progress");
    s.capabilities = GW_TRY(
        changed(s.capabilities, changes,
                {.plain_transfer = s.parameters.tls_creds.empty() &&
                                   s.parameters.multifd_compression == MultifdCompression::None,
                 .dirty_ring = s.dirty_ring,
                 .incoming_started = s.incoming_started}));
    return ok();
}

Result<void> MigrationService::set_parameters(const ParameterChanges& changes)
{
    ServiceState& s = *state_;
    s.parameters = GW_TRY(changed(s.parameters, changes));
    s.limits.set(s.parameters);
    return ok();
}

void MigrationService::set_dirty_ring(bool on) noexcept
{
    state_->dirty_ring = on;
}

void MigrationService::set_ignore_unknown_sections(bool on) noexcept
{
    state_->ignore_unknown_sections = on;
}

void MigrationService::set_insight(bool on) noexcept
{
    state_->timelines.set_kept(on);
}

void MigrationService::set_suppress_description(bool on) noexcept
{
    state_->suppress_description = on;
}

void MigrationService::set_final_pass(
    const std::array<std::uint8_t, Environment::kFinalSteps>& order) noexcept
{
    state_->env.final_pass = order;
}

Blockers& MigrationService::blockers() noexcept
{
    return state_->blockers;
}

Result<Registration> MigrationService::block(std::string reason)
{
    return state_->blockers.add(std::move(reason), is_running(state_->source.status()));
}

std::vector<std::string> MigrationService::blocked_reasons() const
{
    auto reasons = state_->blockers.reasons();
    if (const stream::StateEntry* entry = state_->env.registry.unmigratable(); entry != nullptr)
        reasons.push_back(fmt::format("non-migratable device: {}", entry->idstr));
    return reasons;
}

Notifiers& MigrationService::notifiers() noexcept
{
    return state_->notifiers;
}

Registration MigrationService::on_status(Side side, StatusTracker::Observer observer)
{
    StatusTracker& tracker = side == Side::Source ? state_->source : state_->destination;
    return tracker.observe(std::move(observer));
}

Result<void> MigrationService::check_migrate() const
{
    const ServiceState& s = *state_;
    if (is_running(s.source.status()))
        return Error(Errc::BadState, "There's a migration process in progress");
    const system::RunState now = s.env.run_state.state();
    if (now == system::RunState::Inmigrate)
        return Error(Errc::BadState, "Guest is waiting for an incoming migration");
    if (now == system::RunState::Postmigrate)
        return Error(Errc::BadState,
                     "Can't migrate the vm that was paused due to previous migration");
    if (const stream::StateEntry* entry = s.env.registry.unmigratable(); entry != nullptr)
        return Error(Errc::BadState,
                     fmt::format("State blocked by non-migratable device '{}'", entry->idstr));
    return s.blockers.check();
}

Result<void> MigrationService::migrate(Connect connect)
{
    ServiceState& s = *state_;
    GW_TRY(check_migrate());
    s.outgoing.reset();  // it has ended: joins at once
    s.unopened.clear();
    const auto timeline = s.timelines.begin(Side::Source);
    GW_TRY(s.source.apply(Event::Start));
    s.source_is_latest = true;
    auto made = Outgoing::create({.env = s.env,
                                  .notifiers = s.notifiers,
                                  .status = s.source,
                                  .ram = s.ram,
                                  .limits = s.limits,
                                  .global_state = s.global_state,
                                  .timeline = timeline},
                                 {s.capabilities, s.parameters}, std::move(connect), [] {});
    if (!made) {
        (void)s.source.apply(Event::Fail);
        return std::move(made).error();
    }
    s.outgoing = std::move(*made);
    return ok();
}

void MigrationService::migrate_failed(const Error& error)
{
    ServiceState& s = *state_;
    s.outgoing.reset();
    s.unopened = error.message();
    const auto timeline = s.timelines.begin(Side::Source);
    timeline->set_error(error.message());
    s.source_is_latest = true;
    for (const Event event : {Event::Start, Event::Fail})
        if (auto moved = s.source.apply(event); !moved)
            s.env.log.report(moved.error());
}

Result<void> MigrationService::cancel()
{
    ServiceState& s = *state_;
    switch (s.source.status()) {
    case Status::Setup:
    case Status::Active:
    case Status::PreSwitchover:
    case Status::Device:
        return s.outgoing ? s.outgoing->cancel() : ok();
    case Status::PostcopyActive:
    case Status::PostcopyPaused:
    case Status::PostcopyRecoverSetup:
    case Status::PostcopyRecover:
        return Error(Errc::BadState,
                     "Postcopy cannot be cancelled: the destination runs the guest");
    default:
        return ok();
    }
}

Result<void> MigrationService::continue_from(Status expected)
{
    ServiceState& s = *state_;
    const Status now = s.source.status();
    if (now != expected || now != Status::PreSwitchover)
        return Error(Errc::BadState,
                     fmt::format("Migration not in expected state: {}", to_string(now)));
    s.outgoing->continue_switchover();
    return ok();
}

bool MigrationService::in_completion() const noexcept
{
    return state_->source.status() == Status::Device;
}

void MigrationService::expect_incoming()
{
    state_->incoming_expected = true;
}

Result<void> MigrationService::check_incoming() const
{
    const ServiceState& s = *state_;
    if (!s.incoming_expected)
        return Error(Errc::BadState, "'-incoming' was not specified on the command line");
    if (s.incoming_started)
        return Error(Errc::BadState, "The incoming migration has already been started");
    if (s.env.run_state.state() != system::RunState::Inmigrate)
        return Error(Errc::BadState, "Guest is not waiting for an incoming migration");
    return ok();
}

Result<void> MigrationService::incoming(Connect accept, bool exit_on_error, bool accepts_again)
{
    ServiceState& s = *state_;
    GW_TRY(check_incoming());
    s.incoming.reset();
    const auto timeline = s.timelines.begin(Side::Destination);
    GW_TRY(s.destination.apply(Event::Start));
    s.source_is_latest = false;
    auto made = Incoming::create({.env = s.env,
                                  .status = s.destination,
                                  .global_state = s.global_state,
                                  .timeline = timeline},
                                 {.capabilities = s.capabilities,
                                  .ignore_unknown_sections = s.ignore_unknown_sections,
                                  .expect_description = !s.suppress_description,
                                  .exit_on_error = exit_on_error,
                                  .accepts_again = accepts_again},
                                 std::move(accept), [] {});
    if (!made) {
        (void)s.destination.apply(Event::Fail);
        return std::move(made).error();
    }
    s.incoming = std::move(*made);
    s.incoming_started = true;
    return ok();
}

Status MigrationService::status() const noexcept
{
    return state_->source_is_latest ? state_->source.status() : state_->destination.status();
}

const Timelines& MigrationService::timelines() const noexcept
{
    return state_->timelines;
}

MigrationReport MigrationService::report()
{
    ServiceState& s = *state_;
    MigrationReport report;
    report.blocked_reasons = blocked_reasons();
    const Status now = status();
    if (now == Status::None)
        return report;
    report.status = now;
    report.source = s.source_is_latest;
    if (!s.source_is_latest) {
        if (s.incoming)
            report.error = s.incoming->error();
        return report;
    }
    if (!s.outgoing) {
        report.error = s.unopened;
        return report;
    }
    report.error = s.outgoing->error();
    report.show_xbzrle = s.outgoing->config().capabilities.has(Capability::Xbzrle);
    switch (now) {
    case Status::Setup:
    case Status::Cancelling:
    case Status::Cancelled:
    case Status::Failed:
        break;
    default:
        report.statistics = &s.outgoing->statistics();
        report.vfio_bytes = external_bytes(s.env.registry);
    }
    return report;
}

}  // namespace godwit::migration
