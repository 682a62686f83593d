// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/open.h"

#include "io/exec_channel.h"
#include "io/file_channel.h"
#include "io/pipe_channel.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

namespace godwit::io {

Result<ChannelPtr> adopt_fd(UniqueFd fd, std::string_view name)
{
    struct stat info{};
    if (::fstat(fd.get(), &info) < 0)
        return Error::from_errno(name);
    if (S_ISSOCK(info.st_mode))
        return GW_TRY(with_context(SocketChannel::adopt(std::move(fd)), name));
    if (S_ISREG(info.st_mode) || S_ISBLK(info.st_mode))
        return GW_TRY(FileChannel::adopt(std::move(fd), std::string(name)));
    if (!S_ISFIFO(info.st_mode) && !S_ISCHR(info.st_mode))
        return Error(Errc::InvalidArgument,
                     fmt::format("{}: is neither a socket, a pipe nor a file", name));
    const int mode = ::fcntl(fd.get(), F_GETFL) & O_ACCMODE;
    UniqueFd second;
    if (mode == O_RDWR)
        second = GW_TRY(fd.dup());
    UniqueFd& read_end = mode == O_WRONLY ? second : fd;
    UniqueFd& write_end = mode == O_WRONLY ? fd : second;
    return GW_TRY(PipeChannel::adopt(std::move(read_end), std::move(write_end), std::string(name)));
}

namespace {

// A FIFO or a terminal is no file: reading or writing it may have to wait, and to be woken.
Result<ChannelPtr> as_what_it_is(std::unique_ptr<FileChannel> file)
{
    struct stat info{};
    if (::fstat(file->fd(), &info) < 0 || (!S_ISFIFO(info.st_mode) && !S_ISCHR(info.st_mode)))
        return ChannelPtr(std::move(file));
    UniqueFd fd(::fcntl(file->fd(), F_DUPFD_CLOEXEC, 3));
    if (!fd)
        return Error::from_errno("dup").context(file->describe());
    return adopt_fd(std::move(fd), file->describe());
}

}  // namespace

Result<ChannelPtr> open_for_writing(const Address& address, const ConnectOptions& options)
{
    ChannelPtr channel;
    if (const auto* file = std::get_if<FileAddress>(&address)) {
        std::unique_ptr<FileChannel> opened = GW_TRY(FileChannel::create_for(*file));
        channel = GW_TRY(as_what_it_is(std::move(opened)));
    } else if (const auto* exec = std::get_if<ExecAddress>(&address)) {
        channel = GW_TRY(ExecChannel::start(exec->args, ExecChannel::Mode::Write));
    } else if (const auto* fd = std::get_if<FdAddress>(&address)) {
        UniqueFd owned = GW_TRY(resolve_fd(*fd, options.fd_lookup));
        channel = GW_TRY(adopt_fd(std::move(owned), "fd " + fd->name));
    } else {
        channel = GW_TRY(connect_socket(*to_socket_address(address), options));
    }
    return channel;
}

Result<ChannelPtr> open_for_reading(const Address& address, const ConnectOptions& options)
{
    ChannelPtr channel;
    if (const auto* file = std::get_if<FileAddress>(&address)) {
        std::unique_ptr<FileChannel> opened = GW_TRY(FileChannel::open_for(*file));
        channel = GW_TRY(as_what_it_is(std::move(opened)));
    } else if (const auto* exec = std::get_if<ExecAddress>(&address)) {
        channel = GW_TRY(ExecChannel::start(exec->args, ExecChannel::Mode::Read));
    } else if (const auto* fd = std::get_if<FdAddress>(&address)) {
        UniqueFd owned = GW_TRY(resolve_fd(*fd, options.fd_lookup));
        channel = GW_TRY(adopt_fd(std::move(owned), "fd " + fd->name));
    } else {
        return Error(Errc::InvalidArgument,
                     fmt::format("{}: others connect to it", to_string(address)));
    }
    return channel;
}

}  // namespace godwit::io
