// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/cancel.h"

#include "util/event_fd.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <limits>
#include <poll.h>

namespace godwit::io {

struct Cancel::State {
    EventFd event;                               // for who waits
    mutable std::atomic<bool> requested{false};  // for who is busy: cheaper to look at
};

Result<Cancel> Cancel::create()
{
    EventFd event = GW_TRY(EventFd::create());
    return Cancel(std::make_shared<State>(std::move(event)));
}

void Cancel::request() const noexcept
{
    if (!state_)
        return;
    state_->requested.store(true, std::memory_order_release);
    state_->event.signal();
}

bool Cancel::requested() const noexcept
{
    return state_ && state_->requested.load(std::memory_order_acquire);
}

int Cancel::poll_fd() const noexcept
{
    return state_ ? state_->event.poll_fd() : -1;
}

Result<void> Patience::check() const
{
    if (cancel.requested())
        return Error(Errc::Cancelled, "cancelled");
    if (deadline && Clock::now() >= *deadline)
        return Error(Errc::TimedOut, "timed out");
    return ok();
}

int Patience::poll_timeout() const noexcept
{
    if (!deadline)
        return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now());
    return static_cast<int>(
        std::clamp<std::int64_t>(left.count(), 0, std::numeric_limits<int>::max()));
}

Result<void> wait_for_fd(int fd, short events, const Patience& patience, int wake_fd)
{
    std::array<pollfd, 3> entries{
        pollfd{.fd = fd, .events = events, .revents = 0},
        pollfd{.fd = patience.cancel.poll_fd(), .events = POLLIN, .revents = 0},
        pollfd{.fd = wake_fd, .events = POLLIN, .revents = 0},
    };
    for (;;) {
        GW_TRY(patience.check());
        const int ready = ::poll(entries.data(), entries.size(), patience.poll_timeout());
        if (ready < 0 && errno != EINTR)
            return Error::from_errno("poll");
        if (ready <= 0)
            continue;
        if (entries[1].revents != 0)
            return Error(Errc::Cancelled, "cancelled");
        if ((entries[0].revents & POLLNVAL) != 0)
            return Error(Errc::Closed, "the descriptor is not open");
        return ok();
    }
}

}  // namespace godwit::io
