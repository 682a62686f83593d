// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Takes a device from one migration state to another, step by step, and knows where it is.
#pragma once

#include "hw/vfio/migration_dialect.h"
#include "util/result.h"

#include <atomic>
#include <memory>
#include <mutex>

namespace godwit::hw::vfio {

/// Shape    walk() makes the steps that the dialect's table says; after a failed step it asks the
///          device where it is. Only a reset leads out of ERROR.
/// Threads  state() from any. The rest one at a time, which lock() is for: reading data and
///          changing the state exclude each other.
/// Errors   "device state RUNNING_P2P -> STOP (on the way to STOP_COPY): ..."
class StateWalker {
public:
    StateWalker(std::unique_ptr<MigrationDialect> dialect, MigrationState now)
        : dialect_(std::move(dialect)), state_(now)
    {}
    /// Asks `device` what it speaks and where it is.
    static Result<std::unique_ptr<StateWalker>> create(DeviceBackend& device);

    [[nodiscard]] std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }

    MigrationState state() const noexcept { return state_; }
    StateSet states() const noexcept { return dialect_->states(); }
    MigrationDialect& dialect() noexcept { return *dialect_; }

    /// BadState where no way leads there.
    Result<void> walk(MigrationState to);
    /// Whether one step leads from here to `to`.
    bool is_next_to(MigrationState to) const noexcept { return dialect_->next(state_, to) == to; }
    /// Asks the device where it is: after a request that was never answered nobody else knows.
    Result<void> resync();
    /// The device was reset: it runs, and what was open is closed.
    void was_reset() noexcept;

private:
    std::unique_ptr<MigrationDialect> dialect_;
    std::atomic<MigrationState> state_;
    std::mutex mutex_;
};

}  // namespace godwit::hw::vfio
