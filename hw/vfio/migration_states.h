// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The states of a device that migrates, and which way leads from one to another, as tables. Version
// 2's state numbers are used for both versions of the interface.
#pragma once

#include "hw/vfio/abi.h"

#include <optional>
#include <string_view>
#include <vector>

namespace godwit::hw::vfio {

/// Which of the optional states a device has.
struct StateSet {
    bool p2p = false;
    bool pre_copy = false;

    constexpr bool has(MigrationState state) const noexcept
    {
        switch (state) {
        case MigrationState::Error:
            return false;
        case MigrationState::RunningP2p:
            return p2p;
        case MigrationState::PreCopy:
            return pre_copy;
        case MigrationState::PreCopyP2p:
            return p2p && pre_copy;
        default:
            return true;
        }
    }
    bool operator==(const StateSet&) const = default;
};

/// The states in which data can be read: PRE_COPY, PRE_COPY_P2P, STOP_COPY.
constexpr bool is_saving(MigrationState state) noexcept
{
    return state == MigrationState::PreCopy || state == MigrationState::PreCopyP2p ||
           state == MigrationState::StopCopy;
}
constexpr bool is_pre_copy(MigrationState state) noexcept
{
    return state == MigrationState::PreCopy || state == MigrationState::PreCopyP2p;
}
/// The device does DMA and raises interrupts.
constexpr bool is_running(MigrationState state) noexcept
{
    return state == MigrationState::Running || state == MigrationState::RunningP2p ||
           is_pre_copy(state);
}

/// The next step from `from` towards `to`; nothing where no way leads there.
/// Source   Linux, include/uapi/linux/vfio.h, "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE".
using NextState = std::optional<MigrationState> (*)(StateSet states, MigrationState from,
                                                    MigrationState to) noexcept;
std::optional<MigrationState> next_state_v2(StateSet states, MigrationState from,
                                            MigrationState to) noexcept;
/// Version 1 has no P2P states, and RESUMING ends in RUNNING.
std::optional<MigrationState> next_state_v1(StateSet states, MigrationState from,
                                            MigrationState to) noexcept;

/// All steps of a walk, `to` included; nothing where no way leads there.
std::optional<std::vector<MigrationState>> walk(NextState next, StateSet states,
                                                MigrationState from, MigrationState to);

/// "STOP_COPY".
std::string_view to_string(MigrationState state) noexcept;
/// "stop-copy", as events have it; "error" for ERROR.
std::string_view event_name(MigrationState state) noexcept;

}  // namespace godwit::hw::vfio
