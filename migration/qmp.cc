// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/qmp.h"

#include "migration/addresses.h"
#include "migration/qmp_statistics.h"
#include "system/dirty_log.h"
#include "system/vm.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::migration {
namespace {

using YankType = system::YankInstance::Type;

qapi::XBZRLECacheStats xbzrle_of(const Statistics& s, const Parameters& p)
{
    qapi::XBZRLECacheStats r{};
    r.cache_size = p.xbzrle_cache_size;
    r.bytes = static_cast<std::int64_t>(s.xbzrle_bytes.load());
    r.pages = static_cast<std::int64_t>(s.xbzrle_pages.load());
    r.cache_miss = static_cast<std::int64_t>(s.xbzrle_cache_miss.load());
    const double tried = static_cast<double>(r.pages + r.cache_miss);
    r.cache_miss_rate = tried > 0 ? static_cast<double>(r.cache_miss) / tried : 0;
    r.encoding_rate = r.bytes > 0 ? static_cast<double>(r.pages) * system::kPageSize /
                                        static_cast<double>(r.bytes)
                                  : 0;
    r.overflow = static_cast<std::int64_t>(s.xbzrle_overflow.load());
    return r;
}

// The numbers of a source, each in the phases where it is final or meant to move.
void add_source(qapi::MigrationInfo& info, const MigrationReport& report, const Parameters& p,
                std::int64_t now_ns)
{
    const Statistics& s = *report.statistics;
    info.ram = stats_of(s);
    info.setup_time = s.setup_ms.load();
    const std::int64_t total = s.total_ms.load();
    info.total_time = total >= 0 ? total : (now_ns - s.start_ns.load()) / 1'000'000;
    if (report.status == Status::Completed)
        info.downtime = s.downtime_ms.load();
    else
        info.expected_downtime = s.expected_downtime_ms.load();
    if (report.status != Status::Setup)
        info.x_downtime = downtime_of(s);
    info.x_forecast = forecast_of(s);
    info.x_mostly_zero = {.pages = static_cast<std::int64_t>(s.mostly_zero_pages.load()),
                          .bytes = static_cast<std::int64_t>(s.mostly_zero_bytes.load())};
    if (const unsigned percent = s.throttle_percent.load(); percent != 0)
        info.cpu_throttle_percentage = percent;
    if (report.vfio_bytes)
        info.vfio = qapi::VfioStats{.transferred = static_cast<std::int64_t>(*report.vfio_bytes)};
    if (report.show_xbzrle)
        info.xbzrle_cache = xbzrle_of(s, p);
}

}  // namespace

MigrationQmp::MigrationQmp(system::Vm& vm, MigrationService& service)
    : vm_(vm), service_(service), dirty_rate_(vm.memory(), vm.ram(), clock_)
{}

Result<qapi::MigrationInfo> MigrationQmp::query_migrate()
{
    const MigrationReport report = service_.report();
    qapi::MigrationInfo info;
    if (!report.blocked_reasons.empty())
        info.blocked_reasons = report.blocked_reasons;
    if (!report.status)
        return info;
    info.status = qapi::from_string<qapi::MigrationStatus>(to_string(*report.status));
    if (report.error)
        info.error_desc = *report.error;
    if (report.statistics != nullptr)
        add_source(info, report, service_.parameters(), SteadyClock().now_ns());
    if (!report.source && !listening_.empty() &&
        (*report.status == Status::Setup || *report.status == Status::Active)) {
        info.socket_address.emplace();
        for (const io::SocketAddress& address : listening_)
            info.socket_address->push_back(to_qapi(address));
    }
    return info;
}

Result<void> MigrationQmp::migrate_cancel()
{
    return service_.cancel();
}

Result<void> MigrationQmp::migrate_continue(const qapi::MigrateContinueArgs& args)
{
    const std::string_view name = qapi::to_string(args.state);
    for (std::size_t i = 0; i < kStatusCount; ++i)
        if (to_string(static_cast<Status>(i)) == name)
            return service_.continue_from(static_cast<Status>(i));
    return Error(Errc::InvalidArgument, "unknown status");
}

