// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The human monitor's twins of the migration commands.
#pragma once

#include "util/result.h"

#include <string_view>

namespace godwit::qapi {
struct MigrationForecast;
struct MigrationInfo;
}  // namespace godwit::qapi
namespace godwit::system {
class HmpArgs;
struct HmpContext;
class HmpOutput;
class HmpTable;
}  // namespace godwit::system

namespace godwit::migration {

class InsightQmp;
class MigrationQmp;
class MigrationService;

/// `commands` and `service` outlive the table.
void add_human_commands(system::HmpTable& table, MigrationQmp& commands, InsightQmp& insight,
                        MigrationService& service);

constexpr std::string_view on_off(bool on) noexcept
{
    return on ? "on" : "off";
}

/// Of the guest's memory, what need not be sent any more; rounded down.
int percent_done(const qapi::MigrationInfo& info);
/// Verdict, reason and scores.
void print_forecast(system::HmpOutput& out, const qapi::MigrationForecast& forecast);
/// What `info migrate` tells beyond QEMU's lines, the forecast included.
void print_progress_facts(system::HmpOutput& out, const qapi::MigrationInfo& info,
                          InsightQmp& insight);

/// Starts the check of `uri`, and without `detach` keeps the prompt back until its result is told.
Result<void> start_check(system::HmpContext& context, InsightQmp& insight,
                         const system::HmpArgs& args);

// By subject; all of them are part of add_human_commands().
void add_check_commands(system::HmpTable& table, InsightQmp& insight);
void add_move_commands(system::HmpTable& table, MigrationQmp& commands, InsightQmp& insight);
void add_settings_commands(system::HmpTable& table, MigrationQmp& commands,
                           MigrationService& service);
/// calc_dirty_rate, info dirty_rate.
void add_dirty_rate_commands(system::HmpTable& table, MigrationQmp& commands);

}  // namespace godwit::migration
