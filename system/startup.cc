// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/startup.h"

#include "system/memory_backend.h"
#include "system/plugin.h"
#include "system/secret.h"
#include "system/startup_private.h"
#include "util/flight_recorder.h"
#include "util/log.h"

namespace godwit::system {

Result<void> register_types(TypeRegistry& types)
{
    GW_TRY(register_memory_backends(types));
    return types.add(Secret::type_info());
}

Startup::Startup(Vm& vm, CommandLine& line, StreamLogSink& log_sink, std::string program)
    : impl_(std::make_unique<Impl>(vm, line, log_sink, std::move(program)))
{}

Startup::~Startup() = default;

void Startup::add_options()
{
    impl_->add_process_options();
    impl_->add_settings();
    impl_->add_builders();
    impl_->add_ignored_options();
}

void Startup::set_cpu_models(std::function<std::string()> list)
{
    impl_->cpu_models = std::move(list);
}

namespace {

/// -trace and -d trace: go where -D says, or to the log.
Result<void> start_tracing(Vm& vm, std::vector<std::string> patterns, const std::string& path,
                           const std::string& program)
{
    Log log = vm.log();
    if (!path.empty()) {
        auto sink = StreamLogSink::to_file(path, {.program = program, .level = LogLevel::Debug});
        if (!sink) {
            return std::unexpected<Error>(std::move(sink).error().context("Error opening logfile"));
        }
        log = Log(std::move(*sink), "trace");
    }
    if (!patterns.empty())
        vm.recorder().echo(std::move(patterns), std::move(log));
    return {};
}

}  // namespace

Result<void> Startup::process()
{
    Impl& start = *impl_;
    GW_TRY(start.line.apply(Stage::Process));
    if (start.line.finished())
        return {};
    if (start.daemonize)
        start.daemon = GW_TRY(Daemon::start());
    if (!start.pid_path.empty()) {
        start.pid_file = GW_TRY(PidFile::create(start.pid_path));
    }
    GW_TRY(start_tracing(start.vm, start.trace_patterns, start.log_path, start.program));
    for (const std::string& path : start.plugins)
        GW_TRY(start.vm.plugins().load_file(path));
    if (start.sandbox.enabled)
        GW_TRY(with_context(enter_sandbox(start.sandbox), "-sandbox"));
    return {};
}

Result<void> Startup::settings()
{
    GW_TRY(impl_->line.apply(Stage::Settings));
    // Help about devices needs no machine.
    for (const std::string& text : impl_->line.arguments("device"))
        GW_TRY(with_context(impl_->device_help(text), "-device " + text));
    return {};
}

Result<void> Startup::backends()
{
    VmConfig& config = impl_->vm.config();
    GW_TRY(impl_->line.apply(Stage::Objects));
    GW_TRY(impl_->line.apply(Stage::Chardevs));
    GW_TRY(impl_->line.apply(Stage::Block));
    GW_TRY(impl_->line.apply(Stage::Ports));
    if (config.defaults && config.serial.empty())
        GW_TRY(impl_->open_serial(config.nographic ? "mon:stdio" : "vc"));
    GW_TRY(impl_->line.apply(Stage::Monitors));
    if (!impl_->daemonize)
        return {};
    for (const Chardev* chardev : impl_->vm.chardevs().list())
        if (chardev != nullptr && chardev->filename() == "stdio")
            return Error(Errc::InvalidArgument, "cannot use stdio with -daemonize")
                .context("chardev " + chardev->label());
    return {};
}

Result<void> Startup::devices()
{
    GW_TRY(impl_->line.apply(Stage::Devices));
    if (impl_->line.finished())
        return {};
    GW_TRY(impl_->vm.finish_machine());
    for (const std::string& text : impl_->vm.devices().unused_globals())
        impl_->vm.log().warn(text);
    return {};
}

Result<void> Startup::ready()
{
    return impl_->daemon.up();
}

}  // namespace godwit::system
