// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a Vm is made of; for vm.cc and vm_requests.cc alone.
#pragma once

#include "migration/stream/registry.h"
#include "qapi/event_sink.h"
#include "system/plugin.h"
#include "system/vm.h"
#include "util/json.h"

#include <atomic>
#include <list>
#include <mutex>
#include <utility>

namespace godwit::system {

/// Keeps events until somebody can take them.
class WaitingEvents : public qapi::EventSink {
public:
    void emit(std::string_view event, Json data) override;
    void pass_on(qapi::EventSink& to);

private:
    std::mutex mutex_;  // guards events_
    std::vector<std::pair<std::string, Json>> events_;
};

/// What was asked for and not carried out yet.
struct Requests {
    std::optional<ShutdownCause> reset;
    std::optional<ShutdownCause> shutdown;
    bool suspend = false;
    bool wakeup = false;
    bool powerdown = false;
};

/// In the order of construction; a plugin's code outlives everything it may have made.
struct Vm::Impl {
    Impl(Vm& vm, Log& log_, FlightRecorder& recorder_, std::unique_ptr<MainLoop> loop_);
    ~Impl();

    Vm& self;
    Log& log;
    FlightRecorder& recorder;
    VmConfig config;
    std::unique_ptr<MainLoop> loop;
    WaitingEvents waiting;
    std::atomic<qapi::EventSink*> sink{&waiting};
    PluginLoader plugins;
    TypeRegistry types;
    Clocks clocks;
    FdStore fds;
    YankRegistry yanks;
    migration::stream::StateRegistry state_registry;
    GuestMemory ram;
    AddressSpace memory;
    AddressSpace io;
    RunStateMachine run_state;
    Registration run_state_trace;
    ChardevSet chardevs;
    std::unique_ptr<Accelerator> accelerator;
    std::vector<Vcpu*> vcpus;
    std::atomic<unsigned> pausing{0};  // who waits for them to pause; changes with the machine lock
    Object root;
    DeviceManager devices;
    Machine* machine = nullptr;
    migration::MigrationService* migration = nullptr;

    std::mutex requests_mutex;  // guards requests
    Requests requests;
    int exit_status = 0;
    std::shared_ptr<std::list<std::function<void()>>> shutdown_hooks =
        std::make_shared<std::list<std::function<void()>>>();

    void ask(const std::function<void(Requests&)>& how);
    void serve();
    void suspend();
    /// True when the process is to end.
    bool shut_down(ShutdownCause cause);
    void reset(ShutdownCause cause);
    void wake_up();
    void power_down();
    void run_shutdown_hooks();
    void emit(std::string_view event, ShutdownCause cause);
};

}  // namespace godwit::system
