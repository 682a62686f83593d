// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Capabilities and parameters as QMP knows them.
#include "migration/qmp.h"

namespace godwit::migration {
namespace {

template <class To, class From>
std::optional<To> named(const std::optional<From>& value)
{
    if (!value)
        return std::nullopt;
    return static_cast<To>(static_cast<unsigned>(*value));
}

std::optional<std::string> text(const std::optional<qapi::StrOrNull>& value)
{
    if (!value)
        return std::nullopt;
    const auto* string = std::get_if<std::string>(&value->u);
    return string != nullptr ? *string : std::string();
}

}  // namespace

static_assert(qapi::kEnumCount<qapi::MigrationCapability> == kCapabilityCount);
static_assert(qapi::kEnumCount<qapi::MigrationStatus> == kStatusCount);

Result<void> MigrationQmp::migrate_set_capabilities(const qapi::MigrateSetCapabilitiesArgs& args)
{
    std::vector<CapabilityChange> changes;
    for (const qapi::MigrationCapabilityStatus& c : args.capabilities)
        changes.push_back({static_cast<Capability>(static_cast<unsigned>(c.capability)), c.state});
    return service_.set_capabilities(changes);
}

Result<std::vector<qapi::MigrationCapabilityStatus>> MigrationQmp::query_migrate_capabilities()
{
    std::vector<qapi::MigrationCapabilityStatus> all;
    for (std::size_t i = 0; i < kCapabilityCount; ++i)
        all.push_back({.capability = static_cast<qapi::MigrationCapability>(i),
                       .state = service_.capabilities().has(static_cast<Capability>(i))});
    return all;
}

Result<void> MigrationQmp::migrate_set_parameters(const qapi::MigrateSetParameters& a)
{
    ParameterChanges c;
    c.announce_initial_ms = a.announce_initial;
    c.announce_max_ms = a.announce_max;
    c.announce_rounds = a.announce_rounds;
    c.announce_step_ms = a.announce_step;
    c.throttle_trigger_threshold = a.throttle_trigger_threshold;
    c.cpu_throttle_initial = a.cpu_throttle_initial;
    c.cpu_throttle_increment = a.cpu_throttle_increment;
    c.cpu_throttle_tailslow = a.cpu_throttle_tailslow;
    c.max_cpu_throttle = a.max_cpu_throttle;
    c.tls_creds = text(a.tls_creds);
    c.tls_hostname = text(a.tls_hostname);
    c.tls_authz = text(a.tls_authz);
    c.max_bandwidth = a.max_bandwidth;
    c.avail_switchover_bandwidth = a.avail_switchover_bandwidth;
    c.downtime_limit_ms = a.downtime_limit;
    c.x_checkpoint_delay_ms = a.x_checkpoint_delay;
    c.multifd_channels = a.multifd_channels;
    c.multifd_compression = named<MultifdCompression>(a.multifd_compression);
    c.multifd_zlib_level = a.multifd_zlib_level;
    c.multifd_zstd_level = a.multifd_zstd_level;
    c.multifd_qatzip_level = a.multifd_qatzip_level;
    c.xbzrle_cache_size = a.xbzrle_cache_size;
    c.max_postcopy_bandwidth = a.max_postcopy_bandwidth;
    c.x_vcpu_dirty_limit_period_ms = a.x_vcpu_dirty_limit_period;
    c.vcpu_dirty_limit = a.vcpu_dirty_limit;
    c.mode = named<Mode>(a.mode);
    c.zero_page_detection = named<ZeroPageDetection>(a.zero_page_detection);
    c.direct_io = a.direct_io;
    if (a.block_bitmap_mapping)
        return Error(Errc::Unsupported,
                     "Parameter 'block-bitmap-mapping' is not supported by this version");
    return service_.set_parameters(c);
}

Result<qapi::MigrationParameters> MigrationQmp::query_migrate_parameters()
{
    const Parameters& p = service_.parameters();
    qapi::MigrationParameters a;
    a.announce_initial = p.announce_initial_ms;
    a.announce_max = p.announce_max_ms;
    a.announce_rounds = p.announce_rounds;
    a.announce_step = p.announce_step_ms;
    a.throttle_trigger_threshold = p.throttle_trigger_threshold;
    a.cpu_throttle_initial = p.cpu_throttle_initial;
    a.cpu_throttle_increment = p.cpu_throttle_increment;
    a.cpu_throttle_tailslow = p.cpu_throttle_tailslow;
    a.max_cpu_throttle = p.max_cpu_throttle;
    a.tls_creds = p.tls_creds;
    a.tls_hostname = p.tls_hostname;
    a.tls_authz = p.tls_authz;
    a.max_bandwidth = p.max_bandwidth;
    a.avail_switchover_bandwidth = p.avail_switchover_bandwidth;
    a.downtime_limit = p.downtime_limit_ms;
    a.x_checkpoint_delay = p.x_checkpoint_delay_ms;
    a.multifd_channels = p.multifd_channels;
    a.multifd_compression = static_cast<qapi::MultiFDCompression>(p.multifd_compression);
    a.multifd_zlib_level = p.multifd_zlib_level;
    a.multifd_zstd_level = p.multifd_zstd_level;
    a.multifd_qatzip_level = p.multifd_qatzip_level;
    a.xbzrle_cache_size = p.xbzrle_cache_size;
    a.max_postcopy_bandwidth = p.max_postcopy_bandwidth;
    a.x_vcpu_dirty_limit_period = p.x_vcpu_dirty_limit_period_ms;
    a.vcpu_dirty_limit = p.vcpu_dirty_limit;
    a.mode = static_cast<qapi::MigMode>(p.mode);
    a.zero_page_detection = static_cast<qapi::ZeroPageDetection>(p.zero_page_detection);
    a.direct_io = p.direct_io;
    return a;
}

}  // namespace godwit::migration
