// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/vm.h"

#include "system/vm_private.h"
#include "util/flight_recorder.h"
#include "util/log.h"

#include <algorithm>
#include <cassert>

namespace godwit::system {

namespace {

constexpr TraceEvent<std::string_view, std::string_view> kRunStateChange{"run_state_change",
                                                                         {"from", "to"}};

}  // namespace

void WaitingEvents::emit(std::string_view event, Json data)
{
    std::lock_guard guard(mutex_);
    events_.emplace_back(event, std::move(data));
}

void WaitingEvents::pass_on(qapi::EventSink& to)
{
    std::lock_guard guard(mutex_);
    for (auto& [event, data] : std::exchange(events_, {}))
        to.emit(event, std::move(data));
}

Vm::Impl::Impl(Vm& vm, Log& log_, FlightRecorder& recorder_, std::unique_ptr<MainLoop> loop_)
    : self(vm), log(log_), recorder(recorder_), loop(std::move(loop_)), plugins(vm), clocks(*loop),
      memory("memory", loop->lock(), UINT64_MAX), io("I/O", loop->lock(), 0x10000),
      chardevs(*loop, [this](std::string_view line) { log.info(line); }, &yanks), devices(vm)
{
    // None can be refused: the types are built in and the names are free.
    (void)types.adopt(root, "container");
    for (const char* name : {"objects", "chardevs"})
        (void)root.add_child(name, types.create("container").value());
    types.set_root(&root);
    const TraceEventInfo* const events[] = {&kRunStateChange};
    recorder.declare(events);
    run_state_trace = run_state.on_change([this](RunState from, RunState to) {
        recorder.record(kRunStateChange, to_string(from), to_string(to));
    });
    run_state.set_hooks({
        .pause_vcpus = [&vm] { vm.pause_vcpus(); },
        .resume_vcpus = [&vm] { vm.resume_vcpus(); },
        .stop_clock = [this] { clocks.stop_virtual(); },
        .start_clock = [this] { clocks.start_virtual(); },
        .emit = [&vm](std::string_view event) { vm.events().emit(event, Json::object()); },
    });
}

Vm::Impl::~Impl()
{
    devices.unrealize_all();
    vcpus.clear();
    for (const char* name : {"machine", "objects", "chardevs"})
        root.take_child(name);
}

Vm::Vm() = default;

Result<std::unique_ptr<Vm>> Vm::create(Log& log, FlightRecorder& recorder)
{
    auto loop = GW_TRY(MainLoop::create());
    std::unique_ptr<Vm> vm(new Vm);
    vm->impl_ = std::make_unique<Impl>(*vm, log, recorder, std::move(loop));
    return vm;
}

Vm::~Vm()
{
    MachineGuardIfNeeded guard(lock());
    impl_->run_shutdown_hooks();
    pause_vcpus();
    // The lock goes with the loop, which goes with the parts: let go of it while it exists.
    impl_->devices.unrealize_all();
}

VmConfig& Vm::config() noexcept
{
    return impl_->config;
}
Log& Vm::log() noexcept
{
    return impl_->log;
}
FlightRecorder& Vm::recorder() noexcept
{
    return impl_->recorder;
}
MainLoop& Vm::loop() noexcept
{
    return *impl_->loop;
}
Clocks& Vm::clocks() noexcept
{
    return impl_->clocks;
}
TypeRegistry& Vm::types() noexcept
{
    return impl_->types;
}
Object& Vm::root() noexcept
{
    return impl_->root;
}
GuestMemory& Vm::ram() noexcept
{
    return impl_->ram;
}
AddressSpace& Vm::memory() noexcept
{
    return impl_->memory;
}
AddressSpace& Vm::io() noexcept
{
    return impl_->io;
}
RunStateMachine& Vm::run_state() noexcept
{
    return impl_->run_state;
}
DeviceManager& Vm::devices() noexcept
{
    return impl_->devices;
}
ChardevSet& Vm::chardevs() noexcept
{
    return impl_->chardevs;
}
PluginLoader& Vm::plugins() noexcept
{
    return impl_->plugins;
}
YankRegistry& Vm::yanks() noexcept
{
    return impl_->yanks;
}

FdStore& Vm::fds() noexcept
{
    return impl_->fds;
}
migration::stream::StateRegistry& Vm::state_registry() noexcept
{
    return impl_->state_registry;
}
Machine* Vm::machine() const noexcept
{
    return impl_->machine;
}
Accelerator* Vm::accelerator() const noexcept
{
    return impl_->accelerator.get();
}
const std::vector<Vcpu*>& Vm::vcpus() const noexcept
{
    return impl_->vcpus;
}
void Vm::add_vcpu(Vcpu& vcpu)
{
    impl_->vcpus.push_back(&vcpu);
}

migration::MigrationService* Vm::migration() const noexcept
{
    return impl_->migration;
}
void Vm::set_migration(migration::MigrationService* service) noexcept
{
    impl_->migration = service;
}

void Vm::set_event_sink(qapi::EventSink* sink) noexcept
{
    impl_->sink = sink ? sink : &impl_->waiting;
    if (sink)
        impl_->waiting.pass_on(*sink);
}

qapi::EventSink& Vm::events() noexcept
{
    return *impl_->sink;
}

Result<void> Vm::set_accelerator(std::unique_ptr<Accelerator> accelerator)
{
    // The accelerator may look for itself in the Vm while it starts.
    impl_->accelerator = std::move(accelerator);
    auto done = impl_->accelerator->init(*this);
    if (!done)
        impl_->accelerator.reset();
    return done;
}

Result<void> Vm::set_machine(std::unique_ptr<Machine> machine)
{
    assert(!impl_->machine);
    Machine* placed = machine.get();
    GW_TRY(impl_->root.add_child("machine", std::move(machine)));
    for (const char* name : {"peripheral", "peripheral-anon", "unattached"}) {
        auto container = GW_TRY(impl_->types.create("container"));
        GW_TRY(placed->add_child(name, std::move(container)));
    }
    impl_->machine = placed;
    return {};
}

Result<void> Vm::init_machine()
{
    return impl_->machine->init(*this);
}

Result<void> Vm::finish_machine()
{
    GW_TRY(impl_->machine->done(*this));
    impl_->machine->reset(*this, ResetKind::Cold);
    return {};
}

namespace {

Result<void> set_object_property(Object& object, std::string_view name, const Json& value,
                                 DeviceManager::Words words)
{
    const bool text = words == DeviceManager::Words::Text;
    if (!object.find_property(name)) {
        const std::string quoted = "'" + std::string(name) + "'";
        return Error(Errc::InvalidArgument, text ? "Invalid parameter " + quoted
                                                 : "Parameter " + quoted + " is unexpected");
    }
    if (text && value.is_string())
        return object.set_property_text(name, value.get_ref<const std::string&>());
    return object.set_property(name, value);
}

}  // namespace

Result<Object*> Vm::add_object(std::string_view type, std::string id, const Json& properties,
                               DeviceManager::Words words)
{
    const TypeInfo* info = types().find(type);
    if (!info && GW_TRY(plugins().load_for_type(type)))
        info = types().find(type);
    if (!info || !types().user_creatable_object(*info)) {
        return Error(Errc::InvalidArgument,
                     "Parameter 'qom-type' does not accept value '" + std::string(type) + "'");
    }
    GW_TRY(check_identifier(id));
    std::unique_ptr<Object> object = GW_TRY(types().create(type));
    GW_TRY(devices().apply_globals(*object));
    for (const auto& [name, value] : properties.items()) {
        if (name != "qom-type" && name != "id")
            GW_TRY(set_object_property(*object, name, value, words));
    }
    Object* placed = object.get();
    Object& parent = *root().child("objects");
    GW_TRY(parent.add_child(id, std::move(object)));
    if (auto* user = dynamic_cast<UserObject*>(placed)) {
        if (auto done = user->complete(*this); !done) {
            parent.take_child(id);
            return std::unexpected<Error>(std::move(done).error());
        }
    }
    return placed;
}

Result<void> Vm::remove_object(std::string_view id)
{
    Object* object = find_object(id);
    if (!object)
        return Error(Errc::NotFound, "object '" + std::string(id) + "' not found");
    if (const auto* user = dynamic_cast<UserObject*>(object); user && user->in_use()) {
        return Error(Errc::Busy, "object '" + std::string(id) + "' is in use, can not be deleted");
    }
    object->parent()->take_child(id);
    return {};
}

Object* Vm::find_object(std::string_view id) const noexcept
{
    return impl_->root.child("objects")->child(id);
}

}  // namespace godwit::system
