// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Channels over stream sockets, and how to make them.
#pragma once

#include "io/address.h"
#include "io/channel.h"

#include <functional>
#include <memory>
#include <string_view>

namespace godwit::io {

/// Finds a descriptor that the operator handed over under a name, and gives it away.
using FdLookup = std::function<Result<UniqueFd>(std::string_view name)>;

struct ConnectOptions {
    Patience patience{};
    /// For `fd:`; without one, only numbers are understood.
    FdLookup fd_lookup{};
};

/// A connected stream socket: TCP, Unix, vsock, or one half of a socketpair().
///
/// Features Peek and Shutdown; FdPassing on Unix sockets. Writing to a peer that has gone is an
///          error, never SIGPIPE.
class SocketChannel : public Channel {
public:
    /// Takes over a connected stream socket.
    /// Errors   InvalidArgument: it is none.
    static Result<std::unique_ptr<SocketChannel>> adopt(UniqueFd fd);
    ~SocketChannel() override;

    PollTarget poll_target(Direction direction) const noexcept override;
    Result<void> shutdown(Shutdown how) override;
    Result<void> close() override;
    std::string describe() const override { return name_; }
    bool has(Feature feature) const noexcept override;
    int fd() const noexcept override { return fd_.get(); }

    bool peer_is_done() const noexcept override;
    std::uint64_t bytes_underway() const noexcept override;
    void acknowledge() noexcept override;

    /// TCP only: Nagle's delay off. Connections that connect() and Listener make have it off.
    Result<void> set_nodelay(bool on);
    /// The two ends, where they have an address.
    Result<SocketAddress> local_address() const;
    Result<SocketAddress> peer_address() const;

protected:
    Result<std::optional<std::size_t>> do_readv(std::span<const iovec> to) override;
    Result<std::optional<std::size_t>> do_writev(std::span<const iovec> from) override;
    Result<std::optional<std::size_t>> do_peek(std::span<std::byte> to) override;
    Result<std::optional<Received>> do_read_with_fds(std::span<std::byte> to) override;
    Result<std::optional<std::size_t>> do_write_with_fds(std::span<const std::byte> from,
                                                         std::span<const int> fds) override;
    bool set_queue_limit(std::uint32_t bytes) noexcept override;

private:
    friend class Listener;
    friend Result<std::unique_ptr<SocketChannel>> connect_socket(const SocketAddress&,
                                                                 const ConnectOptions&);
    SocketChannel(UniqueFd fd, int family, std::string name);
    UniqueFd fd_;
    int family_;
    std::string name_;
    std::atomic<bool> read_shut_{false};
    std::atomic<bool> write_shut_{false};
};

/// Connects to `address`, trying each address a name stands for in turn, until one takes us.
///
/// Names are looked up by the system's resolver, which knows no deadline.
/// Errors   "Failed to connect to 'ADDR': REASON"; "address resolution failed for HOST:PORT:
///          REASON"; Cancelled; TimedOut.
Result<std::unique_ptr<SocketChannel>> connect_socket(const SocketAddress& address,
                                                      const ConnectOptions& options = {});

/// Two connected Unix stream sockets.
Result<std::pair<std::unique_ptr<SocketChannel>, std::unique_ptr<SocketChannel>>> socket_pair();

/// A channel over any descriptor: socket, pipe, character device or plain file.
Result<ChannelPtr> adopt_fd(UniqueFd fd, std::string_view name);

/// The descriptor that `fd:NAME` means: by `lookup`, or by number if NAME is one and is open.
Result<UniqueFd> resolve_fd(const FdAddress& address, const FdLookup& lookup);

}  // namespace godwit::io
