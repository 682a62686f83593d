// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A kick that another thread can poll() for.
#pragma once

#include "util/unique_fd.h"

#include <cstdint>

namespace godwit {

/// A counter in the kernel that is readable while it is not zero.
///
/// Threads  signal() and drain() from any thread, signal() also from a signal handler.
/// Errors   create(): whatever the kernel says. Nothing else fails.
class EventFd {
public:
    static Result<EventFd> create();

    /// Makes the descriptor readable; again and again is the same as once.
    void signal() const noexcept;
    /// Makes it unreadable; answers whether it was readable.
    bool drain() const noexcept;
    /// Waits until it is readable, without draining it; false when `timeout_ms` passed (-1: never).
    bool wait(int timeout_ms = -1) const noexcept;
    bool is_signalled() const noexcept { return wait(0); }

    /// Borrowed: poll it for POLLIN, do not close it.
    int poll_fd() const noexcept { return fd_.get(); }

private:
    explicit EventFd(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
    UniqueFd fd_;
};

}  // namespace godwit
