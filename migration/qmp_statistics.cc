// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/qmp_statistics.h"

#include "system/dirty_log.h"

namespace godwit::migration {

qapi::MigrationStats stats_of(const Statistics& s)
{
    constexpr auto page = static_cast<std::int64_t>(system::kPageSize);
    qapi::MigrationStats r{};
    r.transferred = static_cast<std::int64_t>(s.transferred.load());
    r.remaining = static_cast<std::int64_t>(s.remaining.load());
    r.total = static_cast<std::int64_t>(s.total.load());
    r.duplicate = static_cast<std::int64_t>(s.zero_pages.load());
    r.normal = static_cast<std::int64_t>(s.normal_pages.load());
    r.normal_bytes = r.normal * page;
    r.dirty_pages_rate = static_cast<std::int64_t>(s.dirty_pages_rate.load());
    r.mbps = s.mbps.load();
    r.dirty_sync_count = static_cast<std::int64_t>(s.dirty_sync_count.load());
    r.page_size = page;
    r.pages_per_second = s.pages_per_second.load();
    r.precopy_bytes = s.precopy_bytes.load();
    r.downtime_bytes = s.downtime_bytes.load();
    return r;
}

static_assert(static_cast<int>(PartKind::Resume) ==
              static_cast<int>(qapi::MigrationDowntimeKind::Resume));

qapi::MigrationDowntime downtime_of(const Statistics& s)
{
    constexpr std::int64_t us = 1000;
    qapi::MigrationDowntime r{};
    const std::int64_t predicted = s.predicted_downtime_ns.load();
    r.predicted = predicted >= 0 ? static_cast<double>(predicted) / 1e6
                                 : static_cast<double>(s.expected_downtime_ms.load());
    if (const std::int64_t actual = s.downtime_ns.load(); actual >= 0)
        r.actual = static_cast<double>(actual) / 1e6;
    for (SwitchoverPart& part : s.switchover_parts()) {
        qapi::MigrationDowntimePart p{};
        p.name = std::move(part.name);
        p.kind = static_cast<qapi::MigrationDowntimeKind>(part.kind);
        p.bytes = part.bytes;
        if (part.predicted_ns >= 0)
            p.predicted_us = part.predicted_ns / us;
        if (part.ns >= 0) {
            p.start_us = part.start_ns / us;
            p.duration_us = part.ns / us;
        }
        r.parts.push_back(std::move(p));
    }
    return r;
}

namespace {

qapi::MigrationVerdict to_qapi(Verdict verdict)
{
    return static_cast<qapi::MigrationVerdict>(verdict);
}
static_assert(static_cast<int>(Verdict::Never) == static_cast<int>(qapi::MigrationVerdict::Never));

qapi::MigrationForecastScore to_qapi(const ForecastScore& score)
{
    qapi::MigrationForecastScore r{};
    r.verdict = to_qapi(score.verdict);
    r.pass = static_cast<std::int64_t>(score.pass);
    r.given_at = score.given_at_ms;
    r.total_min = score.total_min_ms;
    r.total_max = score.total_max_ms;
    r.total_time = score.total_ms;
    r.correct = score.correct;
    r.in_range = score.in_range;
    return r;
}

}  // namespace

qapi::MigrationForecast to_qapi(const Forecast& f)
{
    qapi::MigrationForecast r{};
    r.verdict = to_qapi(f.verdict);
    r.reason = f.reason;
    r.pass = static_cast<std::int64_t>(f.pass);
    r.given_at = f.given_at_ms;
    r.wire_rate = f.wire_rate;
    r.dirty_rate = f.dirty_rate;
    r.pass_wire_rate = f.pass_wire_rate;
    r.pass_dirty_rate = f.pass_dirty_rate;
    r.remaining = f.remaining;
    r.settles_at = f.settles_at;
    r.downtime_limit = static_cast<std::int64_t>(f.downtime_limit_ms);
    r.downtime_needed = f.downtime_needed_ms;
    r.time_left_min = f.time_left_min_ms;
    r.time_left_max = f.time_left_max_ms;
    r.passes_left = f.passes_left;
    return r;
}

std::optional<qapi::MigrationForecast> forecast_of(const Statistics& s)
{
    const std::optional<ForecastReport> report = s.forecast();
    if (!report)
        return std::nullopt;
    qapi::MigrationForecast r = to_qapi(report->latest);
    r.changes = report->changes;
    if (!report->scores.empty()) {
        r.scores.emplace();
        for (const ForecastScore& score : report->scores)
            r.scores->push_back(to_qapi(score));
    }
    return r;
}

}  // namespace godwit::migration
