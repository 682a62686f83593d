// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a Vm does when a device, a monitor or a signal asks it to reset, sleep, wake or end.
#include "system/vm_private.h"
#include "util/log.h"

#include <cassert>

namespace godwit::system {

namespace {

bool by_guest(ShutdownCause cause)
{
    return cause == ShutdownCause::GuestShutdown || cause == ShutdownCause::GuestReset ||
           cause == ShutdownCause::GuestPanic;
}

}  // namespace

void Vm::pause_vcpus()
{
    for (Vcpu* vcpu : impl_->vcpus)
        vcpu->request_pause();
    if (impl_->vcpus.empty())
        return;
    ++impl_->pausing;
    {
        MachineUnlock unlocked(lock());
        for (Vcpu* vcpu : impl_->vcpus)
            vcpu->wait_paused();
    }
    --impl_->pausing;
    impl_->pausing.notify_all();
}

void Vm::resume_vcpus()
{
    // Somebody waits for them to pause, without the lock, and has then something to do.
    bool waited = false;
    while (const unsigned others = impl_->pausing.load()) {
        MachineUnlock unlocked(lock());
        impl_->pausing.wait(others);
        waited = true;
    }
    if (waited && !impl_->run_state.running())
        return;
    for (Vcpu* vcpu : impl_->vcpus)
        vcpu->resume();
}

void Vm::Impl::emit(std::string_view event, ShutdownCause cause)
{
    self.events().emit(event, Json{{"guest", by_guest(cause)}, {"reason", to_string(cause)}});
}

/// Notes the request; whoever finds nothing noted before arranges for the main loop to look.
void Vm::Impl::ask(const std::function<void(Requests&)>& how)
{
    bool first = false;
    {
        std::lock_guard guard(requests_mutex);
        const Requests& now = requests;
        first = !now.reset && !now.shutdown && !now.suspend && !now.wakeup && !now.powerdown;
        how(requests);
    }
    if (first)
        loop->post([this] { serve(); });
}

void Vm::Impl::serve()
{
    Requests now;
    {
        std::lock_guard guard(requests_mutex);
        now = std::exchange(requests, {});
    }
    if (now.suspend)
        suspend();
    if (now.shutdown && shut_down(*now.shutdown))
        return loop->quit();
    if (now.reset)
        reset(*now.reset);
    if (now.wakeup)
        wake_up();
    if (now.powerdown)
        power_down();
}

void Vm::Impl::suspend()
{
    self.pause_vcpus();
    if (run_state.running()) {
        (void)run_state.set(RunState::Suspended);
        self.events().emit("SUSPEND", Json::object());
    } else {
        run_state.set_was_suspended(true);  // stopped meanwhile: `cont` returns to sleep
    }
}

bool Vm::Impl::shut_down(ShutdownCause cause)
{
    emit("SHUTDOWN", cause);
    const bool by_host = cause == ShutdownCause::HostSignal || cause == ShutdownCause::HostQmpQuit;
    if (!config.no_shutdown || by_host)
        return true;
    if (auto done = run_state.stop(RunState::Shutdown); !done)
        log.report(done.error());
    return false;
}

void Vm::Impl::reset(ShutdownCause cause)
{
    self.pause_vcpus();
    if (machine)
        machine->reset(self, ResetKind::Cold);
    else
        devices.reset_all(ResetKind::Cold);
    emit("RESET", cause);
    const RunState state = run_state.state();
    if (state == RunState::Running)
        self.resume_vcpus();
    else if (state != RunState::Inmigrate && state != RunState::FinishMigrate)
        (void)run_state.set(RunState::Prelaunch);
    run_state.set_was_suspended(false);
}

void Vm::Impl::wake_up()
{
    self.pause_vcpus();
    if (machine) {
        machine->reset(self, ResetKind::Wakeup);
        machine->wakeup(self);
    } else {
        devices.reset_all(ResetKind::Wakeup);
    }
    if (run_state.running())
        self.resume_vcpus();
    self.events().emit("WAKEUP", Json::object());
}

void Vm::Impl::power_down()
{
    self.events().emit("POWERDOWN", Json::object());
    if (!machine)
        return;
    if (auto done = machine->powerdown(self); !done && done.error().code() != Errc::Unsupported)
        log.report(done.error());
}

void Vm::request_reset(ShutdownCause cause)
{
    if (by_guest(cause)) {
        for (Vcpu* vcpu : impl_->vcpus)
            vcpu->request_pause();
    }
    impl_->ask([&](Requests& requests) {
        (impl_->config.no_reboot ? requests.shutdown : requests.reset) = cause;
    });
}

void Vm::request_shutdown(ShutdownCause cause)
{
    if (by_guest(cause)) {
        for (Vcpu* vcpu : impl_->vcpus)
            vcpu->request_pause();
    }
    impl_->ask([&](Requests& requests) { requests.shutdown = cause; });
}

void Vm::request_powerdown()
{
    impl_->ask([](Requests& requests) { requests.powerdown = true; });
}

void Vm::request_suspend()
{
    for (Vcpu* vcpu : impl_->vcpus)
        vcpu->request_pause();
    impl_->ask([](Requests& requests) { requests.suspend = true; });
}

Result<void> Vm::request_wakeup()
{
    if (impl_->run_state.state() != RunState::Suspended) {
        return Error(Errc::BadState, "Unable to wake up: guest is not in suspended state");
    }
    GW_TRY(impl_->run_state.set(RunState::Running));
    impl_->ask([](Requests& requests) { requests.wakeup = true; });
    return {};
}

int Vm::exit_status() const noexcept
{
    return impl_->exit_status;
}

void Vm::set_exit_status(int status) noexcept
{
    impl_->exit_status = status;
}

Registration Vm::on_shutdown(std::function<void()> hook)
{
    auto hooks = impl_->shutdown_hooks;
    const auto at = hooks->insert(hooks->end(), std::move(hook));
    return Registration([hooks, at]() noexcept { *at = nullptr; });
}

void Vm::Impl::run_shutdown_hooks()
{
    for (auto it = shutdown_hooks->rbegin(); it != shutdown_hooks->rend(); ++it) {
        if (auto hook = std::exchange(*it, nullptr))
            hook();
    }
}

void Vm::run()
{
    MachineGuardIfNeeded guard(lock());
    if (!impl_->config.stopped && !impl_->config.incoming) {
        if (auto started = impl_->run_state.start(); !started)
            impl_->log.report(started.error());
    }
    impl_->loop->run();
    impl_->run_shutdown_hooks();
    impl_->clocks.stop_virtual();
    pause_vcpus();
    if (is_legal_move(impl_->run_state.state(), RunState::Shutdown))
        (void)impl_->run_state.set(RunState::Shutdown);
}

}  // namespace godwit::system
