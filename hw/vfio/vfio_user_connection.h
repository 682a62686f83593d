// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A client's connection to a vfio-user server: requests with deadlines, and the server's own
// accesses to guest memory.
#pragma once

#include "hw/vfio/vfio_user_wire.h"
#include "util/log.h"
#include "util/thread.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>

namespace godwit::hw::vfio::user {

/// Guest memory as the server may ask for it by message.
///
/// Threads  the connection's, without any lock held.
/// Errors   any; the server gets os_errno() or EFAULT.
class DmaTarget {
public:
    virtual ~DmaTarget() = default;
    virtual Result<void> dma_read(std::uint64_t address, std::span<std::byte> into) = 0;
    virtual Result<void> dma_write(std::uint64_t address, std::span<const std::byte> from) = 0;
};

/// Data in one message that this client takes.
inline constexpr std::uint32_t kOwnMaxTransfer = 1U << 20;

/// What both sides agreed on.
struct Agreement {
    std::uint16_t minor = 0;
    std::uint32_t max_msg_fds = 1;  ///< that the server takes in one message
    std::uint32_t max_data_xfer_size = kOwnMaxTransfer;
    std::uint64_t max_dma_maps = 65535;
    std::uint64_t page_sizes = 4096;
};

/// One request. What it points at stays until call() returns.
struct Request {
    Command command{};
    std::string_view what;  ///< for messages: "DEVICE_FEATURE SET MIG_DEVICE_STATE"
    std::span<const iovec> pieces;
    std::span<const int> fds{};
    /// The answer's fixed part, which has to come whole; then up to into_rest.size() bytes, then up
    /// to `extra_limit` bytes that are dropped.
    std::span<std::byte> into_fixed{};
    std::span<std::byte> into_rest{};
    /// Waits this long for the answer instead of the connection's time.
    std::optional<std::chrono::milliseconds> patience{};
    /// Tries also when the server does not answer an earlier request.
    bool even_if_stalled = false;
};

struct Reply {
    std::size_t rest = 0;  ///< bytes in into_rest
    std::vector<UniqueFd> fds;
};

/// Shape    call() sends a request and waits for its answer, start() and finish() do so in two
///          steps; many may be under way. A thread of the connection reads what comes and serves
///          the server's requests.
/// Order    connect() negotiates; set_dma_target() before the first mapping.
/// Threads  call() and the getters from any.
/// Errors   from_errno for what the server refuses, its errno in os_errno(); TimedOut when it does
///          not answer, and from then on at once until it says something again; Closed or
///          BadFormat once the connection is broken, which stays so. Messages begin with
///          Request::what and end with the socket's path.
class Connection {
    struct Pending;

public:
    struct Options {
        std::chrono::milliseconds patience{5000};
        Log log{};
        /// Once, from the connection's thread, when it broke without our doing.
        std::function<void(const Error&)> on_broken{};
    };
    static Result<std::unique_ptr<Connection>> connect(const std::string& path, Options options);
    /// Over a socket that is connected already; `path` is its name in messages.
    static Result<std::unique_ptr<Connection>> adopt(std::unique_ptr<io::SocketChannel> channel,
                                                     std::string path, Options options);
    ~Connection();

    const std::string& path() const noexcept { return path_; }
    const Agreement& agreement() const noexcept { return agreement_; }
    void set_dma_target(DmaTarget* target) noexcept;

    Result<Reply> call(const Request& request);

    /// A request whose answer was not waited for yet: once only, by finish(). Whoever lets go of
    /// it instead drops the answer. Does not outlive the connection.
    class Started {
    public:
        Started(Connection& connection, std::unique_ptr<Pending> pending) noexcept;
        Started(Started&&) noexcept;
        Started& operator=(Started&&) = delete;
        ~Started();

    private:
        friend class Connection;
        Connection* connection_;
        std::unique_ptr<Pending> pending_;
    };
    /// Sends. The pieces may go afterwards, the places for the answer stay until it was waited for.
    Result<Started> start(const Request& request);
    /// The time to wait begins now.
    Result<Reply> finish(Started started);
    /// Why nothing goes any more, if so.
    std::optional<Error> broken() const;

private:
    Connection(std::string path, Options options, io::Cancel cancel);

    Result<void> negotiate();
    Result<void> take_version(std::span<const std::byte> text, std::vector<UniqueFd>& fds);
    Result<void> enter(Pending& pending);
    Result<Reply> finish(Started started, std::chrono::milliseconds patience,
                         io::Clock::time_point deadline);
    Result<Reply> await(Pending& pending, std::chrono::milliseconds patience,
                        io::Clock::time_point deadline);
    void let_go(Pending& pending) noexcept;
    std::chrono::milliseconds patience_for(const Request& request) const;
    std::chrono::milliseconds mid_message() const;
    Error worded(Error error, std::string_view what) const;

    void read_loop(Wire& wire);
    Result<void> take(Wire& wire, Wire::Head head);
    Result<void> take_reply(Wire& wire, Wire::Head head);
    Result<void> fill(Wire& wire, const Wire::Head& head, Pending& pending);
    Result<void> serve(Wire& wire, const Wire::Head& head);
    Result<void> serve_dma(Wire& wire, const Header& header);
    Result<void> refuse(Wire& wire, const Header& header, int os_errno);
    void give_up(const Error& error);

    std::string path_;
    Options options_;
    io::Cancel cancel_;
    Agreement agreement_;
    std::unique_ptr<Wire> wire_;
    std::unique_ptr<Wire> twin_;  // the server's own requests come here, if it has it

    mutable std::mutex mutex_;
    std::unordered_map<std::uint16_t, Pending*> pending_;  // mutex_
    std::set<std::uint16_t> abandoned_;                    // mutex_: answers nobody waits for
    std::uint16_t next_id_ = 0;                            // mutex_
    std::optional<Error> broken_;                          // mutex_
    std::string stalled_on_;       // mutex_: the request that was not answered in time
    DmaTarget* target_ = nullptr;  // target_mutex_
    std::mutex target_mutex_;

    NamedThread reader_;  // last: join before what they use is gone
    NamedThread twin_reader_;
};

}  // namespace godwit::hw::vfio::user
