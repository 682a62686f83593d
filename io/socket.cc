// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/socket.h"

#include "io/resolve.h"
#include "util/received_fds.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fmt/core.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace godwit::io {

namespace {

// Room for the largest message of descriptors, aligned as the kernel wants it.
struct alignas(cmsghdr) ControlBuffer {
    std::array<std::byte, CMSG_SPACE(kMaxFdsPerMessage * sizeof(int))> bytes;
};

bool would_block(int error) noexcept
{
    return error == EAGAIN || error == EWOULDBLOCK;
}

Result<std::optional<std::size_t>> send_message(int fd, const msghdr& message,
                                                const std::atomic<bool>& shut)
{
    for (;;) {
        const ssize_t sent = ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0)
            return static_cast<std::size_t>(sent);
        if (shut)
            return Error(Errc::Closed, "was shut down");
        if (would_block(errno))
            return std::nullopt;
        if (errno != EINTR)
            return Error::from_errno("Unable to write to socket");
    }
}

std::string name_of(int fd)
{
    const auto peer = peer_address_of(fd);
    const auto local = local_address_of(fd);
    const auto* peer_unix = peer ? std::get_if<UnixAddress>(&*peer) : nullptr;
    if (peer && (peer_unix == nullptr || !peer_unix->path.empty()))
        return describe_address(*peer);
    const auto* local_unix = local ? std::get_if<UnixAddress>(&*local) : nullptr;
    if (local_unix != nullptr && !local_unix->path.empty())
        return describe_address(*local);
    return fmt::format("socket fd {}", fd);
}

}  // namespace

SocketChannel::SocketChannel(UniqueFd fd, int family, std::string name)
    : fd_(std::move(fd)), family_(family), name_(std::move(name))
{}

SocketChannel::~SocketChannel() = default;

Result<std::unique_ptr<SocketChannel>> SocketChannel::adopt(UniqueFd fd)
{
    const int type = get_socket_option(fd.get(), SOL_SOCKET, SO_TYPE);
    if (type != SOCK_STREAM)
        return Error(Errc::InvalidArgument,
                     fmt::format("descriptor {} is not a stream socket", fd.get()));
    const int family = get_socket_option(fd.get(), SOL_SOCKET, SO_DOMAIN);
    std::string name = name_of(fd.get());
    return std::unique_ptr<SocketChannel>(
        new SocketChannel(std::move(fd), family, std::move(name)));
}

PollTarget SocketChannel::poll_target(Direction direction) const noexcept
{
    return {fd_.get(), static_cast<short>(direction == Direction::Read ? POLLIN : POLLOUT)};
}

bool SocketChannel::has(Feature feature) const noexcept
{
    switch (feature) {
    case Feature::Peek:
    case Feature::Shutdown:
        return true;
    case Feature::FdPassing:
        return family_ == AF_UNIX;
    case Feature::Seekable:
        return false;
    }
    return false;
}

Result<void> SocketChannel::shutdown(Shutdown how)
{
    if (how != Shutdown::Write)
        read_shut_ = true;
    if (how != Shutdown::Read)
        write_shut_ = true;
    const int mode = how == Shutdown::Read ? SHUT_RD : how == Shutdown::Write ? SHUT_WR : SHUT_RDWR;
    // ENOTCONN: the peer was faster.
    if (::shutdown(fd_.get(), mode) < 0 && errno != ENOTCONN)
        return Error::from_errno("Unable to shutdown socket").context(name_);
    return ok();
}

Result<void> SocketChannel::close()
{
    fd_.reset();
    return ok();
}

Result<void> SocketChannel::set_nodelay(bool on)
{
    return set_socket_option(fd_.get(), IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0, "TCP_NODELAY");
}

Result<SocketAddress> SocketChannel::local_address() const
{
    return local_address_of(fd_.get());
}

Result<SocketAddress> SocketChannel::peer_address() const
{
    return peer_address_of(fd_.get());
}

