// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The judge: from what was measured, whether a migration gets its guest across, and when. The model
// is explained in docs/migration/forecast.md.
#pragma once

#include "migration/forecast.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace godwit::migration {

/// So many bytes of distinct pages were written within so many ns of a start.
struct DirtySample {
    std::int64_t ns = 0;
    std::uint64_t bytes = 0;
};

/// How a guest dirties its memory: at `rate` bytes a second as long as nothing is dirty, within a
/// working set of `set` bytes. One that writes anywhere has set * (1 - exp(-rate * t / set)) dirty
/// after t seconds; one that goes round comes to a page again only when it wrote all others.
struct DirtyCurve {
    double rate = 0;
    double set = 0;
    bool rounds = false;
    /// What was seen of the set; less than `set` while the samples do not show where it ends, and
    /// `set` then is all memory.
    double seen = 0;

    /// Through the samples, by least squares; `touched` bounds the working set.
    static DirtyCurve fit(std::span<const DirtySample> samples, std::uint64_t touched);
    /// Bytes that are dirty `seconds` after none was.
    double distinct(double seconds) const;
};

/// What the judgement goes by. Rates in bytes a second.
struct Outlook {
    DirtyCurve curve;
    double wire_rate = 0;
    double switchover_rate = 0;   ///< once the guest stands still
    std::uint64_t touched = 0;    ///< bytes that are sent in any case
    std::uint64_t remaining = 0;  ///< of the pass that runs
    double pass_seconds = 0;      ///< how long it has run
    std::uint64_t downtime_limit_ms = 300;
    double cost = 1;          ///< bytes on the wire for a byte of the pass that runs; zero pages
    double fresh_cost = 1;    ///< the same for what the guest writes anew
    double fresh_least = 1;   ///< and what it may come down to
    double wire_seconds = 1;  ///< how long the wire has been watched
    double wire_spread = 0;   ///< how far a window is from the average, as a share of it
    double elapsed = 0;       ///< seconds since the migration began
};

/// Fills in verdict, reason, settles_at and what is left.
Forecast judge(const Outlook& outlook);

/// Collects measurements of one attempt and judges.
///
/// Threads  the migration thread.
class Forecaster {
public:
    /// Limits as they are now; bandwidths in bytes a second, 0 for none.
    struct Limits {
        std::uint64_t downtime_ms = 300;
        std::uint64_t max_bandwidth = 0;
        std::uint64_t avail_bandwidth = 0;
        unsigned throttle = 0;
    };
    /// How the attempt ended.
    struct Outcome {
        bool completed = false;
        std::int64_t total_ms = 0;
        bool limits_changed = false;
    };

    void begin(std::int64_t start_ns, std::uint64_t touched);
    /// So much went out in a window, and so much of the pass remained behind it.
    void wire(std::int64_t ns, std::uint64_t bytes, std::uint64_t remaining);
    /// A probe: distinct bytes written within so long. A shorter time than the last begins a new
    /// probe.
    void probe(DirtySample sample);
    /// A whole pass: its length, what it sent, and what became dirty meanwhile.
    void pass_ended(std::int64_t now_ns, std::int64_t ns, std::uint64_t sent,
                    std::uint64_t dirtied);
    /// Judges; true if there is a verdict that differs from the last, or the first.
    bool judge_now(std::int64_t now_ns, std::uint64_t remaining, const Limits& limits);
    /// Scores the first and the last verdict.
    void ended(const Outcome& outcome);

    const std::optional<ForecastReport>& report() const noexcept { return report_; }
    bool limits_changed() const noexcept { return limits_changed_; }

private:
    // Bytes on the wire for bytes of memory.
    struct Cost {
        std::uint64_t sent = 0;
        std::uint64_t done = 0;
        double ratio(double otherwise) const;
    };

    std::optional<DirtyCurve> curve() const;
    /// Nothing as long as it is open and more will be known soon.
    std::optional<Forecast> forecast(const Outlook& outlook) const;
    bool looked_long() const;
    void note_limits(const Limits& limits);

    std::int64_t start_ns_ = 0;
    std::int64_t pass_start_ns_ = 0;
    std::uint64_t touched_ = 0;
    std::uint64_t pass_ = 1;
    double wire_ = 0;                      // smoothed
    double wire_spread_ = 0;               // of the windows around it, smoothed
    double wire_seconds_ = 0;              // seen so far
    std::vector<DirtySample> probe_;       // of the probe that runs
    std::vector<DirtySample> last_probe_;  // the one before
    std::optional<DirtySample> last_pass_;
    double pass_wire_ = 0;
    double pass_dirty_ = 0;
    std::optional<std::uint64_t> remained_;  // of this pass at the end of the last window
    Cost cost_;                              // of this pass
    Cost fresh_cost_;                        // of all passes but the first
    std::optional<Limits> limits_;
    bool limits_changed_ = false;
    std::optional<Verdict> doubt_;  // a new verdict that waits to be confirmed
    std::optional<ForecastReport> report_;
    std::optional<Forecast> first_;
};

}  // namespace godwit::migration
