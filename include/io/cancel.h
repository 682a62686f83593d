// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Asking a thread that waits for a channel to give up.
#pragma once

#include "util/event_fd.h"
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
    explicit Cancel(std::shared_ptr<const EventFd> event) noexcept : event_(std::move(event)) {}
    std::shared_ptr<const EventFd> event_;
};

/// How long somebody is ready to wait.
///
/// Errors   Cancelled or TimedOut from whatever honours it.
struct Patience {
    Cancel cancel{};
    Deadline deadline{};
};

/// Waits until `fd` has one of `events` (poll() bits; errors and hang-ups count too).
/// A negative `fd` is never ready.
Result<void> wait_for_fd(int fd, short events, const Patience& patience);

}  // namespace godwit::io
