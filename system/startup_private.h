// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the parts of the start-up share.
#pragma once

#include "system/daemon.h"
#include "system/sandbox.h"
#include "system/startup.h"
#include "util/json_fwd.h"

#include <array>
#include <map>
#include <set>

namespace godwit::system {

struct Startup::Impl {
    Vm& vm;
    CommandLine& line;
    StreamLogSink& log_sink;
    std::string program;
    std::function<std::string()> cpu_models;

    // Process
    bool daemonize = false;
    std::string pid_path;
    SandboxOptions sandbox;
    std::vector<std::string> trace_patterns;
    std::string log_path;
    std::vector<std::string> plugins;
    Daemon daemon;
    PidFile pid_file;

    // Settings
    struct Accel {
        std::string option;  // "-accel kvm,dirty-ring-size=4096", for errors
        OptionList words;    // "accel" and its properties
    };
    std::vector<Accel> accels;
    OptionList machine_words;  // merged; "type" is the machine
    OptionList smp;
    OptionList memory;
    std::map<std::uint64_t, NumaNode> numa_nodes;
    std::set<std::string, std::less<>> device_ids;

    explicit Impl(Vm& machine_vm, CommandLine& words, StreamLogSink& sink, std::string name)
        : vm(machine_vm), line(words), log_sink(sink), program(std::move(name))
    {}

    // startup_process.cc
    void add_process_options();
    // startup_settings.cc
    void add_settings();
    void add_ignored_options();
    // startup_options.cc
    void add_builders();
    Result<void> add_machine_words(const std::string& text);
    Result<void> add_numa(const std::string& text);
    Result<void> add_global(const std::string& text);
    Result<void> add_device(const std::string& text);
    Result<void> add_object(const std::string& text);
    Result<void> open_serial(const std::string& text);

    // startup_machine.cc
    Result<void> choose_accelerator(const MachineInfo& machine);
    Result<void> try_accelerator(const Accel& accel);
    Result<void> set_machine_words(Machine& machine);
    Result<void> set_memory(const Machine& machine);
    std::string smp_option() const { return "-smp " + smp.to_string(); }
    Result<void> set_cpus(const MachineInfo& machine);

    /// True when the argument asked for help, which was then given.
    bool help(std::string_view option, std::string_view text);
    /// "help" and "DRIVER,help" of -device.
    Result<void> device_help(const std::string& text);
};

using Handler = std::function<Result<void>(const std::string&)>;

/// Handlers that only note something down.
inline Handler store(std::string& to)
{
    return [&to](const std::string& text) -> Result<void> {
        to = text;
        return {};
    };
}

inline Handler switch_on(bool& to)
{
    return [&to](const std::string&) -> Result<void> {
        to = true;
        return {};
    };
}

// startup_help.cc
std::string machine_help(const TypeRegistry& types);
std::string accel_help(const TypeRegistry& types);
std::string object_help(const TypeRegistry& types);
/// "NAME options:" and a line a property; an error if there is no such type.
Result<std::string> properties_help(const TypeRegistry& types, std::string_view type);

/// "550e8400-e29b-41d4-a716-446655440000" as bytes in text order.
Result<std::array<std::uint8_t, 16>> parse_uuid(std::string_view text);
/// sockets=, cores=, threads=, maxcpus=, cpus= of -smp, completed as QEMU does.
Result<void> parse_smp(const OptionList& words, VmConfig& config);

}  // namespace godwit::system
