// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Asking a thread that waits for a channel to give up.
#pragma once

#include "util/result.h"

#include <chrono>
#include <memory>
#include <optional>

namespace godwit::io {

using Clock = std::chrono::steady_clock;
using Deadline = std::optional<Clock::time_point>;

/// The deadline that lies `after` from now.
inline Deadline deadline_in(std::chrono::milliseconds after)
{
    return Clock::now() + after;
}

/// A request to stop, shared by who asks and who waits. Copies are the same request.
///
/// A default-constructed Cancel can never be requested.
/// Threads  everything from any thread; request() also from a signal handler.
class Cancel {
public:
    Cancel() noexcept = default;
    static Result<Cancel> create();

    /// Once requested it stays requested.
    void request() const noexcept;
    bool requested() const noexcept;
    /// Readable once requested; -1 for a default-constructed one.
    int poll_fd() const noexcept;

private:
    struct State;
    explicit Cancel(std::shared_ptr<const State> state) noexcept : state_(std::move(state)) {}
    std::shared_ptr<const State> state_;
};

/// How long somebody is ready to wait.
///
/// Errors   Cancelled or TimedOut from whatever honours it.
struct Patience {
    Cancel cancel{};
    Deadline deadline{};

    /// The error, if it is over already.
    Result<void> check() const;
    /// For poll(): milliseconds until the deadline, rounded up; -1 if there is none.
    int poll_timeout() const noexcept;
};

/// Waits until `fd` has one of `events` (poll() bits; errors and hang-ups count too), or `wake_fd`
/// is readable. A negative descriptor is never ready.
Result<void> wait_for_fd(int fd, short events, const Patience& patience, int wake_fd = -1);

}  // namespace godwit::io
