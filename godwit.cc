// SPDX-License-Identifier: LGPL-2.1-or-later
//
// main(): the one place that knows every room. It builds a Vm as the command line says and runs it.
#include "accel/accel.h"
#include "accel/qmp.h"
#include "hw/block.h"
#include "hw/register.h"
#include "migration/vm_migration.h"
#include "monitor/monitor.h"
#include "qapi/accel_commands.h"
#include "qapi/block_commands.h"
#include "qapi/command_table.h"
#include "qapi/migration_commands.h"
#include "qapi/migration_insight_commands.h"
#include "qapi/system_commands.h"
#include "system/command_line.h"
#include "system/plugin.h"
#include "system/qmp.h"
#include "system/signals.h"
#include "system/startup.h"
#include "system/vm.h"
#include "util/flight_recorder.h"
#include "util/log.h"

#include <csignal>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unistd.h>

namespace godwit {
namespace {

/// On standard error; also fit for signal handlers.
void show_last_events(const FlightRecorder& recorder, std::string_view title)
{
    constexpr std::size_t shown = 64;
    if (::write(STDERR_FILENO, title.data(), title.size()) > 0)
        recorder.dump_to(STDERR_FILENO, shown);
}

Result<void> register_rooms(system::TypeRegistry& types)
{
    GW_TRY(system::register_types(types));
    GW_TRY(accel::register_types(types));
    return hw::register_types(types);
}

/// The rooms of one process, in the order in which they lean on each other.
class House {
public:
    static Result<std::unique_ptr<House>> create(Log& log, FlightRecorder& recorder,
                                                 StreamLogSink& sink, const std::string& program)
    {
        auto vm = GW_TRY(system::Vm::create(log, recorder));
        const system::MachineGuard guard(vm->lock());
        GW_TRY(register_rooms(vm->types()));
        auto migration = GW_TRY(migration::VmMigration::create(*vm));
        return std::unique_ptr<House>(
            new House(std::move(vm), std::move(migration), sink, program));
    }

    /// Does what `words` say; the exit status.
    Result<int> live(std::span<const char* const> words)
    {
        GW_TRY(line_.parse(words));
        const system::MachineGuard guard(vm_->lock());
        GW_TRY(startup_.process());
        if (!line_.finished())
            GW_TRY(startup_.settings());
        if (!line_.finished()) {
            // A signal while somebody waited for a client ends the start in good order.
            if (auto built = build(); !built && !vm_->loop().quitting())
                return std::unexpected<Error>(std::move(built).error());
        }
        if (line_.finished())
            return *line_.finished();
        if (vm_->loop().quitting())
            return vm_->exit_status();
        GW_TRY(migration_->begin());
        GW_TRY(startup_.ready());
        vm_->run();
        vm_->chardevs().flush(kFlushMs);
        if (vm_->exit_status() != 0)
            show_last_events(vm_->recorder(), "The last events before the failure:\n");
        return vm_->exit_status();
    }

private:
    static constexpr unsigned kFlushMs = 1000;

    House(std::unique_ptr<system::Vm> vm, std::unique_ptr<migration::VmMigration> migration,
          StreamLogSink& sink, const std::string& program)
        : vm_(std::move(vm)), startup_(*vm_, line_, sink, program),
          system_qmp_(system::make_system_commands(*vm_, line_)),
          accel_qmp_(accel::make_accel_commands(*vm_)), block_qmp_(hw::make_block_commands(*vm_)),
          migration_(std::move(migration)), monitors_(*vm_, commands_)
    {
        startup_.add_options();
        startup_.set_cpu_models([this] { return cpu_help(); });
        hw::add_options(*vm_, line_);
        migration_->add_options(line_);
        monitors_.add_options(line_);
        qapi::register_commands(commands_, *system_qmp_);
        qapi::register_commands(commands_, *accel_qmp_);
        qapi::register_commands(commands_, *block_qmp_);
        qapi::register_commands(commands_, migration_->commands());
        qapi::register_commands(commands_, migration_->insight_commands());
        monitors_.register_commands();
        migration_->add_human_commands(monitors_.hmp());
        vm_->chardevs().set_quit_handler(
            [this] { vm_->request_shutdown(system::ShutdownCause::HostSignal); });
        monitors_.set_module_loader([this](std::string_view prefix, std::string_view name) {
            return vm_->plugins().load(prefix, name);
        });
    }

