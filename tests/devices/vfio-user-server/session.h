// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What one client asks, answered: every command of the protocol.
#pragma once

#include "tests/devices/vfio-user-server/connection.h"
#include "tests/devices/vfio-user-server/device.h"
#include "tests/devices/vfio-user-server/faults.h"
#include "tests/devices/vfio-user-server/migration.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace godwit::vfio_user_server {

/// What a lying length adds.
inline constexpr std::int32_t kLie = 4096;

struct ProtocolOptions {
    std::uint64_t max_transfer = 1 << 20;  ///< bytes of data in one message
    bool device_logging = true;
    bool strict = false;       ///< refuse in STOP and STOP_COPY what libvfio-user refuses there
    bool data_size = true;     ///< feature 9
    bool precopy_info = true;  ///< the extension
};

/// Figures of all sessions of one server.
struct ProtocolCounters {
    std::uint64_t connections = 0;
    std::uint64_t messages = 0;
    std::uint64_t refused = 0;  ///< error replies
    std::uint64_t resets = 0;
};

/// Threads  one.
/// Errors   of handle(): the connection is over.
class Session {
public:
    Session(UniqueFd fd, Device& device, Migration& migration, Faults& faults,
            const ProtocolOptions& options, ProtocolCounters& counters);
    ~Session();

    int fd() const noexcept { return connection_.fd(); }
    /// False while a walk waits or a fault keeps the session from answering.
    bool listens() const noexcept { return !walking_ && !hung_; }
    bool walking() const noexcept { return walking_.has_value(); }
    bool hung() const noexcept { return hung_; }
    /// Answers what a hang kept back with EIO, and listens again.
    Result<void> unhang();

    /// One message, which has arrived at least in part.
    Result<void> handle();
    /// The walk's time has come.
    Result<void> continue_walk();

private:
    /// Everything behind a reply's header.
    struct Reply {
        std::vector<std::byte> bytes;
        std::vector<std::span<const std::byte>> data;  ///< behind `bytes`
        std::vector<int> fds;
        bool later = false;  ///< the answer comes from somewhere else
    };

    Result<void> send(const Header& to, const Reply& reply);
    Result<void> refuse(const Header& to, int error);
    Result<void> answer_walk(const Header& to, const WalkResult& result);
    /// A fault that was to happen at this command: whether the command is over with that.
    Result<bool> fault_at(const Message& message);
    bool allowed_now(std::uint16_t command) const noexcept;
    bool fills_device(const Header& header) const noexcept;
    Result<void> fill_device(const Header& header);

    // Errors: their os_errno() is the client's answer.
    Result<Reply> dispatch(Message& message);
    Result<Reply> version(const Message& message);
    Result<Reply> dma_map(const Message& message);
    Result<Reply> dma_unmap(const Message& message);
    Result<Reply> device_info(const Message& message);
    Result<Reply> region_info(const Message& message);
    Result<Reply> region_io_fds(const Message& message);
    Result<Reply> irq_info(const Message& message);
    Result<Reply> set_irqs(Message& message);
    Result<Reply> region_read(const Message& message);
    Result<Reply> region_write(const Message& message);
    Result<Reply> region_write_multi(const Message& message);
    Result<Reply> device_reset();
    Result<Reply> feature(const Message& message);
    Result<Reply> feature_get(const Message& message, std::uint32_t index);
    Result<Reply> feature_set(const Message& message, std::uint32_t index);
    bool feature_known(std::uint32_t index, std::uint32_t verbs) const noexcept;
    Result<Reply> log_start(const Message& message);
    Result<Reply> log_report(const Message& message);
    Result<Reply> set_state(const Message& message);
    Result<Reply> data_read(const Message& message);
    Result<Reply> data_write(const Message& message);

    Connection connection_;
    Device& device_;
    Migration& migration_;
    Faults& faults_;
    const ProtocolOptions& options_;
    ProtocolCounters& counters_;
    bool negotiated_ = false;
    std::optional<Header> walking_;
    bool hung_ = false;
    bool closing_ = false;
    std::optional<Header> unanswered_;
    std::int32_t lie_ = 0;  // added to the next reply's length
    std::vector<std::byte> copy_;
    bool corrupt_ = false;  // the next data
    bool lie_in_data_ = false;
};

/// CLOCK_MONOTONIC.
std::int64_t now_ns() noexcept;

}  // namespace godwit::vfio_user_server
