// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The device's migration: its state, the walk to another one, and the data transfer.
#pragma once

#include "tests/devices/vfio-user-server/device.h"
#include "tests/devices/vfio-user-server/faults.h"
#include "tests/devices/vfio-user-server/states.h"
#include "tests/devices/vfio-user-server/transfer.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace godwit::vfio_user_server {

struct MigrationOptions {
    std::uint64_t flags = kMigStopCopy | kMigP2p | kMigPreCopy;  ///< 0: cannot migrate
    std::int64_t stop_delay_ns = 0;  ///< what a full stop takes; the device runs meanwhile
    std::int64_t p2p_delay_ns = 0;   ///< what leaving its peers alone takes
    bool check_pages = true;
};

/// How a walk went, as far as it went.
struct WalkResult {
    enum class Kind : std::uint8_t { Done, Later, Failed, Hang, Disconnect };
    Kind kind = Kind::Done;
    int error = 0;
    bool bad_length = false;  ///< the answer is to have a wrong length
};

/// One step that was taken.
struct Step {
    std::int64_t time_ns = 0;  ///< CLOCK_MONOTONIC
    State from = State::Running;
    State to = State::Running;
};

/// Threads  one.
/// Errors   their os_errno() is what the client is told.
class Migration {
public:
    static constexpr std::size_t kMaxHistory = 4096;

    Migration(Device& device, Faults& faults, MigrationOptions options)
        : device_(device), faults_(faults), options_(options)
    {}

    State state() const noexcept { return state_; }
    std::uint64_t flags() const noexcept { return options_.flags; }
    MigrationOptions& options() noexcept { return options_; }

    /// Begins a walk, and goes on with one that answered Later, at wake_ns().
    WalkResult begin(State target, std::int64_t now_ns);
    WalkResult resume(std::int64_t now_ns);
    std::int64_t wake_ns() const noexcept { return wake_ns_; }
    void abandon_walk() noexcept { target_.reset(); }

    /// The device resets: RUNNING, no transfer.
    void reset(std::int64_t now_ns);

    /// Lets the device work up to `now_ns` if its state lets it run.
    void advance(std::int64_t now_ns);

    /// Up to `max` bytes as pieces, valid until the next call. EINVAL outside the saving group.
    Result<std::size_t> read(std::size_t max, std::vector<std::span<const std::byte>>& pieces);
    Result<void> write(std::span<const std::byte> bytes);
    /// The same without a copy, as Loader has it.
    Result<std::span<std::byte>> room();
    Result<void> took(std::size_t count);
    bool loading() const noexcept { return loader_ != nullptr; }
    void cut_data() noexcept { cut_ = true; }  ///< ShortRead
    std::uint64_t stop_copy_size() const;
    Result<PrecopyInfo> precopy_info() const;

    const std::deque<Step>& history() const noexcept { return history_; }
    std::uint64_t bytes_read() const noexcept { return bytes_read_; }
    std::uint64_t bytes_written() const noexcept { return bytes_written_; }
    std::uint64_t loads() const noexcept { return loads_; }
    const std::string& load_error() const noexcept { return load_error_; }
    /// What stood in the ring when the device first ran after a load.
    const std::optional<RingReport>& arrival() const noexcept { return arrival_; }
    std::uint64_t arrived_at() const noexcept { return arrived_at_; }

private:
    WalkResult walk(std::int64_t now_ns);
    WalkResult fail(const Fault& fault);
    /// An errno, or 0.
    int step(State to, std::int64_t now_ns);
    int end_load();
    Error bad_data(const Error& why);

    Device& device_;
    Faults& faults_;
    MigrationOptions options_;
    State state_ = State::Running;
    std::optional<State> target_;
    std::optional<State> waited_for_;  // the step whose delay is over or running
    bool bad_length_ = false;
    std::int64_t wake_ns_ = 0;
    std::unique_ptr<Saver> saver_;
    std::unique_ptr<Loader> loader_;
    bool cut_ = false;
    bool fresh_ = false;  // loaded, has not run yet
    std::deque<Step> history_;
    std::uint64_t bytes_read_ = 0, bytes_written_ = 0, loads_ = 0, arrived_at_ = 0;
    std::string load_error_;
    std::optional<RingReport> arrival_;
};

}  // namespace godwit::vfio_user_server
