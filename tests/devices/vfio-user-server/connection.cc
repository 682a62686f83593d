// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/connection.h"

#include "util/received_fds.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

namespace godwit::vfio_user_server {
namespace {

constexpr timeval kPatience{.tv_sec = 20, .tv_usec = 0};
constexpr int kSocketBuffer = 4 << 20;
constexpr std::size_t kMaxParts = IOV_MAX;

}  // namespace

Connection::Connection(UniqueFd fd, std::size_t max_body) : fd_(std::move(fd)), max_body_(max_body)
{
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof kSocketBuffer);
}

Result<void> Connection::read_all(std::span<std::byte> into, std::vector<UniqueFd>* fds)
{
    const std::size_t wanted = into.size();
    while (!into.empty()) {
        iovec piece{.iov_base = into.data(), .iov_len = into.size()};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFds * sizeof(int))> control;
        msghdr message{};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const ssize_t n = ::recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return Error::from_errno("receive");
        for (UniqueFd& fd : received_fds(message))
            if (fds != nullptr)  // else it is unwanted, and closed
                fds->push_back(std::move(fd));
        if (n == 0 && into.size() == wanted && fds != nullptr)
            return Error(Errc::Closed, "the client closed the connection");
        if (n == 0)
            return Error(Errc::Truncated, "the connection ended inside a message");
        into = into.subspan(static_cast<std::size_t>(n));
    }
    return {};
}

Result<Message> Connection::receive()
{
    Message message = GW_TRY(receive_head());
    GW_TRY(receive_body(message));
    return message;
}

Result<Message> Connection::receive_head()
{
    Message message;
    GW_TRY(read_all(std::as_writable_bytes(std::span(&message.header, 1)), &message.fds));
    const std::uint32_t size = message.header.size;
    if (size < sizeof(Header) || size - sizeof(Header) > max_body_)
        return Error(Errc::BadFormat, fmt::format("a message of {} bytes", size));
    return message;
}

Result<void> Connection::receive_body(Message& message)
{
    message.body.resize(message.header.size - sizeof(Header));
    return read_all(message.body, nullptr);
}

Result<void> Connection::send(Header header, std::span<const std::span<const std::byte>> parts,
                              std::span<const int> fds, std::int32_t lie)
{
    std::size_t total = sizeof header;
    for (const auto& part : parts)
        total += part.size();
    header.size = static_cast<std::uint32_t>(static_cast<std::int64_t>(total) + lie);
    std::vector<iovec> pieces;
    pieces.push_back({.iov_base = &header, .iov_len = sizeof header});
    for (const auto& part : parts)
        if (!part.empty())
            pieces.push_back(
                {.iov_base = const_cast<std::byte*>(part.data()), .iov_len = part.size()});

    alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFds * sizeof(int))> control{};
    std::size_t first = 0;
    bool with_fds = !fds.empty();
    while (first < pieces.size()) {
        msghdr message{};
        message.msg_iov = pieces.data() + first;
        message.msg_iovlen = std::min(pieces.size() - first, kMaxParts);
        if (with_fds) {
            message.msg_control = control.data();
            message.msg_controllen = CMSG_SPACE(fds.size_bytes());
            cmsghdr* c = CMSG_FIRSTHDR(&message);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(fds.size_bytes());
            std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
        }
        ssize_t n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return Error::from_errno("send");
        with_fds = false;
        while (first < pieces.size() && static_cast<std::size_t>(n) >= pieces[first].iov_len)
            n -= static_cast<ssize_t>(pieces[first++].iov_len);
        if (n > 0) {
            pieces[first].iov_base = static_cast<char*>(pieces[first].iov_base) + n;
            pieces[first].iov_len -= static_cast<std::size_t>(n);
        }
    }
    return {};
}

}  // namespace godwit::vfio_user_server
