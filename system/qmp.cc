// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/qmp.h"

#include "qapi/system_commands.h"
#include "system/command_line.h"
#include "system/qmp_private.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/unique_fd.h"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "godwit-config.h"

namespace godwit::system {

std::unique_ptr<qapi::SystemCommands> make_system_commands(Vm& vm, const CommandLine& line)
{
    return std::make_unique<SystemQmp>(vm, line);
}

Result<qapi::VersionInfo> SystemQmp::query_version()
{
    return qapi::VersionInfo{.qemu = {.major = 10, .minor = 0, .micro = 2},
                             .package = "Godwit " GW_VERSION};
}

Result<qapi::StatusInfo> SystemQmp::query_status()
{
    return qapi::StatusInfo{
        .running = vm_.run_state().running(),
        .status = vm_.run_state().state(),
    };
}

Result<qapi::NameInfo> SystemQmp::query_name()
{
    qapi::NameInfo info;
    if (!vm_.config().name.empty())
        info.name = vm_.config().name;
    return info;
}

Result<qapi::UuidInfo> SystemQmp::query_uuid()
{
    const auto uuid = vm_.config().uuid.value_or(std::array<std::uint8_t, 16>{});
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); ++i)
        text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
    return qapi::UuidInfo{.UUID = text};
}

Result<qapi::TargetInfo> SystemQmp::query_target()
{
    return qapi::TargetInfo{.arch = qapi::SysEmuTarget::X86_64};
}

Result<void> SystemQmp::stop()
{
    RunStateMachine& run = vm_.run_state();
    if (run.state() == RunState::Inmigrate) {
        run.set_autostart(false);
        return {};
    }
    return run.live() ? run.stop(RunState::Paused) : ok();
}

Result<void> SystemQmp::cont()
{
    return vm_.run_state().cont();
}

Result<void> SystemQmp::system_reset()
{
    vm_.request_reset(ShutdownCause::HostQmpSystemReset);
    return {};
}

Result<void> SystemQmp::system_powerdown()
{
    vm_.request_powerdown();
    return {};
}

Result<void> SystemQmp::system_wakeup()
{
    if (!vm_.machine() || !vm_.machine()->wakeup_suspend_support()) {
        return Error(Errc::Unsupported, "wake-up from suspend is not supported by this guest");
    }
    return vm_.request_wakeup();
}

Result<void> SystemQmp::quit()
{
    vm_.request_shutdown(ShutdownCause::HostQmpQuit);
    return {};
}

Result<qapi::CurrentMachineParams> SystemQmp::query_current_machine()
{
    const Machine* machine = vm_.machine();
    return qapi::CurrentMachineParams{.wakeup_suspend_support =
                                          machine && machine->wakeup_suspend_support()};
}

Result<std::vector<qapi::MachineInfo>>
SystemQmp::query_machines(const qapi::QueryMachinesArgs& args)
{
    std::vector<qapi::MachineInfo> list;
    for (const MachineInfo& info : machine_infos(vm_.types())) {
        qapi::MachineInfo one{
            .name = info.name,
            .cpu_max = info.max_cpus,
            // A board may have places for CPUs (query-hotpluggable-cpus), but they are filled at
            // start only: whoever asks here wants to plug.
            .hotpluggable_cpus = false,
            .numa_mem_supported = info.numa_mem_supported,
            .acpi = info.acpi,
        };
        if (!info.alias.empty())
            one.alias = info.alias;
        if (info.is_default)
            one.is_default = true;
        if (!info.default_cpu_type.empty())
            one.default_cpu_type = info.default_cpu_type;
        if (!info.default_ram_id.empty())
            one.default_ram_id = info.default_ram_id;
        if (args.compat_props.value_or(false))
            one.compat_props.emplace();
        list.push_back(std::move(one));
    }
    return list;
}

