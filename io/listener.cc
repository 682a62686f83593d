// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/listener.h"

#include "io/resolve.h"
#include "util/size.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godwit::io {

namespace {

void set_port(Resolved& where, std::uint16_t port) noexcept
{
    const std::uint16_t network = htons(port);
    const std::size_t offset = where.family == AF_INET6 ? offsetof(sockaddr_in6, sin6_port)
                                                        : offsetof(sockaddr_in, sin_port);
    std::memcpy(reinterpret_cast<std::byte*>(&where.address) + offset, &network, sizeof network);
}

std::uint16_t port_of(const Resolved& where) noexcept
{
    std::uint16_t network = 0;
    const std::size_t offset = where.family == AF_INET6 ? offsetof(sockaddr_in6, sin6_port)
                                                        : offsetof(sockaddr_in, sin_port);
    std::memcpy(&network, reinterpret_cast<const std::byte*>(&where.address) + offset,
                sizeof network);
    return ntohs(network);
}

std::uint16_t bound_port(int fd)
{
    Resolved where;
    where.length = sizeof where.address;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&where.address), &where.length);
    where.family = where.address.ss_family;
    return port_of(where);
}

// EADDRINUSE and such stay in os_errno().
Result<UniqueFd> bind_and_listen(const Resolved& where, bool v6_only, bool mptcp, int backlog)
{
    UniqueFd fd = GW_TRY(make_socket(where, mptcp));
    if (where.family == AF_INET || where.family == AF_INET6)
        GW_TRY(set_socket_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
    if (where.family == AF_INET6)
        GW_TRY(set_socket_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, v6_only, "IPV6_V6ONLY"));
    if (::bind(fd.get(), where.get(), where.length) < 0)
        return Error::from_errno("Failed to bind socket");
    if (::listen(fd.get(), backlog) < 0)
        return Error::from_errno("Failed to listen on socket");
    return fd;
}

bool port_is_taken(const Error& error) noexcept
{
    return error.os_errno() == EADDRINUSE;
}

// All of `targets` on one port, or the error of the first that failed.
Result<std::vector<UniqueFd>> bind_all(std::vector<Resolved> targets, std::uint16_t port,
                                       bool v6_only, bool mptcp, int backlog)
{
    std::vector<UniqueFd> sockets;
    for (Resolved& where : targets) {
        set_port(where, port);
        auto fd = bind_and_listen(where, v6_only, mptcp, backlog);
        if (!fd && !sockets.empty() && !port_is_taken(fd.error()))
            continue;  // a family that this host does not really have
        if (!fd)
            return std::move(fd).error();
        if (port == 0)
            port = bound_port(fd->get());
        sockets.push_back(std::move(*fd));
    }
    return sockets;
}

// Nobody listens on the path any more: its owner died before it could remove it.
bool is_stale_socket(const Resolved& where, const std::string& path)
{
    struct stat info{};
    if (::stat(path.c_str(), &info) < 0 || !S_ISSOCK(info.st_mode))
        return false;
    auto probe = make_socket(where);
    return probe && ::connect(probe->get(), where.get(), where.length) < 0 && errno == ECONNREFUSED;
}

}  // namespace

Listener::~Listener()
{
    if (!unlink_path_.empty())
        ::unlink(unlink_path_.c_str());
}

Result<std::unique_ptr<Listener>> Listener::create(const SocketAddress& address,
                                                   const ListenOptions& options)
{
    std::unique_ptr<Listener> listener(new Listener);
    if (const auto* inet = std::get_if<InetAddress>(&address))
        GW_TRY(listener->listen_inet(*inet, options.backlog));
    else if (const auto* local = std::get_if<UnixAddress>(&address))
        GW_TRY(listener->listen_unix(*local, options.backlog));
    else if (const auto* vsock = std::get_if<VsockAddress>(&address))
        GW_TRY(listener->listen_vsock(*vsock, options.backlog));
    else
        GW_TRY(listener->adopt_fd(std::get<FdAddress>(address), options));
    for (const UniqueFd& fd : listener->sockets_)
        listener->addresses_.push_back(GW_TRY(local_address_of(fd.get())));
    return listener;
}

