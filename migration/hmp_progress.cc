// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What `info migrate` tells beyond QEMU's lines: the facts that scripts/watch shows.
#include "migration/hmp.h"
#include "migration/insight/qmp.h"
#include "migration/qmp.h"
#include "system/hmp.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace godwit::migration {
namespace {

using system::HmpOutput;

constexpr std::size_t kPartsToTell = 4;

std::string seconds(std::int64_t ms)
{
    return fmt::format("{:.1f}", static_cast<double>(ms) / 1e3);
}

// The longest parts of the downtime, as far as they took anything.
std::string parts_of(const qapi::MigrationDowntime& downtime)
{
    std::vector<std::pair<std::int64_t, std::string>> parts;
    for (const qapi::MigrationDowntimePart& part : downtime.parts)
        if (part.duration_us.value_or(0) > 0)
            parts.emplace_back(*part.duration_us, part.name);
    std::ranges::stable_sort(parts, std::ranges::greater(), [](const auto& p) { return p.first; });
    std::string text;
    for (const auto& [us, name] : std::span(parts).first(std::min(parts.size(), kPartsToTell)))
        text += fmt::format("{}{} {:.1f}", text.empty() ? "" : ", ", name,
                            static_cast<double>(us) / 1e3);
    return text;
}

void print_warnings(HmpOutput& out, const qapi::MigrationInfo& info)
{
    if (info.cpu_throttle_percentage)
        out.print(fmt::format("warning: the guest is slowed down by {} %\n",
                              *info.cpu_throttle_percentage));
    if (!info.x_forecast)
        return;
    const qapi::MigrationForecast& f = *info.x_forecast;
    if (f.dirty_rate >= f.wire_rate)
        out.print("warning: the guest writes faster than the wire carries: raise max-bandwidth or "
                  "allow auto-converge\n");
    if (f.downtime_needed && f.verdict == qapi::MigrationVerdict::AboveDowntime)
        out.print(fmt::format("warning: needs a downtime of {} ms, the limit is {} ms\n",
                              *f.downtime_needed, f.downtime_limit));
}

// A destination's query-migrate says nothing of its progress; its timeline does.
void print_received(HmpOutput& out, const qapi::MigrationTimeline& timeline)
{
    using Kind = qapi::MigrationTimelineKind;
    const std::uint64_t bytes = timeline.samples.empty() ? 0 : timeline.samples.back().transferred;
    const auto loads =
        std::ranges::count(timeline.events, Kind::DeviceLoad, &qapi::MigrationTimelineEvent::kind);
    out.print(fmt::format("received: {} kbytes in {} s\n", bytes >> 10,
                          seconds(timeline.total_us / 1000)));
    if (!timeline.samples.empty())
        out.print(
            fmt::format("channel main: {} kbytes/s\n", timeline.samples.back().wire_rate >> 10));
    out.print(fmt::format("loaded: {} device sections\n", loads));
    if (timeline.error_desc)
        out.print(fmt::format("error: {}\n", *timeline.error_desc));
}

}  // namespace

int percent_done(const qapi::MigrationInfo& info)
{
    if (!info.ram || info.ram->total <= 0)
        return 0;
    const double left = static_cast<double>(info.ram->remaining);
    const double done = 1 - std::min(left / static_cast<double>(info.ram->total), 1.0);
    return static_cast<int>(std::floor(done * 100));
}

// One line that says it all: verdict, numbers, reason.
void print_forecast(HmpOutput& out, const qapi::MigrationForecast& f)
{
    std::string text = fmt::format("forecast: {}", qapi::to_string(f.verdict));
    if (f.time_left_min && f.time_left_max)
        text += fmt::format(" in {} to {} s", seconds(*f.time_left_min), seconds(*f.time_left_max));
    else if (f.time_left_min)
        text += fmt::format(" in {} s or more", seconds(*f.time_left_min));
    if (f.downtime_needed)
        text += fmt::format(" of {} ms, would need {} ms", f.downtime_limit, *f.downtime_needed);
    out.print(fmt::format("{} ({})\n", text, f.reason));
    if (!f.scores)
        return;
    for (const qapi::MigrationForecastScore& s : *f.scores)
        out.print(fmt::format(
            "forecast at {} s: {}{}, took {} s\n", seconds(s.given_at), qapi::to_string(s.verdict),
            s.correct ? (*s.correct ? ", right" : ", wrong") : "", seconds(s.total_time)));
}

void print_progress_facts(HmpOutput& out, const qapi::MigrationInfo& info, InsightQmp& insight)
{
    if (info.status && !info.ram) {
        const auto timelines = insight.query_migrate_timeline({.last = 1});
        if (timelines && !timelines->empty() &&
            timelines->front().side == qapi::MigrationSide::Destination)
            print_received(out, timelines->front());
    }
    if (!info.ram)
        return;
    const bool over = !info.expected_downtime;
    const bool active = info.status == qapi::MigrationStatus::Active;
    out.print(fmt::format("progress: {} %\n", over ? 100 : percent_done(info)));
    if (active) {
        // One connection carries all; more would be told one by one.
        out.print(fmt::format("channel main: {} kbytes/s\n",
                              static_cast<std::uint64_t>(info.ram->mbps * 1e6 / 8) >> 10));
        if (info.x_forecast)
            out.print(
                fmt::format("guest writes: {} kbytes/s\n", info.x_forecast->dirty_rate >> 10));
    }
    if (info.x_downtime && over) {
        out.print(fmt::format("downtime parts: {} ms; predicted {:.1f} ms\n",
                              parts_of(*info.x_downtime), info.x_downtime->predicted));
    }
    if (info.x_forecast)
        print_forecast(out, *info.x_forecast);
    if (active)
        print_warnings(out, info);
}

}  // namespace godwit::migration
