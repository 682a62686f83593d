// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The commands of qapi/migration.json. They translate; what they mean is MigrationService's.
#pragma once

#include "io/address.h"
#include "migration/pacing/dirty_rate.h"
#include "migration/service.h"
#include "qapi/migration_commands.h"

#include <vector>

namespace godwit::system {
class Vm;
}

namespace godwit::migration {

/// Threads  the main thread with the machine lock; out-of-band commands from the monitor's.
class MigrationQmp final : public qapi::MigrationCommands {
public:
    MigrationQmp(system::Vm& vm, MigrationService& service);

    Result<qapi::MigrationInfo> query_migrate() override;
    Result<void> migrate_set_capabilities(const qapi::MigrateSetCapabilitiesArgs& args) override;
    Result<std::vector<qapi::MigrationCapabilityStatus>> query_migrate_capabilities() override;
    Result<void> migrate_set_parameters(const qapi::MigrateSetParameters& args) override;
    Result<qapi::MigrationParameters> query_migrate_parameters() override;
    Result<void> migrate_start_postcopy() override;
    Result<void> migrate_cancel() override;
    Result<void> migrate_continue(const qapi::MigrateContinueArgs& args) override;
    Result<void> migrate(qapi::CommandContext& context, const qapi::MigrateArgs& args) override;
    Result<void> migrate_incoming(qapi::CommandContext& context,
                                  const qapi::MigrateIncomingArgs& args) override;
    Result<void> migrate_recover(qapi::CommandContext& context,
                                 const qapi::MigrateRecoverArgs& args) override;
    Result<void> migrate_pause() override;
    Result<void> calc_dirty_rate(const qapi::CalcDirtyRateArgs& args) override;
    Result<qapi::DirtyRateInfo> query_dirty_rate(const qapi::QueryDirtyRateArgs& args) override;
    Result<void> set_vcpu_dirty_limit(const qapi::SetVcpuDirtyLimitArgs& args) override;
    Result<void> cancel_vcpu_dirty_limit(const qapi::CancelVcpuDirtyLimitArgs& args) override;
    Result<std::vector<qapi::DirtyLimitInfo>> query_vcpu_dirty_limit() override;
    Result<std::vector<qapi::MigrationThreadInfo>> query_migrationthreads() override;
    Result<void> announce_self(const qapi::AnnounceParameters& args) override;
    Result<void> yank(const qapi::YankArgs& args) override;
    Result<std::vector<qapi::YankInstance>> query_yank() override;

private:
    system::Vm& vm_;
    MigrationService& service_;
    std::vector<io::SocketAddress> listening_;
    SteadyClock clock_;
    DirtyRate dirty_rate_;
};

}  // namespace godwit::migration
