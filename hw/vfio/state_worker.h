// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A thread that changes one device's state, so that many devices change theirs at once and one that
// hangs is noticed in time.
#pragma once

#include "util/result.h"
#include "util/thread.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

namespace godwit::hw::vfio {

/// Shape    one task at a time: submit(), then await().
/// Threads  submit() and await() from one thread at a time. The destructor waits for the task that
///          runs.
/// Errors   await(): TimedOut, and the task goes on; submit() then waits for it. Otherwise the
///          task's.
class StateWorker {
public:
    using Task = std::move_only_function<Result<void>()>;
    using Deadline = std::chrono::steady_clock::time_point;

    explicit StateWorker(const std::string& name);

    /// `what` is for the message of a deadline missed: "STOP_COPY".
    Result<void> submit(std::string what, Task task, Deadline deadline);
    Result<void> await(Deadline deadline);
    /// A task runs, perhaps one that await() gave up. Any thread.
    bool busy() const;

private:
    void run(const std::stop_token& stop);

    mutable std::mutex mutex_;
    std::condition_variable_any woken_;
    std::optional<Task> task_;            // mutex_
    std::optional<Result<void>> result_;  // mutex_
    bool busy_ = false;                   // mutex_
    std::string what_;                    // mutex_
    NamedThread thread_;                  // last
};

}  // namespace godwit::hw::vfio