Result<void> Listener::listen_inet(const InetAddress& address, int backlog)
{
    std::vector<Resolved> targets = GW_TRY(resolve(address, true));
    const auto is_v4 = [](const Resolved& where) { return where.family == AF_INET; };
    // Each family has its socket, unless `ipv6=on,ipv4=on` wants one that takes both.
    const bool v6_only = std::ranges::any_of(targets, is_v4) || address.ipv4 != true;
    const std::uint16_t first = port_of(targets.front());
    const std::uint16_t last = std::max(first, address.to.value_or(first));
    for (unsigned port = first; port <= last; ++port) {
        auto sockets = bind_all(targets, static_cast<std::uint16_t>(port), v6_only,
                                address.mptcp.value_or(false), backlog);
        if (sockets) {
            sockets_ = std::move(*sockets);
            keep_alive_ = address.keep_alive;
            return ok();
        }
        if (!port_is_taken(sockets.error()))
            return std::move(sockets).error();
    }
    return Error(Errc::Busy,
                 fmt::format("Failed to find an available port: {}", std::strerror(EADDRINUSE)),
                 EADDRINUSE);
}

Result<void> Listener::listen_unix(const UnixAddress& address, int backlog)
{
    const Resolved where = GW_TRY(resolve(address));
    auto fd = bind_and_listen(where, false, false, backlog);
    if (!fd && port_is_taken(fd.error()) && !address.abstract &&
        is_stale_socket(where, address.path)) {
        ::unlink(address.path.c_str());
        fd = bind_and_listen(where, false, false, backlog);
    }
    if (!fd)
        return Error(fd.error().code(),
                     fmt::format("Failed to bind socket to {}: {}", address.path,
                                 std::strerror(fd.error().os_errno())),
                     fd.error().os_errno());
    sockets_.push_back(std::move(*fd));
    if (!address.abstract)
        unlink_path_ = address.path;
    return ok();
}

Result<void> Listener::listen_vsock(const VsockAddress& address, int backlog)
{
    const Resolved where = GW_TRY(resolve(address));
    sockets_.push_back(GW_TRY(bind_and_listen(where, false, false, backlog)));
    return ok();
}

Result<void> Listener::adopt_fd(const FdAddress& address, const ListenOptions& options)
{
    UniqueFd fd = GW_TRY(resolve_fd(address, options.fd_lookup));
    if (get_socket_option(fd.get(), SOL_SOCKET, SO_ACCEPTCONN) != 1)
        return Error(Errc::InvalidArgument,
                     fmt::format("File descriptor '{}' is not a listening socket", address.name));
    // Who knocked may be gone again between poll() and accept().
    if (::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK) < 0)
        return Error::from_errno("fcntl");
    sockets_.push_back(std::move(fd));
    return ok();
}

Result<std::unique_ptr<SocketChannel>> Listener::try_accept()
{
    for (const UniqueFd& socket : sockets_) {
        UniqueFd fd(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd) {
            // EAGAIN and ECONNABORTED: who knocked has gone again.
            if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
                continue;
            return Error::from_errno("Unable to accept connection").context(describe());
        }
        auto channel = GW_TRY(SocketChannel::adopt(std::move(fd)));
        if (std::holds_alternative<InetAddress>(addresses_.front())) {
            GW_TRY(channel->set_nodelay(true));
            if (keep_alive_)
                GW_TRY(set_socket_option(channel->fd(), SOL_SOCKET, SO_KEEPALIVE, *keep_alive_,
                                         "Unable to set keep-alive option on socket"));
        }
        return channel;
    }
    return nullptr;
}

Result<std::unique_ptr<SocketChannel>> Listener::accept(const Patience& patience)
{
    std::vector<pollfd> entries;
    entries.reserve(sockets_.size() + 1);
    for (const UniqueFd& socket : sockets_)
        entries.push_back({.fd = socket.get(), .events = POLLIN, .revents = 0});
    entries.push_back({.fd = patience.cancel.poll_fd(), .events = POLLIN, .revents = 0});
    for (;;) {
        if (auto patient = patience.check(); !patient)
            return std::move(patient).error().context(describe());
        if (auto channel = GW_TRY(try_accept()))
            return channel;
        if (::poll(entries.data(), entries.size(), patience.poll_timeout()) < 0 && errno != EINTR)
            return Error::from_errno("poll").context(describe());
    }
}

std::vector<int> Listener::poll_fds() const
{
    std::vector<int> fds;
    fds.reserve(sockets_.size());
    for (const UniqueFd& socket : sockets_)
        fds.push_back(socket.get());
    return fds;
}

std::string Listener::describe() const
{
    return addresses_.empty() ? "listener" : "listening " + describe_address(addresses_.front());
}

}  // namespace godwit::io
