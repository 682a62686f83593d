// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the kernel knows about a TCP connection.
#pragma once

#include <cstdint>
#include <optional>

namespace godwit::io {

/// Bytes that the way to the peer holds while nothing waits in a queue on it: the last delivery
/// rate times the shortest round trip. Nothing if `fd` is no TCP socket.
/// Source   tcp_info (Linux, include/uapi/linux/tcp.h).
std::optional<std::uint64_t> tcp_pipe_bytes(int fd) noexcept;

}  // namespace godwit::io
