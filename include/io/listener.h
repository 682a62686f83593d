// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Waiting for others to connect.
#pragma once

#include "io/address.h"
#include "io/cancel.h"
#include "io/socket.h"
#include "util/unique_fd.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godwit::io {

struct ListenOptions {
    int backlog = 1;
    FdLookup fd_lookup{};
};

/// Sockets that wait for connections: one for each address that a host name stands for.
///
/// Threads  accept() from one thread at a time; the rest by the owner.
/// Errors   create(): "Failed to bind socket: REASON", "Failed to find an available port: ...",
///          "address resolution failed for ...".
class Listener {
public:
    /// Binds and listens. Port "0" (or empty) takes any free port, `to` the first free one of a
    /// range. A Unix path that nobody listens on any more is replaced; the path is removed again
    /// when the listener goes.
    static Result<std::unique_ptr<Listener>> create(const SocketAddress& address,
                                                    const ListenOptions& options = {});
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    /// The next connection.
    /// Errors   Cancelled, TimedOut.
    Result<std::unique_ptr<SocketChannel>> accept(const Patience& patience = {});
    /// The next connection if one waits, from the socket `poll_fds()[i]` or any.
    Result<std::unique_ptr<SocketChannel>> try_accept();  // null: none waits

    /// What we really listen on: numbers, and the port that was taken.
    const std::vector<SocketAddress>& addresses() const noexcept { return addresses_; }
    /// Poll them for POLLIN; borrowed.
    std::vector<int> poll_fds() const;
    std::string describe() const;

private:
    Listener() = default;
    Result<void> listen_inet(const InetAddress& address, int backlog);
    Result<void> listen_unix(const UnixAddress& address, int backlog);
    Result<void> listen_vsock(const VsockAddress& address, int backlog);
    Result<void> adopt_fd(const FdAddress& address, const ListenOptions& options);
    std::vector<UniqueFd> sockets_;
    std::vector<SocketAddress> addresses_;
    std::string unlink_path_;
    std::optional<bool> keep_alive_;
};

}  // namespace godwit::io
