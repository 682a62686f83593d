// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/states.h"

#include "tests/devices/vfio-user-server/protocol.h"

#include <array>

namespace godwit::vfio_user_server {
namespace {

constexpr std::array<std::string_view, kStates> kNames{
    "ERROR", "STOP", "RUNNING", "STOP_COPY", "RESUMING", "RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P",
};

constexpr auto S = State::Stop;
constexpr auto R = State::Running;
constexpr auto C = State::StopCopy;
constexpr auto L = State::Resuming;
constexpr auto r = State::RunningP2p;
constexpr auto P = State::PreCopy;
constexpr auto p = State::PreCopyP2p;
constexpr auto x = State::Error;

/// [now][target] in the numbering of State.
constexpr State kNext[kStates][kStates] = {
    /* ERROR        */ {x, x, x, x, x, x, x, x},
    /* STOP         */ {x, S, r, C, L, r, r, r},
    /* RUNNING      */ {x, r, R, r, r, r, P, r},
    /* STOP_COPY    */ {x, S, S, C, S, S, x, x},
    /* RESUMING     */ {x, S, S, S, L, S, S, S},
    /* RUNNING_P2P  */ {x, S, R, S, S, r, R, p},
    /* PRE_COPY     */ {x, R, R, p, R, R, P, p},
    /* PRE_COPY_P2P */ {x, r, r, C, r, r, P, p},
};

}  // namespace

std::string_view to_string(State state) noexcept
{
    return kNames[static_cast<std::uint32_t>(state) % kStates];
}

std::optional<State> state_named(std::string_view name) noexcept
{
    for (std::uint32_t i = 0; i < kStates; ++i)
        if (kNames[i] == name)
            return static_cast<State>(i);
    return std::nullopt;
}

bool supported(State state, std::uint64_t flags) noexcept
{
    switch (state) {
    case State::Error:
        return false;
    case State::RunningP2p:
        return (flags & kMigP2p) != 0;
    case State::PreCopy:
        return (flags & kMigPreCopy) != 0;
    case State::PreCopyP2p:
        return (flags & kMigP2p) != 0 && (flags & kMigPreCopy) != 0;
    default:
        return true;
    }
}

std::optional<State> next_state(State now, State target, std::uint64_t flags) noexcept
{
    if (now == State::Error || !supported(target, flags))
        return std::nullopt;
    State hop = now;
    do {
        hop = kNext[static_cast<std::uint32_t>(hop)][static_cast<std::uint32_t>(target)];
        if (hop == State::Error)
            return std::nullopt;
    } while (!supported(hop, flags));
    return hop;
}

}  // namespace godwit::vfio_user_server
