// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The numbers of an attempt as QMP knows them.
#pragma once

#include "migration/statistics.h"
#include "qapi/migration_types.h"

#include <optional>

namespace godwit::migration {

qapi::MigrationStats stats_of(const Statistics& s);
qapi::MigrationDowntime downtime_of(const Statistics& s);
qapi::MigrationForecast to_qapi(const Forecast& forecast);
/// Nothing before the first verdict.
std::optional<qapi::MigrationForecast> forecast_of(const Statistics& s);

}  // namespace godwit::migration
