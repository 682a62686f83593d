// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/pacing/forecast.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace godwit::migration {
namespace {

// A sample count that leaves too little to fit a curve to is taken as a straight line.
constexpr double kStraight = 0.97;
// The first sample holds the whole working set: the rate is at least this many sets in that time.
constexpr double kFull = 4;
// Stopping the guest saves at most this share of copying everything: nothing is gained.
constexpr double kHopeless = 0.8;
// How far measured rates are trusted, for the range of the time left.
constexpr double kWireFast = 1.15;
constexpr double kWireSlow = 0.85;
// What comes on top of that as long as the wire was watched for less than a second.
constexpr double kYoungFast = 0.15;
constexpr double kYoungSlow = 0.25;
constexpr double kDirtyCalm = 0.75;
constexpr double kDirtyBusy = 1.3;
// The end is seen only when a window of 100 ms is over, and the handover takes a moment.
constexpr double kLateSeconds = 0.3;
constexpr unsigned kMaxPasses = 500;

std::uint64_t whole(double value)
{
    return value >= 1.8e19 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(std::max(value, 0.0));
}

std::string mib(double bytes)
{
    return fmt::format("{:.1f} MiB", bytes / (1 << 20));
}

// What remains when as much becomes dirty as is sent.
double settles_at(const DirtyCurve& curve, double wire)
{
    return curve.rate <= wire ? 0 : curve.set * (1 - wire / curve.rate);
}

struct Course {
    double seconds = 0;
    unsigned passes = 1;
};

// Plays the passes: each sends what is above the limit, while pages become dirty again.
std::optional<Course> play(const Outlook& o, double wire, const DirtyCurve& curve)
{
    const double limit = o.switchover_rate * static_cast<double>(o.downtime_limit_ms) / 1e3;
    const double clean = std::max(curve.set - std::min(limit, curve.set), 0.0);
    const double drain = wire / o.fresh_cost;  // memory a second
    if (wire <= 0 || (clean > 0 && settles_at(curve, drain) >= limit && curve.rate > drain))
        return std::nullopt;
    const DirtyCurve beside{curve.rate * (curve.set > 0 ? clean / curve.set : 0), clean};
    Course course;
    double left = static_cast<double>(o.remaining);
    double dirty_for = o.pass_seconds;
    double cost = o.cost;
    for (; course.passes < kMaxPasses && left > limit; ++course.passes) {
        const double seconds = (left - limit) * cost / wire;
        cost = o.fresh_cost;
        course.seconds += seconds;
        const double fresh = beside.distinct(dirty_for + seconds);
        dirty_for = 0;
        left = limit + fresh;
        // What is left to do then takes less than a window.
        if (fresh < drain * 0.05)
            break;
    }
    course.seconds += std::min(left, limit) * cost / std::max(o.switchover_rate, 1.0);
    return course;
}

void add_time_left(Forecast& f, const Outlook& o)
{
    const DirtyCurve calm{o.curve.rate * kDirtyCalm, o.curve.set};
    const DirtyCurve busy{o.curve.rate * kDirtyBusy, o.curve.set};
    if (const auto likely = play(o, o.wire_rate, o.curve); likely)
        f.passes_left = likely->passes;
    const double young = std::clamp(1 - o.wire_seconds, 0.0, 1.0);
    const double fast = kWireFast + kYoungFast * young;
    const double slow = kWireSlow - kYoungSlow * young;
    if (const auto best = play(o, o.wire_rate * fast, calm); best)
        f.time_left_min_ms = static_cast<std::int64_t>(best->seconds * 1e3);
    // Left out where rates that are a little worse do not lead to an end.
    if (const auto worst = play(o, o.wire_rate * slow, busy); worst)
        f.time_left_max_ms = static_cast<std::int64_t>((worst->seconds + kLateSeconds) * 1e3);
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
    return set <= 0 ? 0 : set * -std::expm1(-rate * seconds / set);
}

DirtyCurve DirtyCurve::fit(std::span<const DirtySample> samples, std::uint64_t touched)
{
    const auto telling = std::ranges::find_if(
        samples, [](const DirtySample& s) { return s.ns > 0 && s.bytes != 0; });
    if (telling == samples.end())
        return {};
    const DirtySample& first = *telling;
    const DirtySample& last = samples.back();
    const double most = static_cast<double>(touched);
    const double d1 = static_cast<double>(first.bytes);
    const double t1 = static_cast<double>(first.ns) / 1e9;
    const double times = static_cast<double>(last.ns) / static_cast<double>(first.ns);
    const double grown = static_cast<double>(last.bytes) / d1;
    // (1 - exp(-times * x)) / (1 - exp(-x)) falls from `times` to 1 as x = rate * t1 / set grows.
    const double dn = static_cast<double>(last.bytes);
    double seen = 0;  // what was written at least
    for (const DirtySample& s : samples)
        if (s.ns > 0)
            seen = std::max(seen, static_cast<double>(s.bytes) * 1e9 / static_cast<double>(s.ns));
    if (times <= 1.5 || grown >= kStraight * times)
        return {.rate = seen, .set = std::max(most, dn)};
    double low = 1e-6;
    double high = kFull;
    for (int i = 0; i < 60; ++i) {
        const double x = (low + high) / 2;
        (std::expm1(-times * x) / std::expm1(-x) > grown ? low : high) = x;
    }
    const double set = std::clamp(d1 / -std::expm1(-low), dn, std::max(most, dn));
    return {.rate = std::max(low * set / t1, seen), .set = set};
}

Forecast judge(const Outlook& o)
{
    Forecast f;
    f.downtime_limit_ms = o.downtime_limit_ms;
    f.remaining = o.remaining;
    const double limit = o.switchover_rate * static_cast<double>(o.downtime_limit_ms) / 1e3;
    const double settles = settles_at(o.curve, o.wire_rate / o.fresh_cost);
    f.settles_at = whole(settles);
    const std::string rates = fmt::format("the guest changes {} a second, {} a second go out",
                                          mib(o.curve.rate), mib(o.wire_rate));
    if (settles < limit || settles == 0) {
        f.verdict = Verdict::Converges;
        f.reason = settles == 0 ? rates
                                : fmt::format("{}, but what remains, {}, fits into the downtime "
                                              "limit",
                                              rates, mib(settles));
        add_time_left(f, o);
        return f;
    }
    const double needed_ms = settles / std::max(o.switchover_rate, 1.0) * 1e3;
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