bool SocketChannel::peer_is_done() const noexcept
{
    pollfd entry{.fd = fd_.get(), .events = POLLRDHUP, .revents = 0};
    return ::poll(&entry, 1, 0) > 0;
}

std::uint64_t SocketChannel::bytes_underway() const noexcept
{
    int bytes = 0;
    return ::ioctl(fd_.get(), SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<unsigned>(bytes)
                                                                  : 0;
}

void SocketChannel::acknowledge() noexcept
{
    constexpr int kOn = 1;
    if (family_ == AF_INET || family_ == AF_INET6)
        (void)::setsockopt(fd_.get(), IPPROTO_TCP, TCP_QUICKACK, &kOn, sizeof kOn);
}

bool SocketChannel::set_queue_limit(std::uint32_t bytes) noexcept
{
    return (family_ == AF_INET || family_ == AF_INET6) &&
           ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes) == 0;
}

namespace {

/// Calls `receive`, a recv() that does not wait, until it says how much came: 0 is the end, nothing
/// means "not yet". `shut`: we ended the direction ourselves.
template <class Receive>
Result<std::optional<std::size_t>> receive_now(const std::atomic<bool>& shut, std::string_view what,
                                               Receive receive)
{
    for (;;) {
        const ssize_t got = receive();
        if (got > 0)
            return static_cast<std::size_t>(got);
        if (got < 0 && errno == EINTR)
            continue;
        if (shut)
            return Error(Errc::Closed, "was shut down");
        if (got == 0)
            return 0;
        if (would_block(errno))
            return std::nullopt;
        return Error::from_errno(what);
    }
}

}  // namespace

Result<std::optional<std::size_t>> SocketChannel::do_readv(std::span<const iovec> to)
{
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(to.data());
    message.msg_iovlen = to.size();
    return receive_now(read_shut_, "Unable to read from socket",
                       [&] { return ::recvmsg(fd_.get(), &message, MSG_DONTWAIT); });
}

Result<std::optional<std::size_t>> SocketChannel::do_writev(std::span<const iovec> from)
{
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(from.data());
    message.msg_iovlen = from.size();
    return send_message(fd_.get(), message, write_shut_);
}

Result<std::optional<std::size_t>> SocketChannel::do_peek(std::span<std::byte> to)
{
    return receive_now(read_shut_, "Unable to peek at socket", [&] {
        return ::recv(fd_.get(), to.data(), to.size(), MSG_PEEK | MSG_DONTWAIT);
    });
}

Result<std::optional<Received>> SocketChannel::do_read_with_fds(std::span<std::byte> to)
{
    iovec piece{to.data(), to.size()};
    ControlBuffer control;
    msghdr message{};
    const auto got = GW_TRY(receive_now(read_shut_, "Unable to read from socket", [&] {
        message = {};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        message.msg_control = control.bytes.data();
        message.msg_controllen = control.bytes.size();
        return ::recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    }));
    if (!got)
        return std::nullopt;
    Received received{.bytes = *got, .fds = received_fds(message)};
    if ((message.msg_flags & MSG_CTRUNC) != 0)
        return Error(Errc::Io, "some descriptors could not be received");
    return received;
}

Result<std::optional<std::size_t>> SocketChannel::do_write_with_fds(std::span<const std::byte> from,
                                                                    std::span<const int> fds)
{
    if (family_ != AF_UNIX)
        return Error(Errc::Unsupported, "passing descriptors is not supported");
    iovec piece = as_iovec(from);
    ControlBuffer control{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
    return send_message(fd_.get(), message, write_shut_);
}

Result<std::pair<std::unique_ptr<SocketChannel>, std::unique_ptr<SocketChannel>>> socket_pair()
{
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return Error::from_errno("socketpair");
    UniqueFd first(fds[0]);
    UniqueFd second(fds[1]);
    auto one = GW_TRY(SocketChannel::adopt(std::move(first)));
    auto two = GW_TRY(SocketChannel::adopt(std::move(second)));
    return std::pair(std::move(one), std::move(two));
}

}  // namespace godwit::io
