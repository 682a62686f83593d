// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The human monitor's twins of the migration commands.
#pragma once

namespace godwit::system {
class HmpTable;
}

namespace godwit::migration {

class InsightQmp;
class MigrationQmp;
class MigrationService;

/// `commands` and `service` outlive the table.
void add_human_commands(system::HmpTable& table, MigrationQmp& commands, InsightQmp& insight,
                        MigrationService& service);

/// calc_dirty_rate, info dirty_rate.
void add_dirty_rate_commands(system::HmpTable& table, MigrationQmp& commands);

}  // namespace godwit::migration
