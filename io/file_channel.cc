// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/file_channel.h"

#include <cerrno>
#include <fcntl.h>
#include <fmt/core.h>
#include <limits>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godwit::io {

namespace {

// Repeats what a signal interrupted. `call` returns bytes or -1.
template <class Call>
Result<std::size_t> moved(std::string_view what, Call call)
{
    for (;;) {
        const ssize_t bytes = call();
        if (bytes >= 0)
            return static_cast<std::size_t>(bytes);
        if (errno != EINTR)
            return Error::from_errno(what);
    }
}

Result<off_t> as_offset(std::uint64_t offset)
{
    if (offset > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max()))
        return Error(Errc::InvalidArgument, fmt::format("offset {} is too large", offset));
    return static_cast<off_t>(offset);
}

}  // namespace

Result<std::unique_ptr<FileChannel>> FileChannel::open(const std::string& path, int flags,
                                                       unsigned mode)
{
    UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
    if (!fd)
        return Error::from_errno(fmt::format("Could not open '{}'", path));
    return adopt(std::move(fd), "file " + path);
}

Result<std::unique_ptr<FileChannel>> FileChannel::create_for(const FileAddress& address)
{
    auto file = GW_TRY(open(address.path, O_CREAT | O_WRONLY));
    struct stat info{};
    // There is nothing to cut on a block device.
    if (::fstat(file->fd(), &info) == 0 && S_ISREG(info.st_mode))
        GW_TRY(file->truncate(address.offset));
    if (address.offset != 0)
        GW_TRY(file->seek(address.offset));
    return file;
}

Result<std::unique_ptr<FileChannel>> FileChannel::open_for(const FileAddress& address)
{
    auto file = GW_TRY(open(address.path, O_RDONLY));
    if (address.offset != 0)
        GW_TRY(file->seek(address.offset));
    return file;
}

Result<std::unique_ptr<FileChannel>> FileChannel::adopt(UniqueFd fd, std::string name)
{
    struct stat info{};
    if (::fstat(fd.get(), &info) < 0)
        return Error::from_errno(name);
    if (S_ISDIR(info.st_mode))
        return Error(Errc::InvalidArgument, name + ": Is a directory", EISDIR);
    return std::unique_ptr<FileChannel>(new FileChannel(std::move(fd), std::move(name)));
}

PollTarget FileChannel::poll_target(Direction direction) const noexcept
{
    return {fd_.get(), static_cast<short>(direction == Direction::Read ? POLLIN : POLLOUT)};
}

bool FileChannel::has(Feature feature) const noexcept
{
    return feature == Feature::Seekable && ::lseek(fd_.get(), 0, SEEK_CUR) >= 0;
}

Result<void> FileChannel::shutdown(Shutdown how)
{
    if (how != Shutdown::Write)
        read_shut_ = true;
    if (how != Shutdown::Read)
        write_shut_ = true;
    return ok();
}

Result<void> FileChannel::close()
{
    if (!fd_)
        return ok();
    // Some file systems tell only here that they are full. EINTR: closed all the same.
    if (::close(fd_.release()) < 0 && errno != EINTR)
        return Error::from_errno("Unable to close file").context(name_);
    return ok();
}

Result<std::uint64_t> FileChannel::seek(std::uint64_t offset)
{
    const off_t to = GW_TRY(as_offset(offset));
    const off_t at = ::lseek(fd_.get(), to, SEEK_SET);
    if (at < 0)
        return Error::from_errno("Unable to seek").context(name_);
    return static_cast<std::uint64_t>(at);
}

Result<std::uint64_t> FileChannel::tell() const
{
    const off_t at = ::lseek(fd_.get(), 0, SEEK_CUR);
    if (at < 0)
        return Error::from_errno("Unable to seek").context(name_);
    return static_cast<std::uint64_t>(at);
}

Result<void> FileChannel::sync()
{
    if (::fdatasync(fd_.get()) < 0)
        return Error::from_errno("Unable to sync").context(name_);
    return ok();
}

Result<std::uint64_t> FileChannel::size() const
{
    struct stat info{};
    if (::fstat(fd_.get(), &info) < 0)
        return Error::from_errno("fstat").context(name_);
    return static_cast<std::uint64_t>(info.st_size);
}

Result<void> FileChannel::truncate(std::uint64_t size)
{
    const off_t to = GW_TRY(as_offset(size));
    if (::ftruncate(fd_.get(), to) < 0)
        return Error::from_errno("Unable to truncate").context(name_);
    return ok();
}

Result<std::optional<std::size_t>> FileChannel::do_readv(std::span<const iovec> to)
{
    if (read_shut_)
        return Error(Errc::Closed, "was shut down");
    return GW_TRY(moved("Unable to read from file", [&] {
        return ::readv(fd_.get(), to.data(), static_cast<int>(to.size()));
    }));
}

Result<std::optional<std::size_t>> FileChannel::do_writev(std::span<const iovec> from)
{
    if (write_shut_)
        return Error(Errc::Closed, "was shut down");
    return GW_TRY(moved("Unable to write to file", [&] {
        return ::writev(fd_.get(), from.data(), static_cast<int>(from.size()));
    }));
}

Result<std::size_t> FileChannel::do_preadv(std::span<const iovec> to, std::uint64_t offset)
{
    if (read_shut_)
        return Error(Errc::Closed, "was shut down");
    const off_t at = GW_TRY(as_offset(offset));
    return moved("Unable to read from file",
                 [&] { return ::preadv(fd_.get(), to.data(), static_cast<int>(to.size()), at); });
}

Result<std::size_t> FileChannel::do_pwritev(std::span<const iovec> from, std::uint64_t offset)
{
    if (write_shut_)
        return Error(Errc::Closed, "was shut down");
    const off_t at = GW_TRY(as_offset(offset));
    return moved("Unable to write to file", [&] {
        return ::pwritev(fd_.get(), from.data(), static_cast<int>(from.size()), at);
    });
}

}  // namespace godwit::io
