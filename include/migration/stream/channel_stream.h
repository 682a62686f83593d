// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A channel as the sink or the source of a stream.
#pragma once

#include "io/channel.h"
#include "migration/stream/reader.h"
#include "migration/stream/writer.h"

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
    /// A write failed: the peer broke off, or is gone.
    bool failed() const noexcept { return failed_; }

private:
    io::Channel& channel_;
    bool failed_ = false;
};

/// Borrows the channel; waits as its patience() says.
class ChannelSource final : public ByteSource {
public:
    explicit ChannelSource(io::Channel& channel) : channel_(channel) {}
    Result<std::size_t> read_some(std::span<std::byte> into) override
    {
        return channel_.read_some(into);
    }

private:
    io::Channel& channel_;
};

}  // namespace godwit::migration::stream
