// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One client: whole messages with their descriptors, in and out.
#pragma once

#include "tests/devices/vfio-user-server/protocol.h"
#include "util/result.h"
#include "util/unique_fd.h"

#include <cstddef>
#include <span>
#include <vector>

namespace godwit::vfio_user_server {

inline constexpr std::size_t kMaxFds = 64;

struct Message {
    Header header;
    std::vector<std::byte> body;
    std::vector<UniqueFd> fds;
};

/// Blocks in the middle of a message, never longer than kPatience for each of its parts.
///
/// Errors   Closed at the end; BadFormat, Truncated, TimedOut, Io: the connection is of no use.
class Connection {
public:
    /// `max_body`: longer messages are refused.
    Connection(UniqueFd fd, std::size_t max_body);

    int fd() const noexcept { return fd_.get(); }
    Result<Message> receive();
    /// The same in parts, for a body that belongs somewhere: its header and descriptors, then all
    /// of its body, or its bytes one place after another.
    Result<Message> receive_head();
    Result<void> receive_body(Message& message);
    Result<void> receive_bytes(std::span<std::byte> into) { return read_all(into, nullptr); }
    /// `header.size` is set here unless `lie` is not 0, which is then added.
    Result<void> send(Header header, std::span<const std::span<const std::byte>> parts,
                      std::span<const int> fds = {}, std::int32_t lie = 0);

private:
    Result<void> read_all(std::span<std::byte> into, std::vector<UniqueFd>* fds);

    UniqueFd fd_;
    std::size_t max_body_;
};

}  // namespace godwit::vfio_user_server
