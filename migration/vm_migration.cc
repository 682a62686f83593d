// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/vm_migration.h"

#include "migration/hmp.h"
#include "migration/insight/facts.h"
#include "migration/insight/qmp.h"
#include "migration/qmp.h"
#include "migration/qmp_statistics.h"
#include "migration/stream/registry.h"
#include "migration/trace.h"
#include "qapi/codec.h"
#include "qapi/command_context.h"
#include "qapi/migration_codec.h"
#include "qapi/migration_events.h"
#include "qapi/migration_insight_events.h"
#include "system/accelerator.h"
#include "system/command_line.h"
#include "system/machine.h"
#include "system/main_loop.h"
#include "system/run_state.h"
#include "system/vm.h"
#include "util/json.h"
#include "util/option_list.h"

#include <cstring>

namespace godwit::migration {

struct VmMigration::Impl {
    explicit Impl(system::Vm& the_vm)
        : vm(the_vm), dirty(vm.memory(), vm.ram(), [this](unsigned percent) {
              for (system::Vcpu* vcpu : vm.vcpus())
                  vcpu->set_throttle(percent);
          })
    {}

    system::Vm& vm;
    SteadyClock clock;
    ListenerDirtySource dirty;
    std::unique_ptr<MigrationService> service;
    std::unique_ptr<MigrationQmp> qmp;
    std::unique_ptr<InsightQmp> insight;
    std::optional<std::string> incoming;           // -incoming URI, or "defer"
    std::vector<qapi::MigrationChannel> channels;  // -incoming with a channel

