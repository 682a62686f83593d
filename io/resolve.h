// SPDX-License-Identifier: LGPL-2.1-or-later
//
// From what people write to what the socket calls take, and back.
#pragma once

#include "io/address.h"
#include "util/result.h"
#include "util/unique_fd.h"

#include <string>
#include <sys/socket.h>
#include <vector>

namespace godwit::io {

struct Resolved {
    int family = AF_UNSPEC;
    int protocol = 0;
    sockaddr_storage address{};
    socklen_t length = 0;

    const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&address); }
};

/// All that the name stands for, in the resolver's order; at least one. `to_listen` makes an empty
/// host any address rather than the loopback ones.
Result<std::vector<Resolved>> resolve(const InetAddress& address, bool to_listen);
Result<Resolved> resolve(const UnixAddress& address);
Result<Resolved> resolve(const VsockAddress& address);

/// The local or peer end of a socket, in numbers.
Result<SocketAddress> local_address_of(int fd);
Result<SocketAddress> peer_address_of(int fd);

/// "127.0.0.1:4444", "/tmp/x", "2:1234": what QEMU puts between quotes.
std::string bare_text(const SocketAddress& address);
/// "tcp 127.0.0.1:4444", "unix /tmp/x", "vsock 2:1234", "fd 5".
std::string describe_address(const SocketAddress& address);

/// A stream socket that never blocks and closes on exec.
Result<UniqueFd> make_socket(const Resolved& where, bool mptcp = false);

Result<void> set_socket_option(int fd, int level, int name, int value, const char* what);
int get_socket_option(int fd, int level, int name) noexcept;  // -1: cannot

}  // namespace godwit::io
