// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What migrations leave in the flight recorder.
#pragma once

#include "util/flight_recorder.h"

namespace godwit::migration {

inline constexpr TraceEvent<std::string_view, std::string_view> kTraceStatus{"migration_status",
                                                                             {"from", "to"}};
inline constexpr TraceEvent<std::uint64_t, std::uint64_t, std::uint64_t> kTraceDirtySync{
    "migration_dirty_sync", {"count", "fresh_pages", "remaining_bytes"}};
inline constexpr TraceEvent<std::string_view, std::int64_t, std::uint64_t> kTraceSwitchoverPart{
    "migration_switchover_part", {"part", "ns", "bytes"}};
inline constexpr TraceEvent<std::string_view, std::uint32_t, std::uint64_t> kTraceSectionLoaded{
    "migration_section_loaded", {"section", "instance", "position"}};
inline constexpr TraceEvent<std::string_view, std::uint64_t, std::uint64_t, std::uint64_t>
    kTraceVerdict{"migration_verdict", {"verdict", "pass", "wire_rate", "dirty_rate"}};

/// All of them, for `-trace help`.
inline constexpr const TraceEventInfo* kTraceEvents[] = {
    &kTraceStatus, &kTraceDirtySync, &kTraceSwitchoverPart, &kTraceSectionLoaded, &kTraceVerdict};

}  // namespace godwit::migration
