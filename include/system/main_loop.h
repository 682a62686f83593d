// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The thread that serves monitors, device emulation and timers, and the lock that goes with it.
#pragma once

#include "util/registration.h"
#include "util/result.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

typedef struct _GMainContext GMainContext;

namespace godwit::system {

/// The machine lock: guards devices, the memory map and the run state.
///
/// Threads  the main loop holds it while it dispatches and drops it while it polls; a vCPU thread
/// takes
///          it for an exit that reaches a device. Lock order: machine, migration, channel queue.
/// Errors   locking it twice in one thread is our bug and aborts.
class MachineLock {
public:
    void lock();
    void unlock();
    /// True when the calling thread holds it.
    bool held() const noexcept;

private:
    std::mutex mutex_;
    std::atomic<std::thread::id> owner_{};
};

using MachineGuard = std::lock_guard<MachineLock>;

/// Takes the machine lock unless this thread holds it already.
class MachineGuardIfNeeded {
public:
    explicit MachineGuardIfNeeded(MachineLock& lock) : lock_(lock.held() ? nullptr : &lock)
    {
        if (lock_)
            lock_->lock();
    }
    ~MachineGuardIfNeeded()
    {
        if (lock_)
            lock_->unlock();
    }
    MachineGuardIfNeeded(const MachineGuardIfNeeded&) = delete;
    MachineGuardIfNeeded& operator=(const MachineGuardIfNeeded&) = delete;

private:
    MachineLock* lock_;
};

/// Drops the machine lock for a scope: joining a thread that may want it, a blocking system call.
class MachineUnlock {
public:
    explicit MachineUnlock(MachineLock& lock) : lock_(lock) { lock_.unlock(); }
    ~MachineUnlock() { lock_.lock(); }
    MachineUnlock(const MachineUnlock&) = delete;
    MachineUnlock& operator=(const MachineUnlock&) = delete;

private:
    MachineLock& lock_;
};

/// Somebody whose timers bound how long the loop may sleep: Clocks.
///
/// Threads  loop thread, machine lock held.
class TimerSource {
public:
    virtual ~TimerSource() = default;
    /// Nanoseconds from now until run_expired() has work; 0 = it has, negative = never.
    virtual std::int64_t next_wait_ns() = 0;
    virtual void run_expired() = 0;
};

enum class FdEvent : unsigned { Read = 1, Write = 4, HangUp = 16 };  // as in poll(2)

/// One GLib main context with its thread, and the machine lock it runs under.
///
/// Threads  run() in one thread; post() and quit() from any thread or signal handler helper;
/// watch() from
///          the loop thread or before run().
/// Source   GLib's main context: sources of GIO and plugins attach to context().
class MainLoop {
public:
    static Result<std::unique_ptr<MainLoop>> create();
    ~MainLoop();

    GMainContext* context() const noexcept;
    MachineLock& lock() noexcept;

    /// Serves until quit(). The machine lock is held while a callback runs, dropped while it polls.
    void run();
    /// One turn; may_block = false only serves what is ready. For tests and start-up waits.
    bool run_once(bool may_block);
    void quit() noexcept;
    /// Somebody called quit() and run() has not returned yet (or has not begun).
    bool quitting() const noexcept;

    /// Inside run(): the start-up is over.
    bool serving() const noexcept;

    /// Runs `work` in the loop thread, with the machine lock, in order of posting.
    void post(std::move_only_function<void()> work);

    /// Calls `ready(revents)` in the loop thread while any of `events` (poll(2) bits) holds on
    /// `fd`. The watch lives as long as the Registration. Priority as in GLib: lower first.
    [[nodiscard]] Registration watch(int fd, unsigned events,
                                     std::move_only_function<void(unsigned revents)> ready,
                                     int priority = 0);

    /// Calls `tick` once after `ms` milliseconds of host time, unless the Registration goes first.
    [[nodiscard]] Registration after_ms(unsigned ms, std::move_only_function<void()> tick);

    /// `source` is asked before each sleep. It outlives the Registration.
    [[nodiscard]] Registration add_timer_source(TimerSource& source);
    /// Ends a sleep, so that timer sources are asked again. Any thread.
    void wake() noexcept;

    bool in_loop_thread() const noexcept;

private:
    MainLoop();
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::system
