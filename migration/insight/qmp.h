// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The commands of qapi/migration-insight.json. They translate.
#pragma once

#include "migration/insight/checker.h"
#include "migration/service.h"
#include "qapi/migration_insight_commands.h"

namespace godwit::system {
class Vm;
}

namespace godwit::migration {

/// Threads  the main thread with the machine lock.
class InsightQmp final : public qapi::MigrationInsightCommands {
public:
    InsightQmp(system::Vm& vm, MigrationService& service);

    Result<std::vector<qapi::MigrationTimeline>>
    query_migrate_timeline(const qapi::QueryMigrateTimelineArgs& args) override;
    Result<void> migrate_check(qapi::CommandContext& context,
                               const qapi::MigrateCheckArgs& args) override;
    Result<qapi::MigrationCheckInfo> query_migrate_check() override;

private:
    system::Vm& vm_;
    MigrationService& service_;
    Checker checker_;
};

}  // namespace godwit::migration
