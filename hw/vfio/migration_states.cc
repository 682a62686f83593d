// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/migration_states.h"

#include <array>

namespace godwit::hw::vfio {

namespace {

using enum MigrationState;

constexpr std::size_t kStates = 8;
using Table = std::array<std::array<MigrationState, kStates>, kStates>;

// [from][to] in the order of MigrationState; Error: no way. A step to a state that the device does
// not have is looked up again from there.
constexpr Table kV2{{
    //  Error  Stop        Running     StopCopy    Resuming    RunningP2p  PreCopy     PreCopyP2p
    {{Error, Error, Error, Error, Error, Error, Error, Error}},
    {{Error, Stop, RunningP2p, StopCopy, Resuming, RunningP2p, RunningP2p, RunningP2p}},
    {{Error, RunningP2p, Running, RunningP2p, RunningP2p, RunningP2p, PreCopy, RunningP2p}},
    {{Error, Stop, Stop, StopCopy, Stop, Stop, Error, Error}},
    {{Error, Stop, Stop, Stop, Resuming, Stop, Stop, Stop}},
    {{Error, Stop, Running, Stop, Stop, RunningP2p, Running, PreCopyP2p}},
    {{Error, Running, Running, PreCopyP2p, Running, Running, PreCopy, PreCopyP2p}},
    {{Error, RunningP2p, RunningP2p, StopCopy, RunningP2p, RunningP2p, PreCopy, PreCopyP2p}},
}};

constexpr Table kV1{{
    {{Error, Error, Error, Error, Error, Error, Error, Error}},
    {{Error, Stop, Running, StopCopy, Running, Error, Running, Error}},
    {{Error, Stop, Running, StopCopy, Resuming, Error, PreCopy, Error}},
    {{Error, Stop, Running, StopCopy, Stop, Error, Error, Error}},
    {{Error, Running, Running, Running, Resuming, Error, Running, Error}},
    {{Error, Error, Error, Error, Error, Error, Error, Error}},
    {{Error, StopCopy, Running, StopCopy, Running, Error, PreCopy, Error}},
    {{Error, Error, Error, Error, Error, Error, Error, Error}},
}};

std::optional<MigrationState> next_in(const Table& table, StateSet states, MigrationState from,
                                      MigrationState to) noexcept
{
    const auto at = static_cast<std::size_t>(to);
    if (at >= kStates || static_cast<std::size_t>(from) >= kStates || !states.has(to))
        return std::nullopt;
    MigrationState hop = from;
    do
        hop = table[static_cast<std::size_t>(hop)][at];
    while (hop != Error && !states.has(hop));
    if (hop == Error)
        return std::nullopt;
    return hop;
}

struct Names {
    std::string_view upper;
    std::string_view lower;
};
constexpr std::array<Names, kStates> kNames{{
    {"ERROR", "error"},
    {"STOP", "stop"},
    {"RUNNING", "running"},
    {"STOP_COPY", "stop-copy"},
    {"RESUMING", "resuming"},
    {"RUNNING_P2P", "running-p2p"},
    {"PRE_COPY", "pre-copy"},
    {"PRE_COPY_P2P", "pre-copy-p2p"},
}};

}  // namespace

std::optional<MigrationState> next_state_v2(StateSet states, MigrationState from,
                                            MigrationState to) noexcept
{
    return next_in(kV2, states, from, to);
}

std::optional<MigrationState> next_state_v1(StateSet states, MigrationState from,
                                            MigrationState to) noexcept
{
    return next_in(kV1, {.p2p = false, .pre_copy = states.pre_copy}, from, to);
}

std::optional<std::vector<MigrationState>> walk(NextState next, StateSet states,
                                                MigrationState from, MigrationState to)
{
    std::vector<MigrationState> steps;
    while (from != to) {
        const auto hop = next(states, from, to);
        if (!hop || steps.size() > kStates)
            return std::nullopt;
        from = *hop;
        steps.push_back(from);
    }
    return steps;
}

std::string_view to_string(MigrationState state) noexcept
{
    return kNames[static_cast<std::size_t>(state) % kStates].upper;
}

std::string_view event_name(MigrationState state) noexcept
{
    return kNames[static_cast<std::size_t>(state) % kStates].lower;
}

}  // namespace godwit::hw::vfio
