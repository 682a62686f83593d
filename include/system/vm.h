// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One virtual machine: owns its parts and hands each what it needs. Nothing here is process-wide;
// two Vms in one process work.
#pragma once

#include "system/accelerator.h"
#include "system/address_space.h"
#include "system/chardev.h"
#include "system/clock.h"
#include "system/cpu_topology.h"
#include "system/device.h"
#include "system/fd_store.h"
#include "system/guest_memory.h"
#include "system/machine.h"
#include "system/main_loop.h"
#include "system/object.h"
#include "system/run_state.h"
#include "system/yank.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godwit {
class FlightRecorder;
class Log;
}  // namespace godwit

namespace godwit::qapi {
class EventSink;
}

namespace godwit::migration {
class MigrationService;
}

namespace godwit::system {

class PluginLoader;

/// What the command line said about the machine; set before Machine::init().
struct VmConfig {
    std::string name;                                  ///< -name
    std::optional<std::array<std::uint8_t, 16>> uuid;  ///< -uuid, text order
    std::uint64_t ram_bytes = 0;                       ///< -m, or the back end's size
    std::uint64_t max_ram_bytes = 0;
    unsigned ram_slots = 0;
    std::string memory_backend;        ///< -machine memory-backend=
    std::vector<NumaNode> numa_nodes;  ///< -numa node, by node id
    std::vector<unsigned> cpu_nodes;   ///< each possible vCPU's node; empty: no nodes
    bool aux_ram_share = false;
    unsigned cpus = 1;  ///< -smp
    unsigned max_cpus = 1;
    /// The guest's view of them; their product is max_cpus.
    unsigned sockets = 1, dies = 1, cores = 1, threads = 1;
    std::string cpu_model;  ///< -cpu, with feature flags; "" = the machine's default
    std::string kernel, initrd, append, firmware;  ///< -kernel -initrd -append -bios
    std::string rtc_base = "utc";
    bool no_reboot = false;
    bool no_shutdown = false;
    bool stopped = false;             ///< -S
    bool incoming = false;            ///< -incoming given: ROMs come from the stream
    bool defaults = true;             ///< !-nodefaults
    std::vector<std::string> serial;  ///< -serial, in order
    /// The same opened, by port number; null where there is none ("-serial none").
    std::vector<Chardev*> serial_chardevs;
    bool nographic = false;
};

using ShutdownCause = qapi::ShutdownCause;

/// Owns the parts, in the order they are built; taken down in reverse.
///
/// Threads  as each part says.
class Vm {
public:
    /// `recorder` and `log` outlive the Vm.
    static Result<std::unique_ptr<Vm>> create(Log& log, FlightRecorder& recorder);
    ~Vm();

    VmConfig& config() noexcept;
    Log& log() noexcept;
    FlightRecorder& recorder() noexcept;
    MainLoop& loop() noexcept;
    MachineLock& lock() noexcept { return loop().lock(); }
    Clocks& clocks() noexcept;
    TypeRegistry& types() noexcept;
    Object& root() noexcept;  ///< "/"; has "objects", "machine", "chardevs"
    GuestMemory& ram() noexcept;
    AddressSpace& memory() noexcept;
    AddressSpace& io() noexcept;  ///< 64 Ki ports
    RunStateMachine& run_state() noexcept;
    DeviceManager& devices() noexcept;
    ChardevSet& chardevs() noexcept;
    PluginLoader& plugins() noexcept;  ///< outlives everything a plugin may have made
    FdStore& fds() noexcept;           ///< descriptor sets; opens "/dev/fdset/N"
    YankRegistry& yanks() noexcept;    ///< connections that `yank` tears loose
    migration::stream::StateRegistry& state_registry() noexcept;

    /// What moves this machine: blockers and notifiers for its devices (migration/service.h). Null
    /// where nothing does, as in a test without migration.
    migration::MigrationService* migration() const noexcept;
    void set_migration(migration::MigrationService* service) noexcept;

    /// Set while starting up.
    Machine* machine() const noexcept;
    Accelerator* accelerator() const noexcept;
    const std::vector<Vcpu*>& vcpus() const noexcept;
    void add_vcpu(Vcpu& vcpu);

    /// Where QMP events go; the monitor room sets it. Before that, events are kept.
    void set_event_sink(qapi::EventSink* sink) noexcept;
    qapi::EventSink& events() noexcept;

    /// Runs its init(); keeps it only when that succeeds.
    Result<void> set_accelerator(std::unique_ptr<Accelerator> accelerator);
    /// Puts it at /machine, properties set; init_machine() then builds the board.
    Result<void> set_machine(std::unique_ptr<Machine> machine);
    Result<void> init_machine();
    /// After the last -device: the machine's done(), then the first reset.
    Result<void> finish_machine();

    /// -object, object-add: user-creatable types under /objects. `words` as for devices.
    Result<Object*> add_object(std::string_view type, std::string id, const Json& properties,
                               DeviceManager::Words words = DeviceManager::Words::Typed);
    /// Errors   "object 'x' not found", "object 'x' is in use, can not be deleted".
    Result<void> remove_object(std::string_view id);
    Object* find_object(std::string_view id) const noexcept;

    /// Every vCPU out of the guest, or back in. pause_vcpus() drops the machine lock while it
    /// waits.
    void pause_vcpus();
    void resume_vcpus();

    /// Requests from devices, monitors and signals, any thread; carried out in the main loop, in
    /// order, RESET / SHUTDOWN / SUSPEND / WAKEUP / POWERDOWN events included.
    void request_reset(ShutdownCause cause);
    void request_shutdown(ShutdownCause cause);
    void request_powerdown();
    void request_suspend();  ///< S3: the vCPU that asks executes nothing after this
    /// Errors   "Unable to wake up: guest is not in suspended state".
    Result<void> request_wakeup();
    /// What happened for what reason when run() returns; the process's exit status.
    int exit_status() const noexcept;
    void set_exit_status(int status) noexcept;

    /// Runs before vCPUs and devices are torn down, latest first: monitors, migration.
    [[nodiscard]] Registration on_shutdown(std::function<void()> hook);

    /// Starts vCPUs as the run state says and serves until shutdown.
    void run();

private:
    Vm();
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::system
