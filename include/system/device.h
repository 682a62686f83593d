// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Devices and the buses they plug into.
#pragma once

#include "system/irq.h"
#include "system/object.h"
#include "util/result.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::migration::stream {
class StateRegistry;
}

namespace godwit::system {

class Bus;
class Vm;

enum class ResetKind {
    Cold,    ///< power-on, system_reset
    Wakeup,  ///< from S3: RAM kept
};

/// A piece of hardware.
///
/// Life     created, properties set, realize() once, reset() any number of times, unrealize() once.
/// A
///          device whose realize() failed is destroyed; it must have undone what it did.
/// State    register_state() declares what migrates; it is called after realize() and is undone by
/// the
///          Registrations that the base class keeps.
/// Threads  with the machine lock.
class Device : public Object {
public:
    ~Device() override;

    /// The user's id, or "" for a device without one.
    const std::string& id() const noexcept { return id_; }
    bool realized() const noexcept { return realized_; }
    Bus* parent_bus() const noexcept { return parent_bus_; }
    Vm& vm() const noexcept { return *vm_; }  ///< valid from realize() on

    /// Prefix of the section's idstr: "0000:00:1f.0", "virtio-mmio@00000000feb00e00", or "" without
    /// a path.
    virtual std::string state_path() const;
    /// Refuses what may not change once it is realized, in QEMU's words.
    Result<void> check_settable(const Property& property) const override;
    bool hotplugged() const noexcept { return hotplugged_; }

    /// Empty when there is no such input.
    IrqInput gpio_in(std::string_view list, unsigned n);
    /// The pin must exist: asking for another is our bug and aborts.
    IrqOutput& gpio_out(std::string_view list, unsigned n);
    struct GpioList {
        std::string name;  ///< "" is the unnamed list
        std::vector<IrqInput> inputs;
        std::vector<std::unique_ptr<IrqOutput>> outputs;
    };
    const std::vector<std::unique_ptr<GpioList>>& gpio_lists() const noexcept { return gpio_; }

    const std::vector<std::unique_ptr<Bus>>& buses() const noexcept { return buses_; }

protected:
    Device();
    virtual Result<void> realize() { return {}; }
    virtual void reset(ResetKind) {}
    virtual void unrealize() noexcept {}
    /// Adds this device's VMState entries: `registry.add(...)`, results handed to keep().
    virtual Result<void> register_state(migration::stream::StateRegistry&) { return {}; }

    void add_gpio_in(std::string list, unsigned count,
                     std::function<void(unsigned n, int level)> changed);
    void add_gpio_out(std::string list, unsigned count);
    Bus& add_bus(std::unique_ptr<Bus> bus);
    /// Keeps a registration for as long as the device is realized.
    void keep(Registration registration);

private:
    friend class DeviceManager;
    friend class Bus;
    std::string id_;
    Vm* vm_ = nullptr;
    Bus* parent_bus_ = nullptr;
    bool realized_ = false;
    bool hotplugged_ = false;
    std::vector<std::unique_ptr<GpioList>> gpio_;
    std::vector<std::unique_ptr<Bus>> buses_;
    std::vector<Registration> kept_;
};

/// Where devices plug in. A bus belongs to a device (or to the machine: the system bus).
class Bus {
public:
    Bus(std::string type, std::string name, Device* owner)
        : type_(std::move(type)), name_(std::move(name)), owner_(owner)
    {}
    virtual ~Bus();
    const std::string& type() const noexcept
    {
        return type_;
    }  ///< "PCI", "ISA", "IDE", "virtio-bus"
    const std::string& name() const noexcept { return name_; }  ///< "pcie.0", "ide.0"
    Device* owner() const noexcept { return owner_; }
    const std::vector<Device*>& devices() const noexcept { return devices_; }

    /// Says no when full, or when the address property is taken.
    virtual Result<void> check_plug(Device&) { return {}; }
    /// After the check, before realize(): the device learns its place.
    virtual Result<void> plug(Device&) { return {}; }
    virtual void unplug(Device&) noexcept {}
    virtual bool accepts_hotplug() const { return false; }
    /// No further device fits: another bus of the type is then looked for.
    virtual bool full() const { return false; }

private:
    friend class DeviceManager;
    std::string type_;
    std::string name_;
    Device* owner_;
    std::vector<Device*> devices_;
};

/// Makes, plugs, resets and removes the devices of one Vm.
///
/// Order    reset in order of realization; unrealize in reverse.
/// Errors   in QEMU's words: "'x' is not a valid device model name", "Duplicate device ID 'x'",
/// "Bus 'x' not found",
///          "Property 'T.p' not found", "Device 'x' not found".
class DeviceManager {
public:
    explicit DeviceManager(Vm& vm);
    ~DeviceManager();

    /// How the values of `properties` are written: JSON types, or command-line words to convert.
    enum class Words { Typed, Text };
    /// `-device` / device_add. `properties` holds driver's properties, with `bus` and `addr` among
    /// them.
    Result<Device*> add(std::string_view driver, std::string id, const Json& properties,
                        bool hotplug, Words words = Words::Typed);
    /// A board's own device: created by type, set up, realized; a child of `parent`, by default
    /// /machine/unattached, under `child_name`, by default "device[N]".
    Result<Device*> add_builtin(std::string_view driver, Bus* bus, const Json& properties,
                                std::string child_name = {}, Object* parent = nullptr);
    /// The same for one made by hand (a C++ constructor with arguments). Its type is "device"
    /// unless TypeRegistry::adopt() named another.
    Result<Device*> add_builtin(std::unique_ptr<Device> device, Bus* bus,
                                std::string child_name = {}, Object* parent = nullptr);
    /// device_del. DEVICE_DELETED follows for it and for what it owns.
    Result<void> remove(std::string_view id_or_path);

    Device* find(std::string_view id_or_path) const noexcept;
    std::vector<Device*> devices() const;  ///< realized, in order of realization
    Bus* find_bus(std::string_view name) const noexcept;
    Bus& system_bus() noexcept;
    /// All buses, in order of their devices' realization; the system bus first.
    std::vector<Bus*> buses() const;
    /// Takes everything down, latest first; the objects stay until the tree goes.
    void unrealize_all() noexcept;
    /// Asked before a device is added or removed while the machine runs: a migration says no
    /// ("device_add not allowed while migrating").
    void set_hotplug_gate(std::function<Result<void>(std::string_view command)> gate);
    void reset_all(ResetKind kind);

    /// -global: applies to every object of `driver` (or a descendant) created later.
    void add_global(std::string driver, std::string property, std::string value);
    /// Text of globals that matched nothing, for the warning at the end of start-up.
    std::vector<std::string> unused_globals() const;
    Result<void> apply_globals(Object& object) const;
    /// Property and value of every -global for `driver`, which then counts as used: for a room
    /// whose "driver" is no type ("migration").
    std::vector<std::pair<std::string, std::string>> take_globals(std::string_view driver);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::system
