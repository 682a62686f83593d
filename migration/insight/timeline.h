// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What happened in one attempt, in order and with times: the memory behind query-migrate-timeline.
#pragma once

#include "migration/environment.h"
#include "migration/statistics.h"
#include "migration/status.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace godwit::migration {

/// In the order of the schema's MigrationTimelineKind. The numbers travel between Godwits: add at
/// the end only.
enum class TimelineKind : std::uint8_t {
    Status,
    Connect,
    Setup,
    Pass,
    Sync,
    Stall,
    Throttle,
    Verdict,
    Switchover,
    DeviceSave,
    DeviceLoad,
    Channel,
    Guest,
    Error,
};
inline constexpr std::size_t kTimelineKinds = 14;

/// Units    ns of the Environment's clock; -1 for no length. Names are cut at kMaxTimelineName.
struct TimelineEvent {
    TimelineKind kind = TimelineKind::Status;
    std::string name;
    std::int64_t start_ns = 0;
    std::int64_t duration_ns = -1;
    std::optional<std::uint64_t> bytes{};
    std::optional<std::int64_t> number{};
};
inline constexpr std::size_t kMaxTimelineName = 200;

/// How things stood at one moment. Rates in bytes a second.
struct TimelineSample {
    std::int64_t time_ns = 0;
    std::uint64_t transferred = 0;
    std::uint64_t remaining = 0;
    std::uint64_t wire_rate = 0;
    std::uint64_t dirty_rate = 0;
    unsigned throttle = 0;
};

/// What the other side told, on its own clock.
struct TimelinePeer {
    std::vector<TimelineEvent> events;
    std::uint64_t dropped = 0;
    std::int64_t clock_offset_ns = 0;  ///< the peer's clock minus ours
    std::int64_t clock_error_ns = 0;   ///< by which that may be wrong
};

/// One attempt's events and samples.
///
/// Shape    at most kMaxEvents events: when they are full the oldest pass, sync, stall or throttle
///          step behind the first kKeptEvents makes room. At most kMaxSamples samples: when they
///          are full every second one goes, and from then on they are taken half as often.
/// Threads  any; a lock that is held for moments.
class Timeline {
public:
    static constexpr std::size_t kMaxEvents = 1024;
    static constexpr std::size_t kKeptEvents = 64;
    static constexpr std::size_t kMaxSamples = 512;

    /// `number` counts the attempts of this process. The attempt begins now. One that is not `kept`
    /// takes no events and no samples.
    Timeline(Side side, std::uint64_t number, const Clock& clock, bool kept = true);

    bool kept() const noexcept { return kept_; }
    Side side() const noexcept { return side_; }
    std::uint64_t number() const noexcept { return number_; }
    std::int64_t start_ns() const noexcept { return start_ns_; }
    /// Microseconds since the epoch.
    std::int64_t started_us() const noexcept { return started_us_; }
    std::int64_t now_ns() const { return clock_.now_ns(); }

    void add(TimelineEvent event);
    /// Something without length, now.
    void note(TimelineKind kind, std::string name, std::optional<std::int64_t> number = {});
    /// Something that began at `since` and ends now.
    void lasted(TimelineKind kind, std::string name, std::int64_t since,
                std::optional<std::uint64_t> bytes = {}, std::optional<std::int64_t> number = {});
    void sample(const TimelineSample& sample);
    void set_peer(TimelinePeer peer);
    /// The status changed; the times of an attempt that is over stand still.
    void status_changed(Status to);
    void set_error(std::string text);
    /// What belongs to the attempt beyond its events; kept alive for the reader.
    void set_statistics(std::shared_ptr<const Statistics> statistics);

    struct Snapshot {
        Status status = Status::None;
        std::int64_t total_ns = 0;
        std::optional<std::string> error;
        std::vector<TimelineEvent> events;
        std::uint64_t dropped = 0;
        std::vector<TimelineSample> samples;
        std::optional<TimelinePeer> peer;
        std::shared_ptr<const Statistics> statistics;
    };
    Snapshot snapshot() const;

private:
    void add_locked(TimelineEvent event);

    const Side side_;
    const std::uint64_t number_;
    const Clock& clock_;
    const bool kept_;
    const std::int64_t start_ns_;
    const std::int64_t started_us_;

    mutable std::mutex mutex_;  // guards what follows
    Status status_ = Status::None;
    std::optional<std::int64_t> end_ns_;
    std::optional<std::string> error_;
    std::vector<TimelineEvent> events_;
    std::uint64_t dropped_ = 0;
    std::vector<TimelineSample> samples_;
    std::uint64_t sample_step_ = 1;
    std::uint64_t samples_seen_ = 0;
    std::optional<TimelinePeer> peer_;
    std::shared_ptr<const Statistics> statistics_;
};

/// The timelines of the last attempts of either side.
///
/// Threads  any.
class Timelines {
public:
    static constexpr std::size_t kKept = 8;

    explicit Timelines(const Clock& clock) : clock_(clock) {}
    std::shared_ptr<Timeline> begin(Side side);
    /// Whether attempts that begin from now on are kept.
    void set_kept(bool kept) noexcept { kept_ = kept; }
    /// Newest first.
    std::vector<std::shared_ptr<Timeline>> last(std::size_t most) const;
    /// The newest of that side, if there is one.
    std::shared_ptr<Timeline> current(Side side) const;

private:
    const Clock& clock_;
    mutable std::mutex mutex_;
    std::atomic<bool> kept_{true};
    std::uint64_t count_ = 0;                          // mutex_
    std::deque<std::shared_ptr<Timeline>> timelines_;  // mutex_; newest last
};

}  // namespace godwit::migration
