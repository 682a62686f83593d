// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/resolve.h"

#include "util/size.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fmt/core.h>
#include <limits>
#include <linux/vm_sockets.h>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

namespace godwit::io {

namespace {

constexpr int kProtocolMptcp = 262;  // IPPROTO_MPTCP, which older libc headers lack

Result<int> family_of(const InetAddress& address)
{
    if (address.ipv4 == false && address.ipv6 == false)
        return Error(Errc::InvalidArgument, "Cannot disable IPv4 and IPv6 at same time");
    if (address.ipv4 == true && address.ipv6 == true)
        return AF_UNSPEC;
    if (address.ipv6 == true || address.ipv4 == false)
        return AF_INET6;
    if (address.ipv4 == true || address.ipv6 == false)
        return AF_INET;
    return AF_UNSPEC;
}

Error resolution_failed(const InetAddress& address, std::string_view reason)
{
    return Error(Errc::NotFound, fmt::format("address resolution failed for {}:{}: {}",
                                             address.host, address.port, reason));
}

Resolved as_resolved(const addrinfo& info)
{
    Resolved result{.family = info.ai_family, .length = info.ai_addrlen};
    std::memcpy(&result.address, info.ai_addr,
                std::min<std::size_t>(info.ai_addrlen, sizeof result.address));
    return result;
}

Result<std::uint32_t> vsock_number(const std::string& text, std::string_view what)
{
    const auto number = parse_u64(text);
    if (!number || *number > std::numeric_limits<std::uint32_t>::max())
        return Error(Errc::InvalidArgument, fmt::format("Failed to parse {} '{}'", what, text));
    return static_cast<std::uint32_t>(*number);
}

Result<SocketAddress> address_of(const sockaddr_storage& storage, socklen_t length)
{
    const auto* generic = reinterpret_cast<const sockaddr*>(&storage);
    if (storage.ss_family == AF_INET || storage.ss_family == AF_INET6) {
        char host[NI_MAXHOST];
        char port[NI_MAXSERV];
        const int failed = ::getnameinfo(generic, length, host, sizeof host, port, sizeof port,
                                         NI_NUMERICHOST | NI_NUMERICSERV);
        if (failed != 0)
            return Error(Errc::Io, fmt::format("Cannot format numeric socket address: {}",
                                               ::gai_strerror(failed)));
        return SocketAddress(InetAddress{.host = host, .port = port});
    }
    if (storage.ss_family == AF_UNIX) {
        sockaddr_un local{};
        std::memcpy(&local, &storage, std::min<std::size_t>(length, sizeof local));
        const std::size_t size =
            length > offsetof(sockaddr_un, sun_path) ? length - offsetof(sockaddr_un, sun_path) : 0;
        UnixAddress address;
        address.abstract = size > 0 && local.sun_path[0] == '\0';
        if (address.abstract)
            address.path.assign(local.sun_path + 1, size - 1);
        else
            address.path.assign(local.sun_path, ::strnlen(local.sun_path, size));
        return SocketAddress(std::move(address));
    }
    if (storage.ss_family == AF_VSOCK) {
        sockaddr_vm vm{};
        std::memcpy(&vm, &storage, sizeof vm);
        return SocketAddress(VsockAddress{.cid = fmt::format("{}", vm.svm_cid),
                                          .port = fmt::format("{}", vm.svm_port)});
    }
    return Error(Errc::Unsupported, fmt::format("socket family {} unsupported", storage.ss_family));
}

}  // namespace

Result<std::vector<Resolved>> resolve(const InetAddress& address, bool to_listen)
{
    if (const auto number = parse_u64(address.port); number && *number > 65535)
        return resolution_failed(address, "port is above 65535");
    addrinfo hints{};
    hints.ai_family = GW_TRY(family_of(address));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = to_listen ? AI_PASSIVE : 0;
    if (address.numeric)
        hints.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
    const char* host = address.host.empty() ? nullptr : address.host.c_str();
    const char* port = address.port.empty() ? "0" : address.port.c_str();
    addrinfo* found = nullptr;
    const int failed = ::getaddrinfo(host, port, &hints, &found);
    if (failed == EAI_SYSTEM)
        return resolution_failed(address, std::strerror(errno));
    if (failed != 0)
        return resolution_failed(address, ::gai_strerror(failed));
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
    std::vector<Resolved> all;
    for (const addrinfo* info = found; info != nullptr; info = info->ai_next)
        all.push_back(as_resolved(*info));
    return all;
}

Result<Resolved> resolve(const UnixAddress& address)
{
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    // An abstract name stands behind a zero byte; a path stands before one.
    const std::size_t limit = sizeof local.sun_path - (address.abstract ? 1 : 0);
    const std::size_t size = address.path.size();
    if (size >= sizeof local.sun_path || size > limit)
        return Error(Errc::InvalidArgument,
                     fmt::format("UNIX socket path '{}' is too long", address.path))
            .with_hint(fmt::format("Path must be less than {} bytes", sizeof local.sun_path));
    if (address.path.find('\0') != std::string::npos && !address.abstract)
        return Error(Errc::InvalidArgument, "UNIX socket path contains a zero byte");
    std::memcpy(local.sun_path + (address.abstract ? 1 : 0), address.path.data(), size);
    Resolved result{.family = AF_UNIX, .length = sizeof local};
    if (address.abstract && address.tight)
        result.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size);
    std::memcpy(&result.address, &local, sizeof local);
    return result;
}