    Result<void> take_globals();
    Result<void> take_incoming(const std::string& argument);
};

// A URI, "defer", or a channel: as JSON, or dotted as "main,addr.transport=socket,...".
Result<void> VmMigration::Impl::take_incoming(const std::string& argument)
{
    const bool json = argument.starts_with('{');
    if (!json && argument.find("addr.transport=") == std::string::npos) {
        incoming = argument;
        return ok();
    }
    Json channel;
    if (json)
        channel = Json::parse(argument, nullptr, false);
    else
        channel = GW_TRY(parse_keyval(argument, "channel-type"));
    if (channel.is_discarded())
        return Error(Errc::InvalidArgument, "invalid JSON");
    channels.push_back(GW_TRY(qapi::from_json<qapi::MigrationChannel>(channel)));
    return ok();
}

Result<std::unique_ptr<VmMigration>> VmMigration::create(system::Vm& vm)
{
    vm.recorder().declare(kTraceEvents);
    auto impl = std::make_unique<Impl>(vm);
    impl->service = GW_TRY(MigrationService::create(
        {.lock = vm.lock(),
         .run_state = vm.run_state(),
         .memory = vm.ram(),
         .registry = vm.state_registry(),
         .dirty = impl->dirty,
         .clock = impl->clock,
         .clocks = &vm.clocks(),
         .log = vm.log().with_category("migration"),
         .recorder = &vm.recorder(),
         .yanks = &vm.yanks(),
         .emit_status =
             [&vm](std::string_view status) {
                 if (const auto s = qapi::from_string<qapi::MigrationStatus>(status))
                     qapi::emit_migration(vm.events(), *s);
             },
         .emit_pass =
             [&vm](std::uint64_t pass) {
                 qapi::emit_migration_pass(vm.events(), static_cast<std::int64_t>(pass));
             },
         .emit_forecast =
             [&vm](const ForecastReport& report) {
                 qapi::MigrationForecast forecast = to_qapi(report.latest);
                 forecast.changes = report.changes;
                 qapi::emit_migration_forecast(vm.events(), forecast);
             },
         .facts = [&vm, i = impl.get()] { return machine_facts(vm, *i->service); },
         .exit_with_failure =
             [&vm] {
                 vm.loop().post([&vm] {
                     vm.set_exit_status(1);
                     vm.loop().quit();
                 });
             }}));
    impl->qmp = std::make_unique<MigrationQmp>(vm, *impl->service);
    impl->insight = std::make_unique<InsightQmp>(vm, *impl->service);
    vm.set_migration(impl->service.get());
    return std::unique_ptr<VmMigration>(new VmMigration(std::move(impl)));
}

VmMigration::VmMigration(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

VmMigration::~VmMigration()
{
    impl_->service->shut_down();
    impl_->vm.set_migration(nullptr);
}

void VmMigration::add_options(system::CommandLine& line)
{
    line.add({.name = "incoming",
              .parameters = "uri|defer",
              .help = "wait for a migration from tcp:HOST:PORT, unix:PATH, vsock:CID:PORT, fd:N,\n"
                      "                file:PATH[,offset=SIZE] or exec:COMMAND; defer: until "
                      "migrate-incoming says from where",
              .stage = system::Stage::Settings,
              .handle = [impl = impl_.get()](const std::string& argument) -> Result<void> {
                  GW_TRY(impl->take_incoming(argument));
                  impl->vm.config().incoming = true;
                  impl->service->expect_incoming();
                  return impl->vm.run_state().set(system::RunState::Inmigrate);
              }});
    line.add({.name = "only-migratable",
              .parameters = "",
              .help = "refuse what could not be migrated",
              .stage = system::Stage::Settings,
              .handle = [impl = impl_.get()](const std::string&) -> Result<void> {
                  impl->service->blockers().set_only_migratable(true);
                  return ok();
              }});
}

// -global migration.NAME=VALUE.
Result<void> VmMigration::Impl::take_globals()
{
    for (const auto& [name, value] : vm.devices().take_globals("migration")) {
        const bool on = value == "on" || value == "true" || value == "yes";
        if (!on && value != "off" && value != "false" && value != "no")
            return Error(Errc::InvalidArgument,
                         "-global migration." + name + "=" + value + ": expects 'on' or 'off'");
        if (name == "x-ignore-unknown-sections")
            service->set_ignore_unknown_sections(on);
        else if (name == "x-insight")
            service->set_insight(on);
        else
            return Error(Errc::Unsupported,
                         "-global migration." + name + ": is not supported by this version");
    }
    return ok();
}

Result<void> VmMigration::machine_done()
{
    system::Vm& vm = impl_->vm;
    std::optional<stream::Uuid> uuid;
    if (vm.config().uuid) {
        uuid.emplace();
        std::memcpy(uuid->data(), vm.config().uuid->data(), uuid->size());
    }
    if (vm.accelerator() != nullptr)
        impl_->service->set_dirty_ring(vm.accelerator()->dirty_ring_size() != 0);
    vm.devices().set_hotplug_gate([impl = impl_.get()](std::string_view command) -> Result<void> {
        if (is_running(impl->service->status()))
            return Error(Errc::BadState, std::string(command) + " not allowed while migrating");
        return ok();
    });
    GW_TRY(impl_->take_globals());
    if (const auto* entry = vm.state_registry().unmigratable();
        entry != nullptr && impl_->service->blockers().only_migratable())
        return Error(Errc::PermissionDenied, "Device " + entry->idstr +
                                                 " is not migratable, but --only-migratable was "
                                                 "specified");
    return impl_->service->machine_done(
        vm.machine() != nullptr ? vm.machine()->info().name : "none", uuid);
}

Result<void> VmMigration::begin()
{
    if (!impl_->incoming && impl_->channels.empty())
        return ok();
    impl_->vm.run_state().set_autostart(!impl_->vm.config().stopped);
    if (impl_->incoming == "defer")
        return ok();
    qapi::CommandContext nobody;
    qapi::MigrateIncomingArgs args;
    args.uri = impl_->incoming;
    if (!impl_->channels.empty())
        args.channels = impl_->channels;
    auto begun = impl_->qmp->migrate_incoming(nobody, args);
    return with_context(std::move(begun), "-incoming " + impl_->incoming.value_or("channel"));
}

MigrationService& VmMigration::service() noexcept
{
    return *impl_->service;
}

qapi::MigrationCommands& VmMigration::commands() noexcept
{
    return *impl_->qmp;
}

qapi::MigrationInsightCommands& VmMigration::insight_commands() noexcept
{
    return *impl_->insight;
}

void VmMigration::add_human_commands(system::HmpTable& table)
{
    migration::add_human_commands(table, *impl_->qmp, *impl_->insight, *impl_->service);
}

}  // namespace godwit::migration
