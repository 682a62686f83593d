// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Keeps events that a guest can cause at will from flooding the monitors.
#pragma once

#include "util/json.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace godwit::monitor {

/// An event on its way to the clients.
struct QueuedEvent {
    std::string name;
    Json data;
    std::int64_t unix_us = 0;  ///< when it happened
};

/// At most one event a second of each limited kind; of those in between, the last one.
///
/// Some kinds are told apart by one member of their data (a port's id), and each has its own
/// second. A state machine without a clock: the caller says what time it is.
///
/// Units    milliseconds of any monotonic clock.
/// Threads  none of its own; the owner locks.
/// Source   QEMU 10.0: BALLOON_CHANGE, BLOCK_IO_ERROR, HV_BALLOON_STATUS_REPORT,
///          MEMORY_DEVICE_SIZE_CHANGE, QUORUM_FAILURE, QUORUM_REPORT_BAD, RTC_CHANGE,
///          VSERPORT_CHANGE, WATCHDOG.
class EventLimiter {
public:
    static constexpr std::int64_t kPeriodMs = 1000;

    /// The event if it may go now; nothing if it waits, in the place of one that waited before.
    std::optional<QueuedEvent> offer(QueuedEvent event, std::int64_t now_ms);
    /// What waited long enough, oldest first.
    std::vector<QueuedEvent> due(std::int64_t now_ms);
    /// When due() should be called again; nothing while no kind is in its second.
    std::optional<std::int64_t> next_ms() const;

private:
    struct Slot {
        std::int64_t until_ms = 0;
        std::optional<QueuedEvent> waiting;
    };
    std::map<std::pair<std::string, std::string>, Slot> slots_;  // name, telling member's value
};

}  // namespace godwit::monitor
