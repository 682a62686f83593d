// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/monitor.h"

#include "hw/hmp.h"
#include "monitor/event_limiter.h"
#include "monitor/hmp_runner.h"
#include "monitor/hmp_session.h"
#include "monitor/monitor_qmp.h"
#include "monitor/qmp_session.h"
#include "monitor/qtest_server.h"
#include "qapi/command_table.h"
#include "system/vm.h"
#include "util/option_list.h"
#include "util/thread.h"

#include <chrono>
#include <fmt/format.h>
#include <mutex>
#include <vector>

namespace godwit::monitor {

namespace {

std::int64_t now_ms()
{
    using namespace std::chrono;
    return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

std::int64_t unix_us()
{
    using namespace std::chrono;
    return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
}

/// The thread that reads connections with out-of-band commands: "mon/io". It starts with the first.
class OobLoop {
public:
    ~OobLoop() { stop(); }
    /// Waits for a command that runs there: the caller must not hold the machine lock.
    void stop()
    {
        if (!loop_)
            return;
        loop_->quit();
        thread_.join();
        loop_.reset();
    }
    /// Null if it cannot be made: out-of-band commands then run in the main loop.
    system::MainLoop* get()
    {
        if (!loop_) {
            auto made = system::MainLoop::create();
            if (!made)
                return nullptr;
            loop_ = std::move(*made);
            thread_ = NamedThread("mon/io", [loop = loop_.get()](std::stop_token) { loop->run(); });
        }
        return loop_.get();
    }

private:
    std::unique_ptr<system::MainLoop> loop_;
    NamedThread thread_;
};

}  // namespace

struct MonitorSet::Impl {
    Impl(system::Vm& machine, qapi::CommandTable& table);

    Result<system::Chardev*> short_chardev(std::string_view device);
    Result<void> add_qmp(system::Chardev& chardev, bool pretty);
    Result<void> add_hmp(system::Chardev& chardev);
    Result<std::string> run_hmp_command(std::string_view line, qapi::CommandContext& caller,
                                        std::optional<std::int64_t> cpu);
    void send(QueuedEvent event);
    void arm_limiter();
    void limiter_due();

    system::Vm& vm;
    qapi::CommandTable& commands;
    OobLoop oob_loop;
    system::HmpTable hmp;
    MonitorQmp qmp_commands;
    QtestCommands::LoadModule load_module;
    std::shared_ptr<QtestServer> qtest;
    std::optional<QtestLog> qtest_log;
    unsigned labels = 0;
    std::vector<std::shared_ptr<HmpSession>> hmp_sessions;

