// SPDX-License-Identifier: LGPL-2.1-or-later
//
// From a parsed command line to a machine that can run: the options of the system room and what
// follows from them together.
#pragma once

#include "system/command_line.h"
#include "system/vm.h"
#include "util/option_list.h"
#include "util/result.h"

#include <memory>
#include <string>
#include <vector>

namespace godwit {
class StreamLogSink;
}

namespace godwit::system {

/// Adds "secret" and the back ends of guest memory.
Result<void> register_types(TypeRegistry& types);

/// Builds a Vm as the command line says.
///
/// Order    add_options() (other rooms add theirs); CommandLine::parse(); process(); settings();
///          backends(); machine(); devices(); incoming and run are main()'s.
/// Errors   name the option, or in QEMU's words what does not fit together.
/// Threads  main thread, machine lock held from settings() on.
class Startup {
public:
    /// All outlive this object.
    Startup(Vm& vm, CommandLine& line, StreamLogSink& log_sink, std::string program);
    ~Startup();

    void add_options();
    /// Where the list of CPU models comes from (-cpu help); the accel room knows.
    void set_cpu_models(std::function<std::string()> list);

    /// Daemon, PID file, sandbox, plugins. Other threads may exist only afterwards.
    Result<void> process();
    /// Collects machine, accelerators, memory and CPUs; answers requests for help.
    Result<void> settings();
    /// Objects, chardevs, block devices, serial ports, monitors.
    Result<void> backends();
    /// The first accelerator of the list that works, the machine with its properties, its board.
    Result<void> machine();
    /// -device, then the machine's last steps and the first reset.
    Result<void> devices();
    /// Tells the parent of a daemon that all is well.
    Result<void> ready();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::system
