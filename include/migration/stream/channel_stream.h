// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A channel as the sink or the source of a stream.
#pragma once

#include "io/channel.h"
#include "migration/stream/reader.h"
#include "migration/stream/writer.h"

#include <deque>

namespace godwit::migration::stream {

/// Borrows the channel; waits as its patience() says.
class ChannelSink final : public ByteSink {
public:
    explicit ChannelSink(io::Channel& channel) : channel_(channel) {}
    Result<void> write_all(std::span<const iovec> pieces) override
    {
        auto written = channel_.writev_all(pieces);
        failed_ = failed_ || !written;
        return written;
    }
    Result<void> write_with_fd(std::byte byte, int fd) override
    {
        auto written = channel_.write_with_fds({&byte, 1}, {&fd, 1});
        failed_ = failed_ || !written;
        return written;
    }
    /// A write failed: the peer broke off, or is gone.
    bool failed() const noexcept { return failed_; }

private:
    io::Channel& channel_;
    bool failed_ = false;
};

/// Borrows the channel; waits as its patience() says.
class ChannelSource final : public ByteSource {
public:
    /// Open files that lie here until somebody takes them.
    static constexpr std::size_t kMaxFds = 1024;
    enum class OpenFiles : bool { Refuse, Take };

    explicit ChannelSource(io::Channel& channel, OpenFiles files = OpenFiles::Refuse)
        : channel_(channel),
          takes_fds_(files == OpenFiles::Take && channel.has(io::Feature::FdPassing))
    {}
    Result<std::size_t> read_some(std::span<std::byte> into) override
    {
        if (!takes_fds_)
            return channel_.read_some(into);
        io::Received got = GW_TRY(channel_.read_with_fds(into));
        if (fds_.size() + got.fds.size() > kMaxFds)
            return Error(Errc::BadFormat, "more open files than bytes that announce them");
        for (UniqueFd& fd : got.fds)
            fds_.push_back(std::move(fd));
        return got.bytes;
    }
    UniqueFd take_fd() override
    {
        if (fds_.empty())
            return {};
        UniqueFd first = std::move(fds_.front());
        fds_.pop_front();
        return first;
    }

private:
    io::Channel& channel_;
    bool takes_fds_;
    std::deque<UniqueFd> fds_;
};

}  // namespace godwit::migration::stream