Result<void> MigrationQmp::migrate(qapi::CommandContext& context, const qapi::MigrateArgs& args)
{
    const io::Address address = GW_TRY(main_address(args.uri, args.channels));
    if (args.resume.value_or(false))
        return Error(Errc::BadState, "Cannot resume if there is no paused migration");
    GW_TRY(service_.check_migrate());
    auto connect = connector(address, context, vm_.fds());
    if (!connect) {
        service_.migrate_failed(connect.error());
        return std::move(connect).error();
    }
    return service_.migrate(std::move(*connect));
}

Result<void> MigrationQmp::migrate_incoming(qapi::CommandContext& context,
                                            const qapi::MigrateIncomingArgs& args)
{
    GW_TRY(service_.check_incoming());
    const io::Address address = GW_TRY(main_address(args.uri, args.channels));
    Acceptor from = GW_TRY(acceptor(address, context, vm_.fds()));
    GW_TRY(
        service_.incoming(std::move(from.accept), args.exit_on_error.value_or(true), from.again));
    listening_ = std::move(from.listening);
    return ok();
}

// --- Not before postcopy works -------------------------------------------------------------------

Result<void> MigrationQmp::migrate_start_postcopy()
{
    return Error(Errc::BadState,
                 "Enable postcopy with migrate_set_capability before the start of migration");
}

Result<void> MigrationQmp::migrate_recover(qapi::CommandContext&, const qapi::MigrateRecoverArgs&)
{
    return Error(Errc::BadState, "Migrate recover can only be run when postcopy is paused.");
}

Result<void> MigrationQmp::migrate_pause()
{
    return Error(Errc::BadState, "migrate-pause is currently only supported during postcopy-active "
                                 "or postcopy-recover state");
}

// --- Known by name -------------------------------------------------------------------------------

Result<void> MigrationQmp::set_vcpu_dirty_limit(const qapi::SetVcpuDirtyLimitArgs&)
{
    return Error(Errc::Unsupported, "dirty page limit feature requires KVM with accelerator"
                                    " property 'dirty-ring-size' set'");
}

Result<void> MigrationQmp::cancel_vcpu_dirty_limit(const qapi::CancelVcpuDirtyLimitArgs&)
{
    return ok();
}

Result<std::vector<qapi::DirtyLimitInfo>> MigrationQmp::query_vcpu_dirty_limit()
{
    return std::vector<qapi::DirtyLimitInfo>();
}

Result<std::vector<qapi::MigrationThreadInfo>> MigrationQmp::query_migrationthreads()
{
    return std::vector<qapi::MigrationThreadInfo>();
}

// Without a network card there is nobody to announce.
Result<void> MigrationQmp::announce_self(const qapi::AnnounceParameters&)
{
    return ok();
}

// Both may come out of band, while whoever holds the machine lock hangs.
Result<void> MigrationQmp::yank(const qapi::YankArgs& args)
{
    std::vector<system::YankInstance> instances;
    for (const qapi::YankInstance& named : args.instances) {
        if (named.type == qapi::YankInstanceType::Migration)
            instances.push_back({.type = YankType::Migration});
        else if (const auto* chardev = std::get_if<qapi::YankInstanceChardev>(&named.u))
            instances.push_back({.type = YankType::Chardev, .id = chardev->id});
        else
            return Error(Errc::DeviceNotFound, "Instance not found");  // no block node has one
    }
    return vm_.yanks().yank(instances);
}

Result<std::vector<qapi::YankInstance>> MigrationQmp::query_yank()
{
    std::vector<qapi::YankInstance> all;
    for (const system::YankInstance& instance : vm_.yanks().list()) {
        qapi::YankInstance shown;
        shown.type = qapi::YankInstanceType::Migration;
        if (instance.type == YankType::Chardev) {
            shown.type = qapi::YankInstanceType::Chardev;
            shown.u = qapi::YankInstanceChardev{.id = instance.id};
        }
        all.push_back(std::move(shown));
    }
    return all;
}

}  // namespace godwit::migration
