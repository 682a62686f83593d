// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One socket of a vfio-user connection: whole messages in and out.
#pragma once

#include "hw/vfio/vfio_user_protocol.h"
#include "io/cancel.h"
#include "io/socket.h"
#include "util/result.h"
#include "util/unique_fd.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <sys/uio.h>
#include <vector>

namespace godwit::hw::vfio::user {

/// Sends messages and takes them apart.
///
/// Threads  send() from any; the receiving functions from one.
/// Errors   Closed when the peer went, Truncated in the middle of a message, TimedOut, Cancelled,
///          BadFormat. A send that stops in the middle, and any error of receiving, leave the
///          socket useless: broken() then holds for sends.
class Wire {
public:
    /// `mid_message`: how long a message that began may stop in the middle.
    Wire(std::unique_ptr<io::SocketChannel> channel, io::Cancel cancel,
         std::chrono::milliseconds mid_message)
        : channel_(std::move(channel)), cancel_(std::move(cancel)), mid_message_(mid_message)
    {}

    /// A message of `header` (whose size is set here) and `pieces`, with `fds` along its first
    /// byte; in one system call if the socket takes it.
    Result<void> send(Header header, std::span<const iovec> pieces, std::span<const int> fds,
                      io::Deadline deadline);

    struct Head {
        Header header;
        std::vector<UniqueFd> fds;
    };
    /// The next message's header and descriptors; waits without a limit for its first byte.
    Result<Head> receive_head();
    /// Bytes of the message's payload.
    Result<void> receive(std::span<std::byte> into);
    /// Drops bytes of the payload.
    Result<void> drop(std::size_t count);

    /// Whoever waits in either direction wakes.
    void shut_down() noexcept { (void)channel_->shutdown(io::Shutdown::Both); }

private:
    Result<void> receive_within(std::span<std::byte> into, const io::Patience& patience);

    std::unique_ptr<io::SocketChannel> channel_;
    io::Cancel cancel_;
    std::chrono::milliseconds mid_message_;
    std::mutex send_mutex_;
    bool torn_ = false;  // send_mutex_: a message was sent in part only
};

}  // namespace godwit::hw::vfio::user