    std::mutex mutex;  // guards what follows
    std::vector<std::shared_ptr<QmpSession>> qmp_sessions;
    EventLimiter limiter;
    bool limiter_armed = false;
    Registration limiter_timer;  // main loop only
    /// Outlived by work that was posted and finds us gone.
    std::shared_ptr<Impl*> self = std::make_shared<Impl*>(this);
};

MonitorSet::Impl::Impl(system::Vm& machine, qapi::CommandTable& table)
    : vm(machine), commands(table),
      qmp_commands({.commands = table,
                    .fd_sets = machine.fds(),
                    .run_hmp = [this](std::string_view line, qapi::CommandContext& caller,
                                      std::optional<std::int64_t> cpu) {
                        return run_hmp_command(line, caller, cpu);
                    }})
{
    add_control_commands(hmp);
    add_memory_commands(hmp);
    add_object_commands(hmp);
    add_info_commands(hmp);
    add_tree_commands(hmp);
    hw::add_human_commands(hmp);
}

MonitorSet::MonitorSet(system::Vm& vm, qapi::CommandTable& commands)
    : impl_(std::make_unique<Impl>(vm, commands))
{
    vm.set_event_sink(this);
    vm.chardevs().set_monitor_maker(
        [this](system::Chardev& chardev) { return impl_->add_hmp(chardev); });
}

MonitorSet::~MonitorSet()
{
    system::MachineGuardIfNeeded guard(impl_->vm.lock());
    impl_->vm.set_event_sink(nullptr);
    impl_->vm.chardevs().set_monitor_maker({});
    *impl_->self = nullptr;
    impl_->limiter_timer.reset();
    std::vector<std::shared_ptr<QmpSession>> sessions;
    {
        const std::lock_guard state(impl_->mutex);
        sessions.swap(impl_->qmp_sessions);
    }
    for (const auto& session : sessions)
        session->stop();
    for (const auto& session : impl_->hmp_sessions)
        session->stop();
    if (impl_->qtest)
        impl_->qtest->stop();
    system::MachineUnlock unlocked(impl_->vm.lock());
    impl_->oob_loop.stop();
}

void MonitorSet::register_commands()
{
    qapi::register_commands(impl_->commands, impl_->qmp_commands);
}

system::HmpTable& MonitorSet::hmp() noexcept
{
    return impl_->hmp;
}

void MonitorSet::set_module_loader(
    std::function<Result<void>(std::string_view prefix, std::string_view name)> load)
{
    impl_->load_module = std::move(load);
}

Result<system::Chardev*> MonitorSet::Impl::short_chardev(std::string_view device)
{
    return vm.chardevs().add_short(device, fmt::format("compat_monitor{}", labels++));
}

Result<void> MonitorSet::Impl::add_qmp(system::Chardev& chardev, bool pretty)
{
    auto session = std::make_shared<QmpSession>(
        chardev,
        QmpSession::Services{
            .commands = commands, .loop = vm.loop(), .oob_loop = [this] { return oob_loop.get(); }},
        pretty);
    GW_TRY(session->start());
    const std::lock_guard guard(mutex);
    qmp_sessions.push_back(std::move(session));
    return {};
}

Result<void> MonitorSet::Impl::add_hmp(system::Chardev& chardev)
{
    auto session = std::make_shared<HmpSession>(vm, commands, hmp, chardev);
    GW_TRY(session->start());
    hmp_sessions.push_back(std::move(session));
    return {};
}

Result<void> MonitorSet::add_mon(std::string_view option)
{
    const OptionList options = GW_TRY(OptionList::parse(option, "chardev"));
    GW_TRY(options.only({"chardev", "mode", "pretty", "id"}));
    const std::string label = GW_TRY(options.require_string("chardev"));
    const std::string mode = options.get_string("mode", "readline");
    const bool pretty = GW_TRY(options.get_bool("pretty", false));
    system::Chardev* chardev = impl_->vm.chardevs().find(label);
    if (!chardev)
        return Error(Errc::NotFound, fmt::format("chardev \"{}\" not found", label));
    if (mode == "control")
        return impl_->add_qmp(*chardev, pretty);
    if (mode != "readline")
        return Error(Errc::InvalidArgument,
                     fmt::format("Parameter 'mode' does not accept value '{}'", mode));
    if (pretty)
        return Error(Errc::InvalidArgument, "'pretty' is not compatible with HMP monitors");
    return impl_->add_hmp(*chardev);
}

Result<void> MonitorSet::add_qmp(std::string_view device, bool pretty)
{
    system::Chardev* chardev = GW_TRY(impl_->short_chardev(device));
    return chardev ? impl_->add_qmp(*chardev, pretty) : Result<void>();
}

Result<void> MonitorSet::add_hmp(std::string_view device)
{
    system::Chardev* chardev = GW_TRY(impl_->short_chardev(device));
    return chardev ? impl_->add_hmp(*chardev) : Result<void>();
}

Result<void> MonitorSet::add_qtest(std::string_view device)
{
    if (impl_->qtest)
        return Error(Errc::Exists, "there is a qtest server already");
    system::Chardev* chardev = GW_TRY(impl_->vm.chardevs().add_short(device, "qtest"));
    if (!chardev)
        return {};
    QtestLog log = impl_->qtest_log ? std::move(*impl_->qtest_log) : QtestLog(2, UniqueFd());
    auto load = [this](std::string_view prefix, std::string_view name) -> Result<void> {
        if (!impl_->load_module)
            return Error(Errc::Unsupported, "no module can be loaded");
        return impl_->load_module(prefix, name);
    };
    impl_->qtest = std::make_shared<QtestServer>(impl_->vm, *chardev, std::move(log), load);
    return impl_->qtest->start();
}

Result<void> MonitorSet::set_qtest_log(const std::string& file)
{
    impl_->qtest_log = GW_TRY(QtestLog::open(file));
    return {};
}

std::string MonitorSet::run_hmp(std::string_view line, qapi::CommandContext& caller,
                                unsigned cpu_index)
{
    system::HmpContext context{impl_->vm, impl_->commands, caller, cpu_index};
    return run_hmp_line(impl_->hmp, context, line);
}

Result<std::string> MonitorSet::Impl::run_hmp_command(std::string_view line,
                                                      qapi::CommandContext& caller,
                                                      std::optional<std::int64_t> cpu)
{
    const auto count = static_cast<std::int64_t>(vm.vcpus().size());
    if (cpu && (*cpu < 0 || *cpu >= count))
        return Error(Errc::InvalidArgument, "Parameter 'cpu-index' expects a CPU number");
    auto index = static_cast<unsigned>(cpu.value_or(0));
    system::HmpContext context{vm, commands, caller, index};
    return run_hmp_line(hmp, context, line);
}

void MonitorSet::emit(std::string_view event, Json data)
{
    QueuedEvent queued{.name = std::string(event), .data = std::move(data), .unix_us = unix_us()};
    std::optional<QueuedEvent> now;
    bool arm = false;
    {
        const std::lock_guard guard(impl_->mutex);
        now = impl_->limiter.offer(std::move(queued), now_ms());
        arm = impl_->limiter.next_ms() && !std::exchange(impl_->limiter_armed, true);
    }
    if (now)
        impl_->send(std::move(*now));
    if (arm)
        impl_->vm.loop().post([self = impl_->self] {
            if (*self)
                (*self)->arm_limiter();
        });
}

void MonitorSet::Impl::send(QueuedEvent event)
{
    const auto shared = std::make_shared<const QueuedEvent>(std::move(event));
    std::vector<std::shared_ptr<QmpSession>> sessions;
    {
        const std::lock_guard guard(mutex);
        sessions = qmp_sessions;
    }
    for (const auto& session : sessions)
        session->queue_event(shared);
}

/// Main loop: waits for the end of the first second that runs.
void MonitorSet::Impl::arm_limiter()
{
    std::optional<std::int64_t> next;
    {
        const std::lock_guard guard(mutex);
        next = limiter.next_ms();
        limiter_armed = next.has_value();
    }
    if (!next)
        return;
    const auto wait = static_cast<unsigned>(std::max<std::int64_t>(*next - now_ms(), 0) + 1);
    limiter_timer = vm.loop().after_ms(wait, [self = self] {
        if (*self)
            (*self)->limiter_due();
    });
}

void MonitorSet::Impl::limiter_due()
{
    std::vector<QueuedEvent> due;
    {
        const std::lock_guard guard(mutex);
        due = limiter.due(now_ms());
    }
    for (QueuedEvent& event : due)
        send(std::move(event));
    arm_limiter();
}

}  // namespace godwit::monitor