Result<std::vector<qapi::HotpluggableCPU>> SystemQmp::query_hotpluggable_cpus()
{
    if (!vm_.machine() || !vm_.machine()->info().hotpluggable_cpus)
        return Error(Errc::Unsupported, "machine does not support hot-plugging CPUs");
    const VmConfig& config = vm_.config();
    const std::string type = vm_.vcpus().empty() ? vm_.machine()->info().default_cpu_type
                                                 : std::string(vm_.vcpus()[0]->type_name());
    std::vector<qapi::HotpluggableCPU> list;
    for (unsigned index = config.max_cpus; index-- > 0;) {
        qapi::HotpluggableCPU cpu{
            .type = type,
            .vcpus_count = 1,
            .props = cpu_place(config, index),
        };
        if (index < vm_.vcpus().size())
            cpu.qom_path = vm_.vcpus()[index]->path();
        list.push_back(std::move(cpu));
    }
    return list;
}

Result<void> SystemQmp::inject_nmi()
{
    if (vm_.vcpus().empty())
        return Error(Errc::Unsupported, "machine does not provide NMIs");
    for (Vcpu* vcpu : vm_.vcpus())
        GW_TRY(vcpu->inject_nmi());
    return {};
}

Result<void> SystemQmp::dumpdtb(const qapi::DumpdtbArgs& args)
{
    if (!vm_.machine())
        return Error(Errc::Unsupported, "This machine doesn't have an FDT");
    const std::vector<std::byte> tree = GW_TRY(vm_.machine()->device_tree(vm_));
    const UniqueFd fd(
        ::open(args.filename.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    const bool written =
        fd && ::write(fd.get(), tree.data(), tree.size()) == static_cast<ssize_t>(tree.size());
    if (!written)
        return Error::from_errno("Error saving FDT to file " + args.filename);
    return {};
}

namespace {

/// The keys of an option, from "id:string size:size share:boolean".
std::vector<qapi::CommandLineParameterInfo> parameters_of(std::string_view keys)
{
    std::vector<qapi::CommandLineParameterInfo> list;
    while (!keys.empty()) {
        const std::string_view word = keys.substr(0, keys.find(' '));
        keys.remove_prefix(std::min(word.size() + 1, keys.size()));
        const std::size_t colon = word.find(':');
        const auto type = qapi::from_string<qapi::CommandLineParameterType>(word.substr(colon + 1));
        list.push_back({.name = std::string(word.substr(0, colon)),
                        .type = type.value_or(qapi::CommandLineParameterType::String)});
    }
    return list;
}

}  // namespace

Result<std::vector<qapi::CommandLineOptionInfo>>
SystemQmp::query_command_line_options(const qapi::QueryCommandLineOptionsArgs& args)
{
    std::vector<qapi::CommandLineOptionInfo> list;
    for (const CommandLineOption& option : line_.options()) {
        if (option.parameters.empty() || (args.option && option.group_name() != *args.option))
            continue;
        list.push_back(
            {.option = std::string(option.group_name()), .parameters = parameters_of(option.keys)});
    }
    if (args.option && list.empty())
        return Error(Errc::NotFound, "invalid option name: " + *args.option);
    return list;
}

Result<std::vector<qapi::IOThreadInfo>> SystemQmp::query_iothreads()
{
    return std::vector<qapi::IOThreadInfo>{};
}

Result<qapi::TraceInfo> SystemQmp::x_query_trace(const qapi::XQueryTraceArgs& args)
{
    const FlightRecorder& recorder = vm_.recorder();
    qapi::TraceInfo info{.recorded = recorder.recorded(),
                         .dropped = recorder.dropped(),
                         .capacity = recorder.capacity()};
    for (const TraceRecord& record : recorder.snapshot(args.limit.value_or(SIZE_MAX))) {
        Json data = Json::object();
        for (std::size_t i = 0; i < record.values.size(); ++i) {
            std::visit(
                [&](const auto& value) { data[std::string(record.event->fields[i].name)] = value; },
                record.values[i]);
        }
        info.events.push_back({.seq = record.sequence,
                               .time_ns = record.time_ns,
                               .tid = record.tid,
                               .thread = record.thread,
                               .name = std::string(record.name()),
                               .data = qapi::Any(std::move(data))});
    }
    return info;
}

}  // namespace godwit::system
