// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Connecting, with patience.
#include "io/resolve.h"
#include "io/socket.h"
#include "util/size.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

namespace godwit::io {

namespace {

constexpr auto kBacklogInterval = std::chrono::milliseconds(10);

Error reason(int os_errno)
{
    return Error(Error::from_errno("", os_errno).code(), std::strerror(os_errno), os_errno);
}

// A Unix server whose queue is full cannot be polled for; ask again after a while.
Result<void> wait_for_backlog(const Patience& patience)
{
    Patience nap = patience;
    const auto soon = Clock::now() + kBacklogInterval;
    if (!nap.deadline || soon < *nap.deadline)
        nap.deadline = soon;
    auto slept = wait_for_fd(-1, 0, nap);
    if (!slept && slept.error().code() == Errc::TimedOut)
        return patience.check();
    return slept;
}

Result<UniqueFd> connect_one(const Resolved& where, bool mptcp, const Patience& patience)
{
    UniqueFd fd = GW_TRY(make_socket(where, mptcp));
    for (;;) {
        GW_TRY(patience.check());
        if (::connect(fd.get(), where.get(), where.length) == 0)
            return fd;
        if (errno == EAGAIN && where.family == AF_UNIX) {
            GW_TRY(wait_for_backlog(patience));
            continue;
        }
        if (errno != EINPROGRESS && errno != EINTR)
            return reason(errno);
        GW_TRY(wait_for_fd(fd.get(), POLLOUT, patience));
        const int failed = get_socket_option(fd.get(), SOL_SOCKET, SO_ERROR);
        if (failed != 0)
            return reason(failed < 0 ? EIO : failed);
        return fd;
    }
}

Error connect_failed(const SocketAddress& address, const Error& why)
{
    return Error(why.code(),
                 fmt::format("Failed to connect to '{}': {}", bare_text(address), why.message()),
                 why.os_errno());
}

bool is_final(const Error& error) noexcept
{
    return error.code() == Errc::Cancelled || error.code() == Errc::TimedOut;
}

Result<UniqueFd> connect_inet(const InetAddress& address, const Patience& patience)
{
    Error last(Errc::NotFound, "no address");
    for (const Resolved& where : GW_TRY(resolve(address, false))) {
        auto fd = connect_one(where, address.mptcp.value_or(false), patience);
        if (fd) {
            GW_TRY(set_socket_option(fd->get(), IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"));
            if (address.keep_alive)
                GW_TRY(set_socket_option(fd->get(), SOL_SOCKET, SO_KEEPALIVE, *address.keep_alive,
                                         "Unable to set keep-alive option on socket"));
            return std::move(*fd);
        }
        last = std::move(fd).error();
        // A time-out of the network's own has an errno and is not the end.
        if (is_final(last) && last.os_errno() == 0)
            break;
    }
    return connect_failed(address, last);
}

Result<UniqueFd> connect_fd(const SocketAddress& address, const ConnectOptions& options)
{
    if (const auto* inet = std::get_if<InetAddress>(&address))
        return connect_inet(*inet, options.patience);
    if (const auto* fd = std::get_if<FdAddress>(&address))
        return resolve_fd(*fd, options.fd_lookup);
    const auto* local = std::get_if<UnixAddress>(&address);
    const Resolved where = local != nullptr ? GW_TRY(resolve(*local))
                                            : GW_TRY(resolve(std::get<VsockAddress>(address)));
                                            auto fd = connect_one(where, false, options.patience);
                                            if (!fd)
                                                return connect_failed(address, fd.error());
                                            return fd;
}

}  // namespace

Result<std::unique_ptr<SocketChannel>> connect_socket(const SocketAddress& address,
                                                      const ConnectOptions& options)
{
    UniqueFd fd = GW_TRY(connect_fd(address, options));
    auto channel = GW_TRY(SocketChannel::adopt(std::move(fd)));
    if (!std::holds_alternative<FdAddress>(address))
        channel->name_ = describe_address(address);
    return channel;
}

Result<UniqueFd> resolve_fd(const FdAddress& address, const FdLookup& lookup)
{
    const bool is_number =
        !address.name.empty() && address.name[0] >= '0' && address.name[0] <= '9';
    if (lookup && !is_number)
        return lookup(address.name);
    const auto number = parse_u64(address.name);
    if (!number || *number > 0x7fffffff)
        return Error(Errc::InvalidArgument,
                     fmt::format("Invalid file descriptor number '{}'", address.name));
    const int fd = static_cast<int>(*number);
    if (::fcntl(fd, F_GETFD) < 0)
        return Error::from_errno(fmt::format("File descriptor '{}' is not open", address.name));
    return UniqueFd(fd);
}

}  // namespace godwit::io
