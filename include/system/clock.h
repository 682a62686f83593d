// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The clocks of a machine and the timers that wait on them.
#pragma once

#include "util/result.h"

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>

namespace godwit::system {

class MainLoop;

enum class ClockType {
    Realtime,  ///< host monotonic time; runs always
    Virtual,   ///< guest time; stands while the guest is stopped; client-driven under qtest
    Host,      ///< host wall clock, ns since the Unix epoch
};

inline constexpr std::int64_t kNeverNs = std::numeric_limits<std::int64_t>::max();

class Timer;

/// All clocks of one Vm.
///
/// Units    nanoseconds, signed 64 bit.
/// Threads  now_ns() from any thread; everything else with the machine lock.
/// Source   the `timer` section carries virtual_offset (facts: cpu_clock_offset).
class Clocks {
public:
    explicit Clocks(MainLoop& loop);
    ~Clocks();

    std::int64_t now_ns(ClockType type) const noexcept;

    /// The run state starts and stops guest time. Idempotent.
    void start_virtual();
    void stop_virtual();
    /// Guest time while stopped; a destination sets it before its guest starts.
    std::int64_t virtual_ns() const noexcept;
    void set_virtual_ns(std::int64_t now);

    /// From now on guest time moves only by step() and set(): the qtest accelerator.
    void make_client_driven();
    bool client_driven() const noexcept;
    /// Moves guest time by `ns`, or to the next virtual timer; runs what expires on the way, in
    /// order.
    std::int64_t step(std::optional<std::int64_t> ns);
    std::int64_t set(std::int64_t now);

    /// Expiry of the earliest timer of that clock, kNeverNs if none is armed.
    std::int64_t next_deadline_ns(ClockType type) const;

private:
    friend class Timer;
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// A one-shot timer. The callback runs in the main loop with the machine lock and may arm it again.
///
/// Threads  with the machine lock. Destroying it disarms it.
class Timer {
public:
    Timer(Clocks& clocks, ClockType type, std::move_only_function<void()> expired);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void arm_at_ns(std::int64_t expiry);
    void arm_in_ns(std::int64_t delay);
    void disarm() noexcept;
    bool armed() const noexcept;
    /// -1 when not armed: the value a `timer` field carries in the stream.
    std::int64_t expiry_ns() const noexcept;

private:
    friend class Clocks;
    struct Impl;
    std::shared_ptr<Impl> impl_;  // shared with a callback that is running
};

}  // namespace godwit::system
