// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The status of a migration: QEMU's names, one table of legal moves a side, one writer.
#pragma once

#include "util/registration.h"
#include "util/result.h"

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>

namespace godwit::migration {

/// In QEMU's order; to_string() gives "pre-switchover".
enum class Status : std::uint8_t {
    None,
    Setup,
    Cancelling,
    Cancelled,
    Active,
    PostcopyActive,
    PostcopyPaused,
    PostcopyRecoverSetup,
    PostcopyRecover,
    Completed,
    Failed,
    Colo,
    PreSwitchover,
    Device,
    WaitUnplug,
};
inline constexpr std::size_t kStatusCount = 15;
std::string_view to_string(Status status) noexcept;

/// What moves a status.
enum class Event : std::uint8_t {
    Start,       ///< the command was accepted (either side)
    SetupDone,   ///< source: setup sections written. Destination: all channels there
    Pause,       ///< source: guest stopped, wait for migrate-continue
    Switchover,  ///< source: guest stopped, the final pass begins
    Finish,      ///< everything sent, loaded and acknowledged
    Fail,
    Cancel,           ///< migrate_cancel
    Drained,          ///< source: cleaned up after a cancel
    PostcopyBegin,    ///< source: package sent. Destination: LISTEN
    PostcopyPause,    ///< channel lost, migrate-pause
    PostcopyRetry,    ///< source: migrate with resume. Destination: not used
    PostcopyConnect,  ///< a new main channel
    PostcopyGoOn,     ///< the two bitmaps are reconciled
};
inline constexpr std::size_t kEventCount = 13;
std::string_view to_string(Event event) noexcept;

enum class Side : std::uint8_t { Source, Destination };

struct Transition {
    Status from;
    Event on;
    Status to;
};
std::span<const Transition> transitions(Side side) noexcept;
std::optional<Status> next_status(Side side, Status from, Event on) noexcept;

/// An attempt is under way: a new one, and changes of capabilities, are refused.
bool is_running(Status status) noexcept;

/// The status of one side of one machine.
///
/// Threads  apply() from any thread, one at a time; observers run in its thread, under no lock but
///          the one that keeps the moves in order; status() from any thread. A Registration may go
///          from any thread, but not from inside an observer: it waits until none runs.
/// Errors   Errc::BadState for a move that is not in the table; nothing changes then.
class StatusTracker {
public:
    using Observer = std::function<void(Status from, Status to)>;

    explicit StatusTracker(Side side) : side_(side) {}

    Status status() const;
    Result<void> apply(Event event);
    [[nodiscard]] Registration observe(Observer observer);

private:
    // Shared with the Registrations.
    struct Observers {
        std::mutex order;  // held from the move until all have heard of it
        std::list<Observer> list;
    };

    Side side_;
    mutable std::mutex mutex_;
    Status status_ = Status::None;  // mutex_
    std::shared_ptr<Observers> observers_ = std::make_shared<Observers>();
};

}  // namespace godwit::migration