Result<Resolved> resolve(const VsockAddress& address)
{
    sockaddr_vm vm{};
    vm.svm_family = AF_VSOCK;
    vm.svm_cid = GW_TRY(vsock_number(address.cid, "cid"));
    vm.svm_port = GW_TRY(vsock_number(address.port, "port"));
    Resolved result{.family = AF_VSOCK, .length = sizeof vm};
    std::memcpy(&result.address, &vm, sizeof vm);
    return result;
}

Result<SocketAddress> local_address_of(int fd)
{
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) < 0)
        return Error::from_errno("Unable to query local socket address");
    return address_of(storage, length);
}

Result<SocketAddress> peer_address_of(int fd)
{
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) < 0)
        return Error::from_errno("Unable to query remote socket address");
    return address_of(storage, length);
}

std::string bare_text(const SocketAddress& address)
{
    struct Text {
        std::string operator()(const InetAddress& inet) const
        {
            return fmt::format("{}:{}", inet.host, inet.port);
        }
        std::string operator()(const UnixAddress& local) const { return local.path; }
        std::string operator()(const VsockAddress& vsock) const
        {
            return fmt::format("{}:{}", vsock.cid, vsock.port);
        }
        std::string operator()(const FdAddress& fd) const { return fd.name; }
    };
    return std::visit(Text{}, address);
}

std::string describe_address(const SocketAddress& address)
{
    std::string text = to_string(address);
    if (const std::size_t colon = text.find(':'); colon != std::string::npos)
        text[colon] = ' ';
    return text;
}

Result<UniqueFd> make_socket(const Resolved& where, bool mptcp)
{
    const int protocol = mptcp ? kProtocolMptcp : where.protocol;
    UniqueFd fd(::socket(where.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
    if (!fd)
        return Error::from_errno("Failed to create socket");
    return fd;
}

Result<void> set_socket_option(int fd, int level, int name, int value, const char* what)
{
    if (::setsockopt(fd, level, name, &value, sizeof value) < 0)
        return Error::from_errno(what);
    return ok();
}

int get_socket_option(int fd, int level, int name) noexcept
{
    int value = 0;
    socklen_t length = sizeof value;
    return ::getsockopt(fd, level, name, &value, &length) < 0 ? -1 : value;
}

}  // namespace godwit::io
