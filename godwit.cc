// SPDX-License-Identifier: LGPL-2.1-or-later
//
// main(): the one place that knows every room. It builds a Vm as the command line says and runs it.
#include "hw/register.h"
#include "monitor/monitor.h"
#include "qapi/command_table.h"
#include "system/command_line.h"
#include "system/signals.h"
#include "system/startup.h"
#include "system/vm.h"
#include "util/flight_recorder.h"
#include "util/log.h"

#include <memory>
#include <span>
#include <string>

namespace godwit {
namespace {

Result<void> register_rooms(system::TypeRegistry& types)
{
    GW_TRY(system::register_types(types));
    return hw::register_types(types);
}

Result<int> run(const std::string& program, std::span<const char* const> words, StreamLogSink& sink,
                Log& log, FlightRecorder& recorder)
{
    system::hold_signals();
    const std::unique_ptr<system::Vm> vm = GW_TRY(system::Vm::create(log, recorder));
    GW_TRY(register_rooms(vm->types()));

    qapi::CommandTable commands;
    monitor::MonitorSet monitors(*vm, commands);
    monitors.register_commands();

    system::CommandLine line;
    system::Startup startup(*vm, line, sink, program);
    startup.add_options();
    monitors.add_options(line);
    GW_TRY(line.parse(words));

    const system::MachineGuard guard(vm->lock());
    using Step = Result<void> (system::Startup::*)();
    for (const Step step : {&system::Startup::process, &system::Startup::settings}) {
        GW_TRY((startup.*step)());
        if (line.finished())
            return *line.finished();
    }
    const Registration signals = GW_TRY(system::watch_signals(*vm));
    for (const Step step :
         {&system::Startup::backends, &system::Startup::machine, &system::Startup::devices}) {
        GW_TRY((startup.*step)());
        if (line.finished())
            return *line.finished();
    }
    GW_TRY(line.apply(system::Stage::Incoming));
    GW_TRY(startup.ready());
    vm->run();
    vm->chardevs().flush(1000);
    return vm->exit_status();
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
    FlightRecorder recorder;
    const std::span<const char* const> words(argv, static_cast<std::size_t>(argc));
    const Result<int> ended = run(program, words.subspan(argc > 0 ? 1 : 0), *sink, log, recorder);
    if (ended)
        return *ended;
    log.report(ended.error());
    return 1;
}
