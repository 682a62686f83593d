// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/pacing/forecast.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>

namespace godwit::migration {
namespace {

// Counts that grow by so much of what a straight line would, or more, show no end of the set.
constexpr double kStraight = 0.95;
// The first sample holds the whole working set: the rate is at least this many sets in that time.
constexpr double kFull = 4;
// Counts that are off by such a share of the last do not tell one kind of guest from the other.
constexpr double kNoise = 0.02;
constexpr double kSwing = 1.1;
constexpr double kRoundSeconds = 0.05;
// Stopping the guest saves at most this share of copying everything: nothing is gained.
constexpr double kHopeless = 0.8;
// How far measured rates are trusted, for the range of the time left.
constexpr double kWireTrust = 0.15;
// What comes on top of that as long as the wire was watched for less than a second.
constexpr double kYoungFast = 0.15;
constexpr double kYoungSlow = 0.25;
constexpr double kMostSpread = 0.5;
constexpr double kDirtyCalm = 0.75;
constexpr double kDirtyBusy = 1.3;
// The end is seen only when a window of 100 ms is over, and the handover takes a moment.
constexpr double kLateSeconds = 0.3;
constexpr unsigned kMaxPasses = 500;
// A pass is finished unless so little of what is left goes between two looks (Refinement).
constexpr double kFinishedSeconds = 0.8;

std::uint64_t whole(double value)
{
    return value >= 1.8e19 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(std::max(value, 0.0));
}

std::string mib(double bytes)
{
    return fmt::format("{:.1f} MiB", bytes / (1 << 20));
}

// What remains when as much becomes dirty as is sent. Who goes round writes what was sent longest
// ago, so that what he wrote lies there longer.
double settles_at(const DirtyCurve& curve, double wire)
{
    if (curve.rate <= wire)
        return 0;
    const double share = wire / curve.rate;
    return curve.set * (1 - (curve.rounds ? share / 2 : share));
}

// Of the bytes that are dirty, squared and summed up.
double error_of(const DirtyCurve& curve, std::span<const DirtySample> samples)
{
    double sum = 0;
    for (const DirtySample& s : samples) {
        const double off =
            curve.distinct(static_cast<double>(s.ns) / 1e9) - static_cast<double>(s.bytes);
        sum += off * off;
    }
    return sum;
}

// What the downtime limit must have room for: what remains swings around where it settles, and the
// dirty log is only looked at between rounds.
double needed(double settles, const Outlook& o)
{
    return std::min(settles * kSwing + o.wire_rate * kRoundSeconds,
                    std::max(static_cast<double>(o.touched), settles));
}

struct Course {
    double seconds = 0;
    unsigned passes = 0;
};

// Further passes that only make the downtime shorter (Refinement).
class Further {
public:
    bool worth(double left, double price, double elapsed)
    {
        const bool shrinks = count_ == 0 || left < last_ * 0.75;
        last_ = left;
        if (!shrinks || count_ == 10 || price < 0.0004 ||
            spent_ + price > std::max(0.02, elapsed / 8))
            return false;
        spent_ += price;
        ++count_;
        return true;
    }

private:
    double last_ = 0;
    double spent_ = 0;
    unsigned count_ = 0;
};

// Plays the passes. The first is sent whole; those behind it until what is left is near the limit,
// when the dirty log is looked at. `at_most`: with all that may come on top.
std::optional<Course> play(const Outlook& o, double wire, const DirtyCurve& curve, bool at_most)
{
    const double limit = o.switchover_rate * static_cast<double>(o.downtime_limit_ms) / 1e3;
    const double clean = std::max(curve.set - std::min(limit, curve.set), 0.0);
    const double drain = wire / o.fresh_cost;  // memory a second
    if (wire <= 0 || (clean > 0 && settles_at(curve, drain) >= limit && curve.rate > drain))
        return std::nullopt;
    DirtyCurve beside = curve;
    beside.rate *= curve.set > 0 ? clean / curve.set : 0;
    beside.set = clean;
    Course course;
    Further further;
    double left = static_cast<double>(o.remaining);
    double dirty_for = o.pass_seconds;
    double cost = o.cost;
    bool whole = limit < kFinishedSeconds * wire;
    while (course.passes < kMaxPasses) {
        const double kept = whole ? 0 : std::min(left, limit);
        const double seconds = (left - kept) * cost / wire;
        cost = o.fresh_cost;
        course.seconds += seconds;
        ++course.passes;
        const double fresh = (whole ? curve : beside).distinct(dirty_for + seconds);
        dirty_for = 0;
        left = kept + fresh;
        // What is left to do then takes less than a window.
        const bool near = left < limit || fresh < drain * kRoundSeconds;
        if (near &&
            (!at_most || !further.worth(left, left * cost / wire, o.elapsed + course.seconds)))
            break;
        whole = near;
    }
    course.seconds += left * cost / std::max(o.switchover_rate, 1.0);
    return course;
}

void add_time_left(Forecast& f, const Outlook& o)
{
    DirtyCurve calm = o.curve;
    DirtyCurve busy = o.curve;
    calm.rate *= kDirtyCalm;
    busy.rate *= kDirtyBusy;
    if (const auto likely = play(o, o.wire_rate, o.curve, true); likely)
        f.passes_left = likely->passes;
    const double young = std::clamp(1 - o.wire_seconds, 0.0, 1.0);
    const double spread = kWireTrust + std::min(o.wire_spread, kMostSpread);
    const double fast = 1 + spread + kYoungFast * young;
    const double slow = std::max(1 - spread - kYoungSlow * young, 0.2);
    Outlook cheap = o;
    cheap.fresh_cost = std::min(o.fresh_cost, o.fresh_least);
    if (const auto best = play(cheap, o.wire_rate * fast, calm, false); best)
        f.time_left_min_ms = static_cast<std::int64_t>(best->seconds * 1e3);
    // Left out where rates that are a little worse do not lead to an end.
    if (const auto worst = play(o, o.wire_rate * slow, busy, true); worst)
        f.time_left_max_ms = static_cast<std::int64_t>((worst->seconds + kLateSeconds) * 1e3);
}

// The straight line and the level behind it that come closest to the samples.
DirtyCurve fit_rounds(std::span<const DirtySample> samples, double& error)
{
    DirtyCurve best{.rounds = true};
    error = std::numeric_limits<double>::infinity();
    for (std::size_t bend = 2; bend <= samples.size(); ++bend) {
        double by = 0;
        double square = 0;
        for (const DirtySample& s : samples.first(bend)) {
            const double t = static_cast<double>(s.ns) / 1e9;
            by += t * static_cast<double>(s.bytes);
            square += t * t;
        }
        DirtyCurve curve{.rate = by / square, .rounds = true};
        for (const DirtySample& s : samples.subspan(bend))
            curve.set += static_cast<double>(s.bytes) / static_cast<double>(samples.size() - bend);
        curve.set = std::max(curve.set, static_cast<double>(samples[bend - 1].bytes));
        const double off = error_of(curve, samples);
        if (off < error) {
            best = curve;
            error = off;
        }
    }
    return best;
}

// Through the first and the last: (1 - exp(-times * x)) / (1 - exp(-x)) falls from `times` to 1 as
// x = rate * t1 / set grows.
DirtyCurve fit_anywhere(const DirtySample& first, const DirtySample& last)
{
    const double d1 = static_cast<double>(first.bytes);
    const double t1 = static_cast<double>(first.ns) / 1e9;
    const double times = static_cast<double>(last.ns) / static_cast<double>(first.ns);
    const double grown = static_cast<double>(last.bytes) / d1;
    double low = 1e-6;
    double high = kFull;
    for (int i = 0; i < 60; ++i) {
        const double x = (low + high) / 2;
        (std::expm1(-times * x) / std::expm1(-x) > grown ? low : high) = x;
    }
    const double set = d1 / -std::expm1(-low);
    return {.rate = low * set / t1, .set = set};
}

}  // namespace

std::string_view to_string(Verdict verdict) noexcept
{
    switch (verdict) {
    case Verdict::Converges:
        return "converges";
    case Verdict::AboveDowntime:
        return "above-downtime";
    case Verdict::Never:
        return "never";
    }
    return "";
}

double DirtyCurve::distinct(double seconds) const
{
    if (rounds)
        return std::min(rate * seconds, set);
    return set <= 0 ? 0 : set * -std::expm1(-rate * seconds / set);
}

DirtyCurve DirtyCurve::fit(std::span<const DirtySample> all, std::uint64_t touched)
{
    std::vector<DirtySample> samples;
    for (const DirtySample& s : all)
        if (s.ns > 0 && s.bytes != 0)
            samples.push_back(s);
    if (samples.empty())
        return {};
    const DirtySample& first = samples.front();
    const DirtySample& last = samples.back();
    const double dn = static_cast<double>(last.bytes);
    const double most = std::max(static_cast<double>(touched), dn);
    const double times = static_cast<double>(last.ns) / static_cast<double>(first.ns);
    double fastest = 0;  // what was written at least
    for (const DirtySample& s : samples)
        fastest = std::max(fastest, static_cast<double>(s.bytes) * 1e9 / static_cast<double>(s.ns));
    if (times <= 1.5 || dn >= kStraight * times * static_cast<double>(first.bytes))
        return {.rate = fastest, .set = most, .rounds = false, .seen = dn};
    double off = 0;
    const DirtyCurve round = fit_rounds(samples, off);
    DirtyCurve curve = fit_anywhere(first, last);
    const double noise = kNoise * dn * kNoise * dn * static_cast<double>(samples.size());
    if (off + noise < error_of(curve, samples))
        curve = round;
    curve.set = std::clamp(curve.set, dn, most);
    curve.rate = std::max(curve.rate, fastest);
    curve.seen = curve.set;
    return curve;
}

Forecast judge(const Outlook& o)
{
    Forecast f;
    f.downtime_limit_ms = o.downtime_limit_ms;
    f.remaining = o.remaining;
    const double settles = settles_at(o.curve, o.wire_rate / o.fresh_cost);
    f.settles_at = whole(settles);
    const double needed_ms = needed(settles, o) / std::max(o.switchover_rate, 1.0) * 1e3;
    const std::string rates = fmt::format("the guest changes {} a second, {} a second go out",
                                          mib(o.curve.rate), mib(o.wire_rate));
    if (settles == 0 || needed_ms <= static_cast<double>(o.downtime_limit_ms)) {
        f.verdict = Verdict::Converges;
        f.reason = settles == 0 ? rates
                                : fmt::format("{}, but what remains, {}, fits into the downtime "
                                              "limit",
                                              rates, mib(settles));
        add_time_left(f, o);
        return f;
    }
    f.downtime_needed_ms = static_cast<std::int64_t>(std::ceil(std::min(needed_ms, 9e15)));
    if (settles >= kHopeless * static_cast<double>(o.touched)) {
        f.verdict = Verdict::Never;
        f.reason = rates + ": sending its memory while it runs gains nothing";
        return f;
    }
    f.verdict = Verdict::AboveDowntime;
    f.reason = fmt::format("{}: what remains settles at {}, for which the guest would stand still "
                           "for {} ms",
                           rates, mib(settles), *f.downtime_needed_ms);
    return f;
}

}  // namespace godwit::migration
