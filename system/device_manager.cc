// SPDX-License-Identifier: LGPL-2.1-or-later
#include "qapi/event_sink.h"
#include "system/device.h"
#include "system/plugin.h"
#include "system/vm.h"
#include "util/json.h"

#include <algorithm>

namespace godwit::system {

namespace {

struct Global {
    std::string driver;
    std::string property;
    std::string value;
    bool used = false;

    std::string text() const { return driver + "." + property + "=" + value; }
};

Error bad_driver(std::string_view expected)
{
    return Error(Errc::InvalidArgument, "Parameter 'driver' expects " + std::string(expected));
}

}  // namespace

struct DeviceManager::Impl {
    Vm& vm;
    Bus system_bus{"System", "main-system-bus", nullptr};
    std::vector<Device*> realized;  // in order
    mutable std::vector<Global> globals;
    unsigned unattached = 0;
    unsigned anonymous = 0;
    std::function<Result<void>(std::string_view)> gate;

    explicit Impl(Vm& machine) : vm(machine) {}

    Object& container(std::string_view name);
    Result<const TypeInfo*> device_type(std::string_view driver, bool hotplug);
    Result<Bus*> choose_bus(const TypeInfo& type, const Json& properties);
    Bus* find_bus(std::string_view name) const;
    Bus* bus_of_type(std::string_view type) const;
    Result<Device*> place(std::unique_ptr<Device> device, Object& parent, std::string name);
    Result<void> realize(Device& device, Bus* bus);
    Result<void> realize_on_bus(Device& device, Bus* bus);
    void unplug(Device& device) noexcept;
    void unrealize(Device& device) noexcept;
    void unrealize_below(Device& device) noexcept;
    void announce_deleted(Object& object);
};

/// /machine/NAME, made when first needed.
Object& DeviceManager::Impl::container(std::string_view name)
{
    const auto get = [this](Object& parent, std::string_view child) -> Object& {
        if (Object* there = parent.child(child))
            return *there;
        // Neither can fail: the type is built in and the name is free.
        (void)parent.add_child(std::string(child), vm.types().create("container").value());
        return *parent.child(child);
    };
    return get(get(vm.root(), "machine"), name);
}

Result<const TypeInfo*> DeviceManager::Impl::device_type(std::string_view driver, bool hotplug)
{
    const TypeInfo* type = vm.types().find(driver);
    if (!type && GW_TRY(vm.plugins().load_for_type(driver)))
        type = vm.types().find(driver);
    if (!type || !vm.types().is_a(driver, "device")) {
        return Error(Errc::InvalidArgument,
                     "'" + std::string(driver) + "' is not a valid device model name");
    }
    if (type->abstract_type)
        return bad_driver("a non-abstract device type");
    if (!type->user_creatable || (hotplug && !type->hotpluggable))
        return bad_driver("a pluggable device type");
    return type;
}

Bus* DeviceManager::Impl::find_bus(std::string_view name) const
{
    const std::string_view last = name.substr(name.rfind('/') + 1);
    for (const Device* device : realized) {
        for (const auto& bus : device->buses()) {
            if (bus->name() == last && (last == name || device->path() + "/" + bus->name() == name))
                return bus.get();
        }
    }
    return name == system_bus.name() ? const_cast<Bus*>(&system_bus) : nullptr;
}

Bus* DeviceManager::Impl::bus_of_type(std::string_view type) const
{
    Bus* first = nullptr;
    for (const Device* device : realized) {
        for (const auto& bus : device->buses()) {
            if (bus->type() != type)
                continue;
            if (!bus->full())
                return bus.get();
            first = first ? first : bus.get();
        }
    }
    return first;
}

Result<Bus*> DeviceManager::Impl::choose_bus(const TypeInfo& type, const Json& properties)
{
    Bus* bus = nullptr;
    const auto named = properties.find("bus");
    if (named != properties.end()) {
        if (!named->is_string())
            return Error(Errc::InvalidArgument,
                         "Invalid parameter type for 'bus', expected: string");
        const auto& name = named->get_ref<const std::string&>();
        bus = find_bus(name);
        if (!bus)
            return Error(Errc::NotFound, "Bus '" + name + "' not found");
        if (bus->type() != type.bus && !(type.bus.empty() && bus == &system_bus)) {
            return Error(Errc::InvalidArgument,
                         "Device '" + type.name + "' can't go on " + bus->type() + " bus");
        }
        if (bus->full())
            return Error(Errc::Busy, "Bus '" + name + "' is full");
        return bus;
    }
    if (type.bus.empty())
        return vm.types().is_a(type.name, "sys-bus-device") ? &system_bus : nullptr;
    bus = bus_of_type(type.bus);
    if (!bus) {
        return Error(Errc::NotFound,
                     "No '" + type.bus + "' bus found for device '" + type.name + "'");
    }
    if (bus->full())
        return Error(Errc::Busy, "Bus '" + bus->name() + "' is full");
    return bus;
}

Result<Device*> DeviceManager::Impl::place(std::unique_ptr<Device> device, Object& parent,
                                           std::string name)
{
    Device* placed = device.get();
    placed->vm_ = &vm;
    GW_TRY(parent.add_child(std::move(name), std::move(device)));
    return placed;
}

Result<void> DeviceManager::Impl::realize_on_bus(Device& device, Bus* bus)
{
    if (bus) {
        GW_TRY(bus->check_plug(device));
        device.parent_bus_ = bus;
        if (auto plugged = bus->plug(device); !plugged) {
            device.parent_bus_ = nullptr;
            return plugged;
        }
        bus->devices_.push_back(&device);
    }
    GW_TRY(device.realize());
    if (auto registered = device.register_state(vm.state_registry()); !registered) {
        unrealize_below(device);
        device.unrealize();
        return registered;
    }
    return {};
}

/// On failure the device is unplugged again but still in the tree.
Result<void> DeviceManager::Impl::realize(Device& device, Bus* bus)
{
    if (auto done = realize_on_bus(device, bus); !done) {
        unrealize_below(device);
        device.kept_.clear();
        unplug(device);
        return done;
    }
    device.realized_ = true;
    realized.push_back(&device);
    if (device.hotplugged_)
        device.reset(ResetKind::Cold);
    return {};
}

void DeviceManager::Impl::unplug(Device& device) noexcept
{
    if (Bus* bus = std::exchange(device.parent_bus_, nullptr)) {
        if (std::erase(bus->devices_, &device))
            bus->unplug(device);
    }
}

/// What sits on the device's buses, wherever it is in the tree, and the devices it made itself.
void DeviceManager::Impl::unrealize_below(Device& device) noexcept
{
    for (const auto& bus : device.buses_) {
        while (!bus->devices_.empty()) {
            Device* const last = bus->devices_.back();
            unrealize(*last);
            if (last->parent())
                last->parent()->take_child(last->name());
        }
    }
    auto children = device.children();
    std::ranges::reverse(children);
    for (Object* child : children) {
        if (auto* below = dynamic_cast<Device*>(child))
            unrealize(*below);
    }
}

void DeviceManager::Impl::unrealize(Device& device) noexcept
{
    unrealize_below(device);
    if (std::exchange(device.realized_, false)) {
        device.kept_.clear();
        device.unrealize();
        std::erase(realized, &device);
    }
    unplug(device);
}

/// DEVICE_DELETED for what is about to go, inner ones first; only user-visible ones have an id.
void DeviceManager::Impl::announce_deleted(Object& object)
{
    for (Object* child : object.children())
        announce_deleted(*child);
    const auto* device = dynamic_cast<Device*>(&object);
    if (!device)
        return;
    Json data = Json::object();
    if (!device->id().empty())
        data["device"] = device->id();
    data["path"] = device->path();
    vm.events().emit("DEVICE_DELETED", std::move(data));
}

DeviceManager::DeviceManager(Vm& vm) : impl_(std::make_unique<Impl>(vm)) {}
DeviceManager::~DeviceManager() = default;

Result<Device*> DeviceManager::add(std::string_view driver, std::string id, const Json& properties,
                                   bool hotplug, Words words)
{
    if (hotplug && impl_->gate)
        GW_TRY(impl_->gate("device_add"));
    const TypeInfo* type = GW_TRY(impl_->device_type(driver, hotplug));
    if (!id.empty())
        GW_TRY(check_identifier(id));
    Bus* bus = GW_TRY(impl_->choose_bus(*type, properties));
    if (hotplug && bus && !bus->accepts_hotplug()) {
        return Error(Errc::Unsupported, "Bus '" + bus->name() + "' does not support hotplugging");
    }
    if (!id.empty() && impl_->container("peripheral").child(id))
        return Error(Errc::Exists, "Duplicate device ID '" + id + "'");

    std::unique_ptr<Object> object = GW_TRY(impl_->vm.types().create(driver));
    auto* device = dynamic_cast<Device*>(object.get());
    if (!device)
        return Error(Errc::Internal, "type '" + type->name + "' does not make a device");
    device->id_ = id;
    device->vm_ = &impl_->vm;
    device->hotplugged_ = hotplug;
    GW_TRY(apply_globals(*device));
    for (const auto& [name, value] : properties.items()) {
        if (name == "driver" || name == "id" || name == "bus")
            continue;
        if (words == Words::Text && value.is_string())
            GW_TRY(device->set_property_text(name, value.get_ref<const std::string&>()));
        else
            GW_TRY(device->set_property(name, value));
    }
    object.release();
    Object& parent = impl_->container(id.empty() ? "peripheral-anon" : "peripheral");
    const std::string name =
        id.empty() ? "device[" + std::to_string(impl_->anonymous++) + "]" : std::move(id);
    GW_TRY(impl_->place(std::unique_ptr<Device>(device), parent, name));
    if (auto done = impl_->realize(*device, bus); !done) {
        parent.take_child(name);
        return std::unexpected<Error>(std::move(done).error());
    }
    return device;
}

Result<Device*> DeviceManager::add_builtin(std::string_view driver, Bus* bus,
                                           const Json& properties, std::string child_name,
                                           Object* parent)
{
    std::unique_ptr<Object> object = GW_TRY(impl_->vm.types().create(driver));
    auto* device = dynamic_cast<Device*>(object.get());
    if (!device)
        return Error(Errc::Internal, "type '" + std::string(driver) + "' does not make a device");
    device->vm_ = &impl_->vm;
    GW_TRY(apply_globals(*device));
    for (const auto& [name, value] : properties.items())
        GW_TRY(device->set_property(name, value));
    object.release();
    return add_builtin(std::unique_ptr<Device>(device), bus, std::move(child_name), parent);
}

Result<Device*> DeviceManager::add_builtin(std::unique_ptr<Device> device, Bus* bus,
                                           std::string child_name, Object* parent)
{
    if (device->type_name() == "object")
        GW_TRY(impl_->vm.types().adopt(*device, "device"));
    if (child_name.empty())
        child_name = "device[" + std::to_string(impl_->unattached++) + "]";
    Object& where = parent ? *parent : impl_->container("unattached");
    Device* placed = GW_TRY(impl_->place(std::move(device), where, child_name));
    if (auto done = impl_->realize(*placed, bus); !done) {
        where.take_child(child_name);
        return std::unexpected<Error>(std::move(done).error());
    }
    return placed;
}

Result<void> DeviceManager::remove(std::string_view id_or_path)
{
    Device* device = find(id_or_path);
    if (!device) {
        return Error(Errc::DeviceNotFound, "Device '" + std::string(id_or_path) + "' not found");
    }
    if (impl_->gate)
        GW_TRY(impl_->gate("device_del"));
    if (device->parent_bus() && !device->parent_bus()->accepts_hotplug()) {
        return Error(Errc::Unsupported,
                     "Bus '" + device->parent_bus()->name() + "' does not support hotplugging");
    }
    if (!device->type().hotpluggable) {
        return Error(Errc::Unsupported,
                     "Device '" + std::string(id_or_path) + "' does not support hotplugging");
    }
    impl_->announce_deleted(*device);
    impl_->unrealize(*device);
    device->parent()->take_child(device->name());
    return {};
}

Device* DeviceManager::find(std::string_view id_or_path) const noexcept
{
    Object* machine = impl_->vm.root().child("machine");
    Object* peripheral = machine ? machine->child("peripheral") : nullptr;
    if (!id_or_path.starts_with('/'))
        return peripheral ? dynamic_cast<Device*>(peripheral->child(id_or_path)) : nullptr;
    return dynamic_cast<Device*>(impl_->vm.root().resolve(id_or_path));
}

std::vector<Device*> DeviceManager::devices() const
{
    return impl_->realized;
}

Bus* DeviceManager::find_bus(std::string_view name) const noexcept
{
    return impl_->find_bus(name);
}

Bus& DeviceManager::system_bus() noexcept
{
    return impl_->system_bus;
}

std::vector<Bus*> DeviceManager::buses() const
{
    std::vector<Bus*> list{&impl_->system_bus};
    for (const Device* device : impl_->realized) {
        for (const auto& bus : device->buses())
            list.push_back(bus.get());
    }
    return list;
}

void DeviceManager::reset_all(ResetKind kind)
{
    for (Device* device : devices())
        device->reset(kind);
}

void DeviceManager::unrealize_all() noexcept
{
    while (!impl_->realized.empty()) {
        Device& last = *impl_->realized.back();
        impl_->unrealize(last);
    }
}

void DeviceManager::set_hotplug_gate(std::function<Result<void>(std::string_view)> gate)
{
    impl_->gate = std::move(gate);
}

void DeviceManager::add_global(std::string driver, std::string property, std::string value)
{
    impl_->globals.push_back({std::move(driver), std::move(property), std::move(value)});
}

std::vector<std::string> DeviceManager::unused_globals() const
{
    std::vector<std::string> list;
    for (const Global& global : impl_->globals) {
        const TypeInfo* type = impl_->vm.types().find(global.driver);
        if (global.used) {
            continue;
        } else if (!type) {
            list.push_back("global " + global.driver + "." + global.property +
                           " has invalid class name");
        } else if (!type->hotpluggable) {
            list.push_back("global " + global.text() + " not used");
        }
    }
    return list;
}

std::vector<std::pair<std::string, std::string>>
DeviceManager::take_globals(std::string_view driver)
{
    std::vector<std::pair<std::string, std::string>> taken;
    for (Global& global : impl_->globals) {
        if (global.driver != driver)
            continue;
        global.used = true;
        taken.emplace_back(global.property, global.value);
    }
    return taken;
}

Result<void> DeviceManager::apply_globals(Object& object) const
{
    for (Global& global : impl_->globals) {
        if (!impl_->vm.types().is_a(object.type_name(), global.driver))
            continue;
        global.used = true;
        GW_TRY(with_context(object.set_property_text(global.property, global.value),
                            "can't apply global " + global.text()));
    }
    return {};
}

}  // namespace godwit::system
