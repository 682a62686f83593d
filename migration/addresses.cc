// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/addresses.h"

#include "io/open.h"
#include "qapi/command_context.h"
#include "system/fd_store.h"

#include <algorithm>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godwit::migration {
namespace {

using qapi::MigrationAddress;
using qapi::MigrationChannel;
using qapi::MigrationChannelType;

io::InetAddress from_qapi(const qapi::InetSocketAddress& a)
{
    return {.host = a.host,
            .port = a.port,
            .to = a.to,
            .ipv4 = a.ipv4,
            .ipv6 = a.ipv6,
            .numeric = a.numeric.value_or(false),
            .keep_alive = a.keep_alive,
            .mptcp = a.mptcp};
}

io::Address from_qapi(const qapi::SocketAddress& a)
{
    if (const auto* inet = std::get_if<qapi::InetSocketAddress>(&a.u))
        return from_qapi(*inet);
    if (const auto* path = std::get_if<qapi::UnixSocketAddress>(&a.u))
        return io::UnixAddress{.path = path->path,
                               .abstract = path->abstract.value_or(false),
                               .tight = path->tight.value_or(true)};
    if (const auto* vsock = std::get_if<qapi::VsockSocketAddress>(&a.u))
        return io::VsockAddress{.cid = vsock->cid, .port = vsock->port};
    return io::FdAddress{std::get<qapi::FdSocketAddress>(a.u).str};
}

Result<io::Address> from_qapi(const MigrationAddress& a)
{
    if (const auto* socket = std::get_if<qapi::SocketAddress>(&a.u))
        return from_qapi(*socket);
    if (const auto* file = std::get_if<qapi::FileMigrationArgs>(&a.u))
        return io::Address(io::FileAddress{.path = file->filename, .offset = file->offset});
    if (const auto* exec = std::get_if<qapi::MigrationExecCommand>(&a.u)) {
        if (exec->args.empty())
            return Error(Errc::InvalidArgument, "exec: no command");
        return io::Address(io::ExecAddress{exec->args});
    }
    return Error(Errc::Unsupported, "rdma: is not supported by this version");
}

Result<io::Address> main_channel(const std::vector<MigrationChannel>& channels)
{
    const MigrationChannel* main = nullptr;
    for (const MigrationChannel& channel : channels) {
        if (channel.channel_type != MigrationChannelType::Main)
            return Error(Errc::Unsupported, "channel type 'cpr' is not supported by this version");
        if (main != nullptr)
            return Error(Errc::InvalidArgument, "Channel list has more than one main entry");
        main = &channel;
    }
    if (main == nullptr)
        return Error(Errc::InvalidArgument, "Channel list has no main entry");
    return from_qapi(main->addr);
}

// What was opened beforehand connects once.
Result<io::ChannelPtr> once(io::ChannelPtr& channel)
{
    if (!channel)
        return Error(Errc::Closed, "it cannot be opened again");
    return std::move(channel);
}

// A member of the set may be a file, a pipe or a socket. The set stays as long as whoever connects
// lives, even if the client removes its members meanwhile.
Result<Connect> open_fdset(const io::FileAddress& file, int flags, system::FdStore& fds)
{
    system::OpenedFile opened = GW_TRY(fds.open(file.path, flags));
    struct stat info{};
    if (::fstat(opened.fd.get(), &info) < 0)
        return Error::from_errno(file.path);
    const bool cuts = flags != O_RDONLY && S_ISREG(info.st_mode);
    if (cuts && ::ftruncate(opened.fd.get(), static_cast<off_t>(file.offset)) < 0)
        return Error::from_errno(file.path);
    io::ChannelPtr channel = GW_TRY(io::adopt_fd(std::move(opened.fd), file.path));
    // Without an offset it goes on where the client's descriptor stands.
    if (file.offset != 0)
        GW_TRY(channel->seek(file.offset));
    return Connect([c = std::move(channel), in_use = std::move(opened.in_set)](
                       const io::Patience&) mutable -> Result<io::ChannelPtr> { return once(c); });
}

Connect already(io::ChannelPtr channel)
{
    return [c = std::move(channel)](const io::Patience&) mutable -> Result<io::ChannelPtr> {
        return once(c);
    };
}

io::ConnectOptions by_name(qapi::CommandContext& caller)
{
    return {.patience = {},
            .fd_lookup = [&caller](std::string_view name) { return caller.take_named_fd(name); }};
}

bool is_fdset(const io::Address& address)
{
    const auto* file = std::get_if<io::FileAddress>(&address);
    return file != nullptr && system::fdset_of_path(file->path);
}

}  // namespace

bool is_connectable(const io::Address& address)
{
    return std::holds_alternative<io::InetAddress>(address) ||
           std::holds_alternative<io::UnixAddress>(address) ||
           std::holds_alternative<io::VsockAddress>(address);
}

Result<io::Address> main_address(const std::optional<std::string>& uri,
                                 const std::optional<std::vector<MigrationChannel>>& channels)
{
    const bool listed = channels && !channels->empty();
    if (uri.has_value() == listed)
        return Error(Errc::InvalidArgument, "need either 'uri' or 'channels' argument");
    return uri ? io::parse_uri(*uri) : main_channel(*channels);
}

Result<Connect> connector(const io::Address& address, qapi::CommandContext& caller,
                          system::FdStore& fds)
{
    if (is_fdset(address))
        return open_fdset(std::get<io::FileAddress>(address), O_WRONLY, fds);
    if (!is_connectable(address))
        return already(GW_TRY(io::open_for_writing(address, by_name(caller))));
    return Connect([address](const io::Patience& patience) -> Result<io::ChannelPtr> {
        return io::open_for_writing(address, {.patience = patience, .fd_lookup = {}});
    });
}

Result<Acceptor> acceptor(const io::Address& address, qapi::CommandContext& caller,
                          system::FdStore& fds)
{
    if (is_fdset(address))
        return Acceptor
        {
            GW_TRY(open_fdset(std::get<io::FileAddress>(address), O_RDONLY, fds))
            , {}
        };
    if (!is_connectable(address))
        return Acceptor
        {
            already(GW_TRY(io::open_for_reading(address, by_name(caller)))), {}
        };
    auto listener = GW_TRY(io::Listener::create(*io::to_socket_address(address)));
    auto addresses = listener->addresses();
    return Acceptor{
        [l = std::move(listener)](const io::Patience& patience) -> Result<io::ChannelPtr> {
            return GW_TRY(l->accept(patience));
        },
        std::move(addresses), true};
}

qapi::SocketAddress to_qapi(const io::SocketAddress& address)
{
    using qapi::SocketAddressType;
    if (const auto* inet = std::get_if<io::InetAddress>(&address)) {
        qapi::InetSocketAddress a;
        a.host = inet->host;
        a.port = inet->port;
        return {.type = SocketAddressType::Inet, .u = std::move(a)};
    }
    if (const auto* path = std::get_if<io::UnixAddress>(&address)) {
        qapi::UnixSocketAddress a;
        a.path = path->path;
        if (path->abstract)
            a.abstract = true;
        return {.type = SocketAddressType::Unix, .u = std::move(a)};
    }
    if (const auto* vsock = std::get_if<io::VsockAddress>(&address)) {
        qapi::VsockSocketAddress a;
        a.cid = vsock->cid;
        a.port = vsock->port;
        return {.type = SocketAddressType::Vsock, .u = std::move(a)};
    }
    qapi::FdSocketAddress a;
    a.str = std::get<io::FdAddress>(address).name;
    return {.type = SocketAddressType::Fd, .u = std::move(a)};
}

}  // namespace godwit::migration