    std::string cpu_help()
    {
        std::string text = "Available CPUs:\n";
        if (const auto models = accel_qmp_->query_cpu_definitions()) {
            for (const qapi::CpuDefinitionInfo& model : *models)
                text += "  " + model.name + "\n";
        }
        return text;
    }

    Result<void> build()
    {
        signals_ = GW_TRY(system::watch_signals(*vm_));
        GW_TRY(startup_.backends());
        if (line_.finished())
            return {};
        GW_TRY(startup_.machine());
        GW_TRY(startup_.devices());
        if (line_.finished())
            return {};
        GW_TRY(migration_->machine_done());
        return line_.apply(system::Stage::Incoming);
    }

    std::unique_ptr<system::Vm> vm_;
    qapi::CommandTable commands_;
    system::CommandLine line_;
    system::Startup startup_;
    std::unique_ptr<qapi::SystemCommands> system_qmp_;
    std::unique_ptr<qapi::AccelCommands> accel_qmp_;
    std::unique_ptr<qapi::BlockCommands> block_qmp_;
    std::unique_ptr<migration::VmMigration> migration_;
    monitor::MonitorSet monitors_;
    Registration signals_;
};

// A signal handler is handed nothing, so what it needs has to lie here.
const FlightRecorder* crash_recorder = nullptr;

extern "C" void report_crash(int number)
{
    if (crash_recorder != nullptr)
        show_last_events(*crash_recorder, "The last events before the crash:\n");
    ::raise(number);  // SA_RESETHAND: now it ends us, with a core if the system wants one
}

/// While it lives, a crash prints what the recorder saw last.
class CrashWatch {
public:
    explicit CrashWatch(const FlightRecorder& recorder)
    {
        crash_recorder = &recorder;
        for (const int number : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) {
            struct sigaction action{};
            // A sanitizer may look after them already.
            if (::sigaction(number, nullptr, &action) < 0 || action.sa_handler != SIG_DFL)
                continue;
            action.sa_handler = report_crash;
            action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
            ::sigaction(number, &action, nullptr);
        }
    }
    CrashWatch(const CrashWatch&) = delete;
    CrashWatch& operator=(const CrashWatch&) = delete;
    ~CrashWatch() { crash_recorder = nullptr; }
};

Result<int> run(std::span<const char* const> words, const std::string& program, StreamLogSink& sink,
                Log& log)
{
    system::hold_signals();
    FlightRecorder recorder;
    const CrashWatch watch(recorder);
    const auto house = GW_TRY(House::create(log, recorder, sink, program));
    auto ended = house->live(words);
    if (ended)
        return ended;
    // Said before monitors and devices go: who sees them go can read why.
    log.report(ended.error());
    return 1;
}

}  // namespace
}  // namespace godwit

int main(int argc, char** argv)
{
    using namespace godwit;
    const std::string path = argc > 0 ? argv[0] : "godwit-system-x86_64";
    const std::string program = path.substr(path.rfind('/') + 1);
    const auto sink =
        std::make_shared<StreamLogSink>(2, StreamLogSink::Options{.program = program});
    Log log(sink);
    const std::span<const char* const> words(argv, static_cast<std::size_t>(argc));
    const Result<int> ended = run(words.subspan(argc > 0 ? 1 : 0), program, *sink, log);
    if (ended)
        return *ended;
    log.report(ended.error());
    return 1;
}
