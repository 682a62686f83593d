// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Measurements of one attempt, and its verdicts against the outcome.
#include "migration/pacing/forecast.h"

#include <algorithm>
#include <cmath>

namespace godwit::migration {
namespace {

// The wire's rate is an average that forgets within about so long.
constexpr double kSmoothSeconds = 1.0;
// A verdict needs a probe of this length, or a whole pass.
constexpr std::int64_t kTellingProbeNs = 150'000'000;
// A whole probe.
constexpr std::int64_t kLongProbeNs = 1'500'000'000;
// So much memory must have gone for its price to be believed.
constexpr std::uint64_t kTellingBytes = std::uint64_t{4} << 20;

std::int64_t ms(std::int64_t ns)
{
    return ns / 1'000'000;
}

ForecastScore score_of(const Forecast& f, const Forecaster::Outcome& outcome)
{
    ForecastScore score{.verdict = f.verdict,
                        .pass = f.pass,
                        .given_at_ms = f.given_at_ms,
                        .total_min_ms = {},
                        .total_max_ms = {},
                        .total_ms = outcome.total_ms,
                        .correct = {},
                        .in_range = {}};
    if (f.time_left_min_ms)
        score.total_min_ms = f.given_at_ms + *f.time_left_min_ms;
    if (f.time_left_max_ms)
        score.total_max_ms = f.given_at_ms + *f.time_left_max_ms;
    // An attempt that was given up proves nothing; with other limits it was another question.
    if (!outcome.completed || outcome.limits_changed)
        return score;
    score.correct = f.verdict == Verdict::Converges;
    if (score.total_min_ms)  // "at least" where there is no longest time
        score.in_range = outcome.total_ms >= *score.total_min_ms &&
                         (!score.total_max_ms || outcome.total_ms <= *score.total_max_ms);
    return score;
}

}  // namespace

void Forecaster::begin(std::int64_t start_ns, std::uint64_t touched)
{
    start_ns_ = pass_start_ns_ = start_ns;
    touched_ = touched;
    remained_ = touched;
}

double Forecaster::Cost::ratio(double otherwise) const
{
    return done < kTellingBytes
               ? otherwise
               : std::clamp(static_cast<double>(sent) / static_cast<double>(done), 0.001, 1.05);
}

// A window in which a pass began tells nothing of what memory costs.
void Forecaster::wire(std::int64_t ns, std::uint64_t bytes, std::uint64_t remaining)
{
    if (remained_ && remaining < *remained_) {
        const std::uint64_t done = *remained_ - remaining;
        cost_.sent += bytes;
        cost_.done += done;
        if (pass_ > 1) {
            fresh_cost_.sent += bytes;
            fresh_cost_.done += done;
        }
    }
    remained_ = remaining;
    if (ns <= 0)
        return;
    const double seconds = static_cast<double>(ns) / 1e9;
    const double rate = static_cast<double>(bytes) / seconds;
    wire_seconds_ += seconds;
    const double weight = std::min(seconds / std::min(wire_seconds_, kSmoothSeconds), 1.0);
    const double off = wire_ > 0 ? std::abs(rate - wire_) / wire_ : 0;
    wire_ += (rate - wire_) * weight;
    wire_spread_ += (off - wire_spread_) * weight;
}

void Forecaster::probe(DirtySample sample)
{
    if (!probe_.empty() && sample.ns <= probe_.back().ns) {
        last_probe_ = std::move(probe_);
        probe_.clear();
    }
    if (probe_.size() < 64)
        probe_.push_back(sample);
}

void Forecaster::pass_ended(std::int64_t now_ns, std::int64_t ns, std::uint64_t sent,
                            std::uint64_t dirtied)
{
    pass_start_ns_ = now_ns;
    ++pass_;
    remained_.reset();
    cost_ = {};
    if (ns <= 0)
        return;
    const double seconds = static_cast<double>(ns) / 1e9;
    pass_wire_ = static_cast<double>(sent) / seconds;
    pass_dirty_ = static_cast<double>(dirtied) / seconds;
    last_pass_ = DirtySample{ns, dirtied};
    if (wire_ == 0)
        wire_ = pass_wire_;
}

// The probe that is long enough; before there is one, a pass is better than nothing. The first pass
// is also the longest look there is until the next probe, and tells where the working set ends.
std::optional<DirtyCurve> Forecaster::curve() const
{
    const bool fresh = !probe_.empty() && probe_.back().ns >= kTellingProbeNs &&
                       (last_probe_.empty() || probe_.back().ns * 2 >= last_probe_.back().ns);
    std::vector<DirtySample> samples = fresh ? probe_ : last_probe_;
    const bool first_pass = last_pass_ && pass_ == 2;
    if (samples.empty() && last_pass_)
        samples.push_back(*last_pass_);
    else if (!samples.empty() && first_pass && last_pass_->ns > samples.back().ns)
        samples.push_back(*last_pass_);
    if (samples.empty())
        return std::nullopt;
    return DirtyCurve::fit(samples, touched_);
}

// A whole probe, or a whole pass.
bool Forecaster::looked_long() const
{
    return pass_ > 1 || !last_probe_.empty() ||
           (!probe_.empty() && probe_.back().ns >= kLongProbeNs);
}

// Where it is not known how large the working set is, both ends are judged. Neither overturns a
// verdict that the other confirms.
std::optional<Forecast> Forecaster::forecast(const Outlook& outlook) const
{
    Forecast most = judge(outlook);
    Outlook small = outlook;
    small.curve.set = outlook.curve.seen;
    Forecast least = judge(small);
    if (most.verdict == least.verdict)
        return most;
    if (!report_ && !looked_long())
        return std::nullopt;
    return report_ && least.verdict == report_->latest.verdict ? least : most;
}

void Forecaster::note_limits(const Limits& limits)
{
    if (limits_ && (limits_->downtime_ms != limits.downtime_ms ||
                    limits_->max_bandwidth != limits.max_bandwidth ||
                    limits_->avail_bandwidth != limits.avail_bandwidth ||
                    limits_->throttle != limits.throttle))
        limits_changed_ = true;
    limits_ = limits;
}

bool Forecaster::judge_now(std::int64_t now_ns, std::uint64_t remaining, const Limits& limits)
{
    note_limits(limits);
    const auto how = curve();
    if (!how || wire_ <= 0)
        return false;
    // The first windows carry more than their share.
    const double wire = limits.max_bandwidth != 0
                            ? std::min(wire_, static_cast<double>(limits.max_bandwidth))
                            : wire_;
    Outlook outlook{.curve = *how,
                    .wire_rate = wire,
                    .switchover_rate = limits.avail_bandwidth != 0
                                           ? static_cast<double>(limits.avail_bandwidth)
                                           : wire,
                    .touched = touched_,
                    .remaining = remaining,
                    .pass_seconds = static_cast<double>(now_ns - pass_start_ns_) / 1e9,
                    .downtime_limit_ms = limits.downtime_ms,
                    .cost = cost_.ratio(fresh_cost_.ratio(1)),
                    .fresh_cost = fresh_cost_.ratio(1),
                    .fresh_least = fresh_cost_.ratio(cost_.ratio(1)),
                    .wire_seconds = wire_seconds_,
                    .wire_spread = wire_spread_,
                    .elapsed = static_cast<double>(now_ns - start_ns_) / 1e9};
    auto found = forecast(outlook);
    if (!found)
        return false;
    Forecast f = std::move(*found);
    f.pass = pass_;
    f.given_at_ms = ms(now_ns - start_ns_);
    f.wire_rate = static_cast<std::uint64_t>(wire);
    f.dirty_rate = static_cast<std::uint64_t>(how->rate);
    f.pass_wire_rate = static_cast<std::uint64_t>(pass_wire_);
    f.pass_dirty_rate = static_cast<std::uint64_t>(pass_dirty_);
    if (report_ && f.verdict == report_->latest.verdict) {
        doubt_.reset();
        report_->latest = std::move(f);
        return false;
    }
    // Rates near the edge must not make it flicker, nor a moment without the CPU be taken for the
    // guest: twice in a row, then it counts.
    if (doubt_ != f.verdict) {
        doubt_ = f.verdict;
        return false;
    }
    doubt_.reset();
    if (!report_) {
        first_ = f;
        report_ = ForecastReport{.latest = std::move(f), .changes = 0, .scores = {}};
        return true;
    }
    report_->latest = std::move(f);
    ++report_->changes;
    return true;
}

void Forecaster::ended(const Outcome& outcome)
{
    if (!report_)
        return;
    Outcome known = outcome;
    known.limits_changed |= limits_changed_;
    report_->scores = {score_of(*first_, known)};
    if (report_->changes != 0)
        report_->scores.push_back(score_of(report_->latest, known));
}

}  // namespace godwit::migration
