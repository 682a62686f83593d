// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Whether the guest runs and, if not, why: one table of legal moves, one writer, prioritised
// observers.
#pragma once

#include "qapi/run_state_types.h"
#include "util/registration.h"
#include "util/result.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace godwit::system {

using RunState = qapi::RunState;
using qapi::to_string;

/// Whether the table has the row; staying is always legal.
bool is_legal_move(RunState from, RunState to) noexcept;

/// The guest's vCPUs and clocks follow these calls; who needs to act when they change registers.
///
/// Order    on stop: handlers by descending priority after the vCPUs left the guest; on start: by
///          ascending priority before they enter it. prepare() of all runs before handle() of any.
///          A refusal of the first start from Inmigrate is a stop again: no vCPU ran.
/// Threads  with the machine lock.
/// Errors   a move that is not in the table is Errc::BadState and changes nothing.
class RunStateMachine {
public:
    struct Handler {
        int priority = 0;
        std::string name;
        /// First round: ask (virtio suspend, VFIO P2P). May be empty.
        std::function<Result<void>(bool running, RunState)> prepare;
        /// Second round: await, and do the work.
        std::function<Result<void>(bool running, RunState)> handle;
    };

    /// What the machine does to vCPUs and clocks; set once by the Vm.
    struct Hooks {
        std::function<void()> pause_vcpus;  ///< returns when every vCPU left the guest
        std::function<void()> resume_vcpus;
        std::function<void()> stop_clock;
        std::function<void()> start_clock;
        std::function<void(std::string_view event)> emit;  ///< "STOP", "RESUME"
    };

    RunStateMachine();
    ~RunStateMachine();
    void set_hooks(Hooks hooks);

    RunState state() const noexcept;  ///< any thread
    bool running() const noexcept;    ///< state is Running
    bool live() const noexcept;       ///< Running or Suspended: a guest that stop() would stop
    /// Moves without touching vCPUs; BadState when the table has no such row.
    Result<void> set(RunState to);

    /// Leaves Running or Suspended for `to`: vCPUs out, clock stopped, handlers told, STOP emitted.
    /// While another thread does just that, waits until all of it is done.
    Result<void> stop(RunState to);
    /// `stop` then `cont` of a suspended guest returns to Suspended.
    Result<void> start(RunState to = RunState::Running);
    /// What `cont` does, from any state; refuses where QEMU refuses.
    Result<void> cont();
    bool was_suspended() const noexcept;
    void set_was_suspended(bool yes) noexcept;
    /// `-S` / `cont` while an incoming migration loads: whether to start when loaded.
    bool autostart() const noexcept;
    void set_autostart(bool on) noexcept;

    [[nodiscard]] Registration add(Handler handler);
    /// Every change, after it happened: events, the flight recorder.
    [[nodiscard]] Registration on_change(std::function<void(RunState from, RunState to)> observer);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::system
