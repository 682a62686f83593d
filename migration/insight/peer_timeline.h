// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a Godwit destination tells its source about its side: its clock, and what it did. Field
// tables: docs/migration/timeline.md.
#pragma once

#include "migration/insight/timeline.h"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace godwit::migration {

inline constexpr std::size_t kMaxPeerEvents = 512;

/// The destination: the timeline as payloads of return-path messages, at most kMaxPeerEvents
/// events.
std::vector<std::vector<std::byte>> encode_timeline(const Timeline& timeline);
/// The answer to a clock PING: its value and our clock.
std::vector<std::byte> encode_clock(std::uint32_t ping, std::int64_t now_ns);

/// The source: puts the clock's answers and the events together.
///
/// Threads  any.
/// Errors   none: what makes no sense is dropped and counted, since the guest may run there
/// already.
///          Nothing grows beyond kMaxPeerEvents, and no name beyond kMaxTimelineName.
class PeerTimeline {
public:
    explicit PeerTimeline(const Clock& clock) : clock_(clock), begun_ns_(clock.now_ns()) {}

    /// A clock PING goes out now; its value. Nothing after the last that is ever sent.
    std::optional<std::uint32_t> ask_clock();
    /// Its answer came.
    void clock_told(std::span<const std::byte> payload);
    void events_told(std::span<const std::byte> payload);
    /// Nothing as long as the peer's clock is unknown.
    std::optional<TimelinePeer> result() const;
    /// The shortest that was seen; nothing before the first answer.
    std::optional<std::int64_t> round_trip_ns() const;

private:
    bool plausible(const TimelineEvent& event) const;

    const Clock& clock_;
    const std::int64_t begun_ns_;
    mutable std::mutex mutex_;               // guards what follows
    std::vector<std::int64_t> asked_ns_;     // by number of the PING
    std::optional<std::int64_t> offset_ns_;  // by the shortest round trip
    std::int64_t round_trip_ns_ = 0;
    std::vector<TimelineEvent> events_;
    std::uint64_t dropped_ = 0;
};

}  // namespace godwit::migration
