// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The members of a MigrationService.
#pragma once

#include "migration/incoming.h"
#include "migration/insight/timeline.h"
#include "migration/outgoing.h"
#include "migration/ram/ram_format.h"
#include "migration/service.h"

namespace godwit::migration {

struct ServiceState {
    explicit ServiceState(Environment environment)
        : env(std::move(environment)), limits(parameters), timelines(env.clock), ram(env)
    {}

    Environment env;
    Capabilities capabilities;
    Parameters parameters;
    LiveLimits limits;
    Blockers blockers;
    Notifiers notifiers;
    StatusTracker source{Side::Source};
    StatusTracker destination{Side::Destination};
    Timelines timelines;
    bool dirty_ring = false;
    bool ignore_unknown_sections = false;
    bool suppress_description = false;

    stream::TimerSection timer;
    stream::GlobalStateSection global_state;
    RamSection ram;
    std::vector<Registration> sections;
    std::vector<Registration> observers;

    std::string unopened;           ///< why the last attempt could not open its address
    bool source_is_latest = false;  ///< which side query-migrate talks about
    bool incoming_expected = false;
    bool incoming_started = false;

    // The last attempt of each side stays until the next one begins, for its numbers.
    std::unique_ptr<Outgoing> outgoing;
    std::unique_ptr<Incoming> incoming;
};

}  // namespace godwit::migration
