// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/event_fd.h"

#include <cerrno>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace godwit {

Result<EventFd> EventFd::create()
{
    UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd)
        return Error::from_errno("eventfd");
    return EventFd(std::move(fd));
}

void EventFd::signal() const noexcept
{
    const int saved = errno;  // a signal handler may call us
    const std::uint64_t one = 1;
    // EAGAIN means the counter is full, so it is readable already.
    while (::write(fd_.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
    errno = saved;
}

bool EventFd::drain() const noexcept
{
    std::uint64_t count = 0;
    ssize_t got = 0;
    do
        got = ::read(fd_.get(), &count, sizeof count);
    while (got < 0 && errno == EINTR);
    return got == static_cast<ssize_t>(sizeof count);
}

bool EventFd::wait(int timeout_ms) const noexcept
{
    pollfd entry{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    int ready = 0;
    do
        ready = ::poll(&entry, 1, timeout_ms);
    while (ready < 0 && errno == EINTR);
    return ready > 0 && (entry.revents & POLLIN) != 0;
}

}  // namespace godwit
