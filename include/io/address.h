// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where a byte stream comes from or goes to, as QEMU writes it down.
#pragma once

#include "util/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace godwit::io {

/// `tcp:HOST:PORT[,to=N][,ipv4=on|off][,ipv6=on|off][,numeric=on][,keep-alive=on][,mptcp=on]`.
struct InetAddress {
    std::string host;  ///< name or literal, without brackets; empty: any, or localhost
    std::string port;  ///< number or service name; "0" or empty: any, to listen
    std::optional<std::uint16_t> to{};  ///< listen on the first free port up to this one
    std::optional<bool> ipv4{};
    std::optional<bool> ipv6{};
    bool numeric = false;  ///< host and port are numbers: no name service
    std::optional<bool> keep_alive{};
    std::optional<bool> mptcp{};
    bool operator==(const InetAddress&) const = default;
};

/// `unix:PATH[,abstract=on][,tight=off]`.
struct UnixAddress {
    std::string path;
    bool abstract = false;
    bool tight = true;  ///< an abstract name is as long as `path`, not as long as sun_path
    bool operator==(const UnixAddress&) const = default;
};

/// `vsock:CID:PORT`.
struct VsockAddress {
    std::string cid;
    std::string port;
    bool operator==(const VsockAddress&) const = default;
};

/// `fd:NAME`: a descriptor that was handed to us, by name or by number.
struct FdAddress {
    std::string name;
    bool operator==(const FdAddress&) const = default;
};

/// `file:PATH[,offset=SIZE]`.
struct FileAddress {
    std::string path;
    std::uint64_t offset = 0;
    bool operator==(const FileAddress&) const = default;
};

/// `exec:COMMAND`: what argv is.
struct ExecAddress {
    std::vector<std::string> args;
    bool operator==(const ExecAddress&) const = default;
};

using SocketAddress = std::variant<InetAddress, UnixAddress, VsockAddress, FdAddress>;
using Address =
    std::variant<InetAddress, UnixAddress, VsockAddress, FdAddress, FileAddress, ExecAddress>;

/// "HOST:PORT[,options]", "[V6]:PORT[,options]", ":PORT".
Result<InetAddress> parse_inet(std::string_view text);
/// "PATH[,options]"; ",," in the path is a comma.
Result<UnixAddress> parse_unix(std::string_view text);
/// "CID:PORT".
Result<VsockAddress> parse_vsock(std::string_view text);
/// "PATH[,offset=SIZE]".
/// Errors   "file URI has bad offset X: Invalid argument".
Result<FileAddress> parse_file(std::string_view text);

/// `unix:`, `tcp:`, `vsock:` and `fd:`; anything without such a prefix is HOST:PORT.
Result<SocketAddress> parse_socket_address(std::string_view text);

/// A migration URI: `tcp:`, `unix:`, `vsock:`, `fd:`, `file:` and `exec:` (`sh -c COMMAND`).
/// Errors   "unknown migration protocol: URI" for any other scheme, or what is wrong with the rest.
Result<Address> parse_uri(std::string_view uri);

/// A socket in the short form of `-serial`, `-qmp` and `-monitor`.
struct Endpoint {
    SocketAddress address;
    bool server = false;
    bool wait = true;  ///< a server waits for its first client
    bool telnet = false;
    bool nodelay = true;
    std::optional<std::uint64_t> reconnect_ms{};
};

/// "tcp:HOST:PORT[,server=on][,wait=off][,...]" and the same with "unix:PATH".
/// The old bare words `server`, `nowait`, `nodelay` are understood.
Result<Endpoint> parse_endpoint(std::string_view text);

/// As a URI again, with only the options that are not at their defaults: "tcp:[::1]:4444".
std::string to_string(const Address& address);
std::string to_string(const SocketAddress& address);
Address to_address(SocketAddress address);
/// Nothing for files and commands.
std::optional<SocketAddress> to_socket_address(const Address& address);

}  // namespace godwit::io
