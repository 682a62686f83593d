// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/pipe_channel.h"

#include <cerrno>
#include <csignal>
#include <ctime>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

namespace godwit::io {

namespace {

// A pipe knows no MSG_NOSIGNAL. While this object lives, a write to a pipe that nobody reads
// raises no signal that anybody sees, in this thread.
class NoSigpipe {
public:
    NoSigpipe() noexcept
    {
        sigset_t pending;
        ::sigemptyset(&pipe_);
        ::sigaddset(&pipe_, SIGPIPE);
        ::sigpending(&pending);
        was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
        ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    NoSigpipe(const NoSigpipe&) = delete;
    NoSigpipe& operator=(const NoSigpipe&) = delete;
    ~NoSigpipe()
    {
        const int saved = errno;
        if (saved == EPIPE && !was_pending_) {
            const timespec now{};
            while (::sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {
            }
        }
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
        errno = saved;
    }

private:
    sigset_t pipe_;
    sigset_t before_;
    bool was_pending_ = false;
};

Result<int> make_non_blocking(int fd)
{
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return Error::from_errno("fcntl");
    return flags;
}

}  // namespace

PipeChannel::PipeChannel(UniqueFd read_end, UniqueFd write_end, std::string name)
    : read_end_(std::move(read_end)), write_end_(std::move(write_end)), name_(std::move(name))
{}

PipeChannel::~PipeChannel()
{
    close_ends();
}

Result<std::unique_ptr<PipeChannel>> PipeChannel::adopt(UniqueFd read_end, UniqueFd write_end,
                                                        std::string name)
{
    std::unique_ptr<PipeChannel> channel(
        new PipeChannel(std::move(read_end), std::move(write_end), std::move(name)));
    GW_TRY(channel->make_ready());
    return channel;
}

Result<void> PipeChannel::make_ready()
{
    read_shut_ = GW_TRY(EventFd::create());
    write_shut_ = GW_TRY(EventFd::create());
    if (read_end_)
        read_flags_ = GW_TRY(make_non_blocking(read_end_.get()));
    if (write_end_)
        write_flags_ = GW_TRY(make_non_blocking(write_end_.get()));
    return ok();
}

void PipeChannel::close_ends() noexcept
{
    // In the reverse order: both may share one open file.
    if (write_end_ && write_flags_ >= 0 && (write_flags_ & O_NONBLOCK) == 0)
        ::fcntl(write_end_.get(), F_SETFL, write_flags_);
    if (read_end_ && read_flags_ >= 0 && (read_flags_ & O_NONBLOCK) == 0)
        ::fcntl(read_end_.get(), F_SETFL, read_flags_);
    write_end_.reset();
    read_end_.reset();
}

PollTarget PipeChannel::poll_target(Direction direction) const noexcept
{
    if (direction == Direction::Read)
        return {read_end_.get(), POLLIN};
    return {write_end_.get(), POLLOUT};
}

int PipeChannel::wake_fd(Direction direction) const noexcept
{
    const auto& event = direction == Direction::Read ? read_shut_ : write_shut_;
    return event ? event->poll_fd() : -1;
}

int PipeChannel::fd() const noexcept
{
    if (read_end_ && write_end_)
        return -1;
    return read_end_ ? read_end_.get() : write_end_.get();
}

bool PipeChannel::has(Feature) const noexcept
{
    return false;
}

Result<void> PipeChannel::shutdown(Shutdown how)
{
    if (how != Shutdown::Write && read_shut_)
        read_shut_->signal();
    if (how != Shutdown::Read && write_shut_)
        write_shut_->signal();
    return ok();
}

Result<void> PipeChannel::close()
{
    close_ends();
    return ok();
}

Result<std::optional<std::size_t>> PipeChannel::do_readv(std::span<const iovec> to)
{
    if (!read_end_)
        return Error(Errc::Unsupported, "cannot be read from");
    if (read_shut_->is_signalled())
        return Error(Errc::Closed, "was shut down");
    for (;;) {
        const ssize_t got = ::readv(read_end_.get(), to.data(), static_cast<int>(to.size()));
        if (got >= 0)
            return static_cast<std::size_t>(got);
        if (errno == EAGAIN)
            return std::nullopt;
        if (errno == EIO)
            return 0;  // a terminal whose other side is gone
        if (errno != EINTR)
            return Error::from_errno("Unable to read");
    }
}

Result<std::optional<std::size_t>> PipeChannel::do_writev(std::span<const iovec> from)
{
    if (!write_end_)
        return Error(Errc::Unsupported, "cannot be written to");
    if (write_shut_->is_signalled())
        return Error(Errc::Closed, "was shut down");
    const NoSigpipe guard;
    for (;;) {
        const ssize_t wrote =
            ::writev(write_end_.get(), from.data(), static_cast<int>(from.size()));
        if (wrote >= 0)
            return static_cast<std::size_t>(wrote);
        if (errno == EAGAIN)
            return std::nullopt;
        if (errno != EINTR)
            return Error::from_errno("Unable to write");
    }
}

Result<std::pair<std::unique_ptr<PipeChannel>, std::unique_ptr<PipeChannel>>> make_pipe()
{
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) < 0)
        return Error::from_errno("pipe");
    UniqueFd read_end(fds[0]);
    UniqueFd write_end(fds[1]);
    auto reader = GW_TRY(PipeChannel::adopt(std::move(read_end), UniqueFd(), "pipe"));
    auto writer = GW_TRY(PipeChannel::adopt(UniqueFd(), std::move(write_end), "pipe"));
    return std::pair(std::move(reader), std::move(writer));
}

}  // namespace godwit::io
