// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/chardev_backends.h"
#include "system/main_loop.h"
#include "util/received_fds.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godwit::system {

namespace {

constexpr std::size_t kReadSize = 64 * 1024;
constexpr std::size_t kMaxWaitingFds = 64;  // nobody takes them: the rest is closed

bool try_again(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

StreamChardev::~StreamChardev() = default;

void StreamChardev::open(int in, int out, bool is_socket)
{
    in_ = in;
    out_ = out;
    is_socket_ = is_socket;
    connected_ = true;
    telnet_state_ = 0;
    tell(FrontEnd::Event::Opened);
    accept_input();
}

void StreamChardev::close_stream()
{
    if (!connected_)
        return;
    connected_ = false;
    read_watch_.reset();
    end_watch_.reset();
    write_watch_.reset();
    queue_.clear();
    queue_start_ = 0;
    fds_.clear();
    in_ = out_ = -1;
    tell(FrontEnd::Event::Closed);
    if (auto ready = std::exchange(on_writable_, nullptr))
        ready();
}

void StreamChardev::lost()
{
    if (is_socket_)
        return close_stream();
    // What was sent before the end is still answered: `echo quit | ... -monitor stdio`.
    read_watch_.reset();
    in_ = -1;
}

/// Watches for input exactly while the front end can take some. Where nobody will ever read, the
/// end of the connection is watched for alone.
void StreamChardev::accept_input()
{
    end_watch_.reset();
    if (!connected_ || in_ < 0 || can_receive() == 0) {
        read_watch_.reset();
        if (connected_ && in_ >= 0 && is_socket_ && !attached())
            end_watch_ = loop_->watch(in_, POLLHUP | POLLERR, [this](unsigned) { lost(); });
        return;
    }
    if (!read_watch_)
        read_watch_ =
            loop_->watch(in_, POLLIN | POLLHUP | POLLERR, [this](unsigned) { readable(); });
}

Result<void> StreamChardev::move_to(MainLoop& loop)
{
    loop_ = &loop;
    read_watch_.reset();
    accept_input();
    if (write_watch_) {
        write_watch_.reset();
        want_output();
    }
    return {};
}

long StreamChardev::receive(std::span<std::byte> into)
{
    if (!is_socket_)
        return ::read(in_, into.data(), into.size());
    iovec bytes{into.data(), into.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 253)> control;
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t length = ::recvmsg(in_, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length >= 0) {
        for (UniqueFd& fd : received_fds(message))
            if (fds_.size() < kMaxWaitingFds)
                fds_.push_back(std::move(fd));
    }
    return length;
}

void StreamChardev::readable()
{
    const std::size_t room = can_receive();
    if (room == 0) {
        read_watch_.reset();
        return;
    }
    std::array<std::byte, kReadSize> buffer;
    const long length = receive(std::span(buffer).first(std::min(room, buffer.size())));
    if (length < 0 && try_again(errno))
        return;
    if (length <= 0)
        return lost();
    auto data = std::span(buffer).first(static_cast<std::size_t>(length));
    if (telnet_)
        data = data.first(strip_telnet(data));
    if (!data.empty())
        give(data);
    if (read_watch_ && can_receive() == 0)
        read_watch_.reset();
}

/// RFC 854: IAC IAC is a byte 255; IAC and WILL, WONT, DO, DONT take one more; others none.
std::size_t StreamChardev::strip_telnet(std::span<std::byte> data)
{
    std::size_t kept = 0;
    for (const std::byte byte : data) {
        const auto value = static_cast<unsigned>(byte);
        if (telnet_state_ == 2) {
            telnet_state_ = 0;
        } else if (telnet_state_ == 1) {
            telnet_state_ = value >= 251 && value <= 254 ? 2 : 0;
            if (value == 255)
                data[kept++] = byte;
        } else if (value == 255) {
            telnet_state_ = 1;
        } else {
            data[kept++] = byte;
        }
    }
    return kept;
}

long StreamChardev::send(std::span<const std::byte> from)
{
    if (is_socket_)
        return ::send(out_, from.data(), from.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return ::write(out_, from.data(), from.size());
}

std::size_t StreamChardev::write_some(std::span<const std::byte> data)
{
    if (!connected_ || out_ < 0)
        return data.size();  // nobody listens: as if it had been said
    if (queued() > 0)
        return 0;
    std::size_t done = 0;
    while (done < data.size()) {
        const long length = send(data.subspan(done));
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return try_again(errno) ? done : data.size();  // a lost peer shows when reading
        done += static_cast<std::size_t>(length);
    }
    return done;
}

bool StreamChardev::write(std::span<const std::byte> data)
{
    if (!connected_ || out_ < 0)
        return false;
    const auto rest = data.subspan(write_some(data));
    if (rest.empty())
        return true;
    if (queued() + rest.size() > queue_limit_)
        return false;
    queue_.append(reinterpret_cast<const char*>(rest.data()), rest.size());
    want_output();
    return true;
}

void StreamChardev::want_output()
{
    if (!write_watch_)
        write_watch_ = loop_->watch(out_, POLLOUT, [this](unsigned) { writable(); });
}

void StreamChardev::writable()
{
    while (queued() > 0) {
        const auto left = std::as_bytes(std::span(queue_)).subspan(queue_start_);
        const long length = send(left);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0 && try_again(errno))
            return;
        // A peer that is gone takes nothing more; reading will say so.
        queue_start_ += length < 0 ? left.size() : static_cast<std::size_t>(length);
    }
    queue_.clear();
    queue_start_ = 0;
    write_watch_.reset();
    if (auto ready = std::exchange(on_writable_, nullptr))
        ready();
}

void StreamChardev::on_writable(std::function<void()> ready)
{
    if (!connected_ || out_ < 0)
        return ready();
    on_writable_ = std::move(ready);
    want_output();
}

void StreamChardev::flush(unsigned ms)
{
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    while (connected_ && queued() > 0) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            until - std::chrono::steady_clock::now());
        pollfd fd{.fd = out_, .events = POLLOUT, .revents = 0};
        if (left.count() <= 0 || ::poll(&fd, 1, static_cast<int>(left.count())) <= 0)
            return;
        writable();
    }
}

}  // namespace godwit::system
