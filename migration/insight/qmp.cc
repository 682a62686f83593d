// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/insight/qmp.h"

#include "migration/addresses.h"
#include "migration/insight/timeline.h"
#include "migration/qmp_statistics.h"
#include "qapi/migration_insight_events.h"
#include "system/vm.h"

#include <fmt/format.h>

namespace godwit::migration {
namespace {

static_assert(static_cast<std::size_t>(TimelineKind::Error) + 1 == kTimelineKinds);
static_assert(qapi::kEnumCount<qapi::MigrationTimelineKind> == kTimelineKinds);

static_assert(qapi::kEnumCount<qapi::MigrationDifferenceKind> ==
              static_cast<std::size_t>(DifferenceKind::Pace) + 1);

constexpr std::int64_t kUs = 1000;
constexpr std::uint32_t kMeasureMs = 250;
constexpr std::uint32_t kMaxMeasureMs = 10000;

qapi::MigrationTimelineEvent event_of(const TimelineEvent& event, std::int64_t origin_ns)
{
    qapi::MigrationTimelineEvent r{};
    r.kind = static_cast<qapi::MigrationTimelineKind>(event.kind);
    r.name = event.name;
    r.start_us = (event.start_ns - origin_ns) / kUs;
    if (event.duration_ns >= 0)
        r.duration_us = event.duration_ns / kUs;
    r.bytes = event.bytes;
    r.number = event.number;
    return r;
}

qapi::MigrationTimelineSample sample_of(const TimelineSample& sample, std::int64_t origin_ns)
{
    qapi::MigrationTimelineSample r{};
    r.time_us = (sample.time_ns - origin_ns) / kUs;
    r.transferred = sample.transferred;
    r.remaining = sample.remaining;
    r.wire_rate = sample.wire_rate;
    r.dirty_rate = sample.dirty_rate;
    r.throttle = static_cast<std::int64_t>(sample.throttle);
    return r;
}

qapi::MigrationTimelinePeer peer_of(const TimelinePeer& peer, std::int64_t origin_ns)
{
    qapi::MigrationTimelinePeer r{};
    for (const TimelineEvent& event : peer.events)
        r.events.push_back(event_of(event, origin_ns + peer.clock_offset_ns));
    r.dropped = static_cast<std::int64_t>(peer.dropped);
    r.clock_offset_us = peer.clock_offset_ns / kUs;
    r.clock_error_us = (peer.clock_error_ns + kUs - 1) / kUs;
    return r;
}

qapi::MigrationTimeline timeline_of(const Timeline& timeline)
{
    const Timeline::Snapshot now = timeline.snapshot();
    const std::int64_t origin = timeline.start_ns();
    qapi::MigrationTimeline r{};
    r.id = static_cast<std::int64_t>(timeline.number());
    r.side = timeline.side() == Side::Source ? qapi::MigrationSide::Source
                                             : qapi::MigrationSide::Destination;
    r.status = static_cast<qapi::MigrationStatus>(now.status);
    r.started = timeline.started_us();
    r.total_us = now.total_ns / kUs;
    r.error_desc = now.error;
    for (const TimelineEvent& event : now.events)
        r.events.push_back(event_of(event, origin));
    r.dropped = static_cast<std::int64_t>(now.dropped);
    for (const TimelineSample& sample : now.samples)
        r.samples.push_back(sample_of(sample, origin));
    if (now.peer)
        r.peer = peer_of(*now.peer, origin);
    if (now.statistics != nullptr) {
        r.forecast = forecast_of(*now.statistics);
        r.downtime = downtime_of(*now.statistics);
        r.ram = stats_of(*now.statistics);
    }
    return r;
}

}  // namespace

InsightQmp::InsightQmp(system::Vm& vm, MigrationService& service)
    : vm_(vm), service_(service), checker_(vm, service, [&vm](const CheckResult& result) {
          std::optional<qapi::MigrationCheckVerdict> verdict;
          if (result.verdict)
              verdict = static_cast<qapi::MigrationCheckVerdict>(*result.verdict);
          qapi::emit_migration_check(
              vm.events(), static_cast<qapi::MigrationCheckStatus>(result.status), verdict);
      })
{}

Result<std::vector<qapi::MigrationTimeline>>
InsightQmp::query_migrate_timeline(const qapi::QueryMigrateTimelineArgs& args)
{
    std::vector<qapi::MigrationTimeline> all;
    for (const auto& timeline : service_.timelines().last(args.last.value_or(Timelines::kKept)))
        all.push_back(timeline_of(*timeline));
    return all;
}

Result<void> InsightQmp::migrate_check(qapi::CommandContext& context,
                                       const qapi::MigrateCheckArgs& args)
{
    const io::Address address = GW_TRY(main_address(args.uri, args.channels));
    if (!is_connectable(address))
        return Error(Errc::InvalidArgument,
                     "a check needs an address that can be connected to twice: tcp, unix or vsock");
    const std::uint32_t measure_ms = args.measure.value_or(kMeasureMs);
    if (measure_ms == 0 || measure_ms > kMaxMeasureMs)
        return Error(Errc::InvalidArgument,
                     fmt::format("Parameter 'measure' expects 1 to {}", kMaxMeasureMs));
    if (is_running(service_.status()))
        return Error(Errc::BadState, "There's a migration process in progress");
    return checker_.start(GW_TRY(connector(address, context, vm_.fds())),
                          std::int64_t{measure_ms} * 1'000'000);
}

Result<qapi::MigrationCheckInfo> InsightQmp::query_migrate_check()
{
    const CheckResult result = checker_.result();
    qapi::MigrationCheckInfo r{};
    r.status = static_cast<qapi::MigrationCheckStatus>(result.status);
    if (result.status == CheckStatus::Failed)
        r.error_desc = result.error;
    if (result.status != CheckStatus::Done)
        return r;
    r.verdict = static_cast<qapi::MigrationCheckVerdict>(*result.verdict);
    r.differences.emplace();
    for (const Difference& d : result.differences) {
        qapi::MigrationDifference one{};
        one.kind = static_cast<qapi::MigrationDifferenceKind>(d.kind);
        one.name = d.name;
        one.fatal = d.fatal;
        one.desc = d.desc;
        one.source = d.source;
        one.destination = d.destination;
        r.differences->push_back(std::move(one));
    }
    r.peer = result.peer;
    r.round_trip_us = result.round_trip_ns / kUs;
    r.bandwidth = result.bandwidth;
    r.dirty_rate = result.dirty_rate;
    r.touched = result.touched;
    if (result.forecast)
        r.forecast = to_qapi(*result.forecast);
    return r;
}

}  // namespace godwit::migration
