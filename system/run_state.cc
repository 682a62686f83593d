// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/run_state.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

namespace godwit::system {

namespace {

using enum RunState;

constexpr std::size_t kStates = qapi::kEnumCount<RunState>;

struct Move {
    RunState from;
    RunState to;
};

/// The legal moves; staying is always one. Source: QEMU 10.0, docs/devel and query-status as seen.
constexpr auto kMoves = std::to_array<Move>({
    {Debug, Running},
    {Debug, FinishMigrate},
    {Debug, Prelaunch},
    {Debug, Suspended},

    {Inmigrate, InternalError},
    {Inmigrate, IoError},
    {Inmigrate, Paused},
    {Inmigrate, Running},
    {Inmigrate, Shutdown},
    {Inmigrate, Suspended},
    {Inmigrate, Watchdog},
    {Inmigrate, GuestPanicked},
    {Inmigrate, FinishMigrate},
    {Inmigrate, Prelaunch},
    {Inmigrate, Postmigrate},
    {Inmigrate, Colo},

    {InternalError, Paused},
    {InternalError, FinishMigrate},
    {InternalError, Prelaunch},

    {IoError, Running},
    {IoError, FinishMigrate},
    {IoError, Prelaunch},

    {Paused, Running},
    {Paused, FinishMigrate},
    {Paused, Postmigrate},
    {Paused, Prelaunch},
    {Paused, Colo},
    {Paused, Suspended},

    {Postmigrate, Running},
    {Postmigrate, FinishMigrate},
    {Postmigrate, Prelaunch},
    {Postmigrate, Suspended},

    {Prelaunch, Inmigrate},
    {Prelaunch, Running},
    {Prelaunch, FinishMigrate},
    {Prelaunch, Suspended},

    {FinishMigrate, Running},
    {FinishMigrate, Paused},
    {FinishMigrate, Postmigrate},
    {FinishMigrate, Prelaunch},
    {FinishMigrate, Colo},
    {FinishMigrate, InternalError},
    {FinishMigrate, IoError},
    {FinishMigrate, Shutdown},
    {FinishMigrate, Suspended},
    {FinishMigrate, Watchdog},
    {FinishMigrate, GuestPanicked},

    {RestoreVm, Running},
    {RestoreVm, Prelaunch},
    {RestoreVm, Suspended},
    {RestoreVm, Paused},

    {Colo, Running},
    {Colo, Prelaunch},
    {Colo, Shutdown},

    {Running, Debug},
    {Running, InternalError},
    {Running, IoError},
    {Running, Paused},
    {Running, FinishMigrate},
    {Running, RestoreVm},
    {Running, SaveVm},
    {Running, Shutdown},
    {Running, Suspended},
    {Running, Watchdog},
    {Running, GuestPanicked},
    {Running, Colo},

    {SaveVm, Running},
    {SaveVm, Suspended},
    {SaveVm, Paused},

    {Shutdown, Paused},
    {Shutdown, FinishMigrate},
    {Shutdown, Prelaunch},
    {Shutdown, Colo},

    {Suspended, Running},
    {Suspended, FinishMigrate},
    {Suspended, Prelaunch},
    {Suspended, Colo},
    {Suspended, Paused},
    {Suspended, SaveVm},
    {Suspended, RestoreVm},
    {Suspended, Shutdown},

    {Watchdog, Running},
    {Watchdog, FinishMigrate},
    {Watchdog, Prelaunch},
    {Watchdog, Colo},

    {GuestPanicked, Running},
    {GuestPanicked, FinishMigrate},
    {GuestPanicked, Prelaunch},
});

consteval auto make_matrix()
{
    std::array<std::array<bool, kStates>, kStates> matrix{};
    for (std::size_t i = 0; i < kStates; ++i)
        matrix[i][i] = true;
    for (const Move& move : kMoves)
        matrix[static_cast<std::size_t>(move.from)][static_cast<std::size_t>(move.to)] = true;
    return matrix;
}
constexpr auto kLegal = make_matrix();

}  // namespace

bool is_legal_move(RunState from, RunState to) noexcept
{
    return kLegal[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
}

namespace {

/// Entries stay where they are while one is being called; removal leaves a hole until later.
template <class T>
struct Entries {
    std::vector<std::shared_ptr<T>> list;
};

}  // namespace

struct RunStateMachine::Impl {
    using Observer = std::function<void(RunState, RunState)>;

    std::atomic<RunState> state = Prelaunch;
    std::atomic<bool> was_suspended = false;
    std::atomic<bool> autostart = true;
    Hooks hooks;
    // Shared with Registrations, which may outlive us. Handlers ascend by priority, equal ones by
    // the time of adding.
    std::shared_ptr<Entries<Handler>> handlers = std::make_shared<Entries<Handler>>();
    std::shared_ptr<Entries<Observer>> observers = std::make_shared<Entries<Observer>>();

    // A stop whose handlers have not heard of it: while it waits for the vCPUs the machine lock is
    // free, and another thread may want the guest stopped as well.
    bool stopping = false;

    void change(RunState to);
    Result<void> tell(bool running, RunState state_now);
    Result<void> finish_stop();
    Result<void> arrive(RunState to);
};

void RunStateMachine::Impl::change(RunState to)
{
    const RunState from = state.exchange(to);
    const auto list = observers->list;
    for (const auto& observer : list)
        (*observer)(from, to);
}

/// Every handler hears of it, whatever an earlier one says; the first complaint is returned.
Result<void> RunStateMachine::Impl::tell(bool running, RunState state_now)
{
    auto list = handlers->list;
    if (!running)
        std::ranges::reverse(list);
    Result<void> result;
    const auto call = [&](const auto& function, const Handler& handler) {
        if (!function)
            return;
        if (auto done = function(running, state_now); !done && result)
            result = with_context(std::move(done), handler.name);
    };
    for (const auto& handler : list)
        call(handler->prepare, *handler);
    for (const auto& handler : list)
        call(handler->handle, *handler);
    return result;
}

/// Whoever comes first, of those who wait for the same stop, ends it.
Result<void> RunStateMachine::Impl::finish_stop()
{
    if (hooks.pause_vcpus)
        hooks.pause_vcpus();
    if (!std::exchange(stopping, false))
        return {};
    auto result = tell(false, state);
    if (hooks.emit)
        hooks.emit("STOP");
    return result;
}

/// The first start behind an incoming migration: all handlers agree, or no vCPU runs.
Result<void> RunStateMachine::Impl::arrive(RunState to)
{
    if (hooks.start_clock)
        hooks.start_clock();
    change(to);
    if (auto told = tell(true, to); !told) {
        change(Inmigrate);
        (void)tell(false, Inmigrate);
        if (hooks.stop_clock)
            hooks.stop_clock();
        return told;
    }
    was_suspended = false;
    if (hooks.emit)
        hooks.emit("RESUME");
    if (to == Running && hooks.resume_vcpus)
        hooks.resume_vcpus();
    return {};
}

RunStateMachine::RunStateMachine() : impl_(std::make_unique<Impl>()) {}
RunStateMachine::~RunStateMachine() = default;

void RunStateMachine::set_hooks(Hooks hooks)
{
    impl_->hooks = std::move(hooks);
}

RunState RunStateMachine::state() const noexcept
{
    return impl_->state.load();
}

bool RunStateMachine::running() const noexcept
{
    return state() == Running;
}

bool RunStateMachine::live() const noexcept
{
    const RunState now = state();
    return now == Running || now == Suspended;
}

Result<void> RunStateMachine::set(RunState to)
{
    const RunState from = state();
    if (!is_legal_move(from, to)) {
        return Error(Errc::BadState, "invalid runstate transition: '" +
                                         std::string(to_string(from)) + "' -> '" +
                                         std::string(to_string(to)) + "'");
    }
    if (from != to)
        impl_->change(to);
    return {};
}

Result<void> RunStateMachine::stop(RunState to)
{
    const RunState from = state();
    if (!live()) {
        auto stopped = impl_->stopping ? impl_->finish_stop() : Result<void>();
        auto moved = set(to);
        return stopped ? moved : stopped;
    }
    if (!is_legal_move(from, to))
        return set(to);
    impl_->was_suspended = from == Suspended;
    impl_->change(to);
    impl_->stopping = true;
    if (impl_->hooks.stop_clock)
        impl_->hooks.stop_clock();
    return impl_->finish_stop();
}

Result<void> RunStateMachine::start(RunState to)
{
    if (running())
        return {};
    if (to == Running && impl_->was_suspended)
        to = Suspended;
    if (!is_legal_move(state(), to))
        return set(to);
    if (impl_->stopping)  // by another thread, which waits for the vCPUs
        GW_TRY(impl_->finish_stop());
    // A guest that has never run here need not: whoever sent it still has it.
    if (state() == Inmigrate)
        return impl_->arrive(to);
    impl_->was_suspended = false;
    if (impl_->hooks.emit)
        impl_->hooks.emit("RESUME");
    if (impl_->hooks.start_clock)
        impl_->hooks.start_clock();
    impl_->change(to);
    auto result = impl_->tell(true, to);
    if (to == Running && impl_->hooks.resume_vcpus)
        impl_->hooks.resume_vcpus();
    return result;
}

Result<void> RunStateMachine::cont()
{
    switch (state()) {
    case InternalError:
    case Shutdown:
        return Error(Errc::BadState, "Resetting the Virtual Machine is required");
    case FinishMigrate:
        return Error(Errc::BadState, "Migration is not finalized yet");
    case Suspended:
        return {};
    case Inmigrate:
        impl_->autostart = true;
        return {};
    default:
        return start();
    }
}

bool RunStateMachine::was_suspended() const noexcept
{
    return impl_->was_suspended;
}

void RunStateMachine::set_was_suspended(bool yes) noexcept
{
    impl_->was_suspended = yes;
}

bool RunStateMachine::autostart() const noexcept
{
    return impl_->autostart;
}

void RunStateMachine::set_autostart(bool on) noexcept
{
    impl_->autostart = on;
}

namespace {

template <class T>
Registration keep_in(const std::shared_ptr<Entries<T>>& entries,
                     typename std::vector<std::shared_ptr<T>>::iterator at,
                     std::shared_ptr<T> entry)
{
    entries->list.insert(at, entry);
    return Registration([entries, entry]() noexcept { std::erase(entries->list, entry); });
}

}  // namespace

Registration RunStateMachine::add(Handler handler)
{
    auto& list = impl_->handlers->list;
    const auto at = std::ranges::upper_bound(list, handler.priority, {},
                                             [](const auto& entry) { return entry->priority; });
    return keep_in(impl_->handlers, at, std::make_shared<Handler>(std::move(handler)));
}

Registration RunStateMachine::on_change(std::function<void(RunState, RunState)> observer)
{
    return keep_in(impl_->observers, impl_->observers->list.end(),
                   std::make_shared<Impl::Observer>(std::move(observer)));
}

}  // namespace godwit::system
