// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The migration states of a VFIO device (version 2) and how to walk between them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace godwit::vfio_user_server {

enum class State : std::uint32_t {
    Error = 0,
    Stop = 1,
    Running = 2,
    StopCopy = 3,
    Resuming = 4,
    RunningP2p = 5,
    PreCopy = 6,
    PreCopyP2p = 7,
};
inline constexpr std::uint32_t kStates = 8;

/// "STOP_COPY"
std::string_view to_string(State state) noexcept;
std::optional<State> state_named(std::string_view name) noexcept;

/// Whether a device with these migration flags (kMigP2p, kMigPreCopy) has the state.
bool supported(State state, std::uint64_t flags) noexcept;
/// The first step from `now` towards `target`; nothing if the walk is not allowed.
/// Source   linux/vfio.h, "combination transitions" of VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE.
std::optional<State> next_state(State now, State target, std::uint64_t flags) noexcept;

/// The device does DMA, raises interrupts and changes its state.
constexpr bool runs(State state) noexcept
{
    return state == State::Running || state == State::RunningP2p || state == State::PreCopy ||
           state == State::PreCopyP2p;
}
/// Data may be read; one transfer serves a walk within the group.
constexpr bool saving(State state) noexcept
{
    return state == State::StopCopy || state == State::PreCopy || state == State::PreCopyP2p;
}

}  // namespace godwit::vfio_user_server
