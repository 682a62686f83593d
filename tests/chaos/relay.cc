// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/chaos/relay.h"

#include "tests/qtest/libqtest/deadline.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace godwit::chaos {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

UniqueFd unix_socket()
{
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_TRUE(fd) << std::strerror(errno);
    return fd;
}

sockaddr_un unix_address(const std::string& path)
{
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    EXPECT_LT(path.size(), sizeof address.sun_path);
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
}

// False when the peer is gone or `stop` can be read.
bool send_all(int fd, const char* data, std::size_t size, std::array<int, 2> stops)
{
    while (size != 0) {
        const ssize_t sent = ::send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            std::array<pollfd, 3> wait{
                {{fd, POLLOUT, 0}, {stops[0], POLLIN, 0}, {stops[1], POLLIN, 0}}};
            (void)::poll(wait.data(), wait.size(), -1);
            if (wait[1].revents != 0)
                return false;
            if (wait[2].revents != 0)
                return true;  // held: it goes nowhere
            continue;
        }
        if (sent <= 0)
            return false;
        data += sent;
        size -= static_cast<std::size_t>(sent);
    }
    return true;
}

}  // namespace

Relay::Relay(Plan plan)
    : plan_(plan), listener_(unix_socket()), stop_(EventFd::create().value()),
      hold_(EventFd::create().value())
{
    const sockaddr_un address = unix_address(dir_.file("relay"));
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    thread_ = std::thread([this] { run(); });
}

Relay::~Relay()
{
    stop_.signal();
    if (thread_.joinable())
        thread_.join();
}

void Relay::hold()
{
    hold_.signal();
}

void Relay::finish()
{
    if (plan_.again)
        stop_.signal();
    if (thread_.joinable())
        thread_.join();
}

const std::string& Relay::stream(Way way)
{
    finish();
    return streams_[static_cast<std::size_t>(way)];
}

std::optional<std::uint64_t> Relay::mark()
{
    finish();
    return mark_;
}

// What follows bytes that were looked at before.
void Relay::look_for_mark(Way way, const char* data, std::size_t size)
{
    if (plan_.after.empty() || mark_ || way != plan_.way)
        return;
    const std::uint64_t start = passed(way) - tail_.size();
    tail_.append(data, size);
    if (const std::size_t at = tail_.find(plan_.after); at != std::string::npos)
        mark_ = start + at + plan_.after.size();
    else if (tail_.size() >= plan_.after.size())
        tail_.erase(0, tail_.size() - plan_.after.size() + 1);
}

std::uint64_t Relay::room(Way way) const
{
    const std::uint64_t done = passed_[static_cast<std::size_t>(way)];
    std::uint64_t end = kNoLimit;
    if (plan_.cut_at && plan_.way == way && (plan_.after.empty() || mark_))
        end = *plan_.cut_at + mark_.value_or(0);
    return end - done;
}

// False when the connection has ended.
bool Relay::pump(int from, int to, Way way)
{
    std::vector<char> buffer(std::min<std::uint64_t>(room(way), 1 << 16));
    const ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got <= 0)
        return got < 0 && errno == EINTR;
    auto size = static_cast<std::size_t>(got);
    look_for_mark(way, buffer.data(), size);
    size = std::min<std::uint64_t>(size, room(way));
    if (!send_all(to, buffer.data(), size, {stop_.poll_fd(), hold_.poll_fd()}))
        return false;
    if (plan_.record)
        streams_[static_cast<std::size_t>(way)].append(buffer.data(), size);
    passed_[static_cast<std::size_t>(way)] += size;
    return room(way) != 0;
}

void Relay::run()
{
    serve();
    if (plan_.again) {
        plan_.cut_at.reset();
        plan_.record = false;
        serve();
    }
}

void Relay::serve()
{
    std::array<pollfd, 2> waiting{{{listener_.get(), POLLIN, 0}, {stop_.poll_fd(), POLLIN, 0}}};
    while (::poll(waiting.data(), waiting.size(), -1) < 0 && errno == EINTR) {
    }
    if (waiting[1].revents != 0)
        return;
    const UniqueFd source(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!plan_.again)
        listener_.reset();
    const UniqueFd target = unix_socket();
    const sockaddr_un address = unix_address(dir_.file("target"));
    if (!source ||
        ::connect(target.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return;
    bool open = room(Way::Forward) != 0 && room(Way::Backward) != 0;
    std::array<pollfd, 4> all{{{source.get(), POLLIN, 0},
                               {target.get(), POLLIN, 0},
                               {stop_.poll_fd(), POLLIN, 0},
                               {hold_.poll_fd(), POLLIN, 0}}};
    while (open) {
        if (::poll(all.data(), all.size(), -1) < 0)
            continue;
        if (all[2].revents != 0)
            return;
        if (all[3].revents != 0)
            all[0].fd = all[1].fd = all[3].fd = -1;
        if (all[0].fd >= 0 && all[0].revents != 0)
            open = pump(source.get(), target.get(), Way::Forward);
        if (open && all[1].fd >= 0 && all[1].revents != 0)
            open = pump(target.get(), source.get(), Way::Backward);
    }
}

}  // namespace godwit::chaos
