// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The two sections that every machine has.
#pragma once

#include "migration/stream/vmstate.h"

#include <array>
#include <cstdint>
#include <string_view>

namespace godwit::migration::stream {

/// `timer`, instance 0: the guest's clocks. Units: ns, but ticks for cpu_ticks_offset.
struct TimerSection {
    std::int64_t cpu_ticks_offset = 0;
    std::int64_t cpu_clock_offset = 0;
};

/// `globalstate`, instance 0: the run state just before the source stopped its guest.
struct GlobalStateSection {
    std::uint32_t size = 0;
    std::array<char, 32> runstate{};
    std::uint8_t has_vm_was_suspended = 1;
    std::uint8_t vm_was_suspended = 0;
    std::array<std::uint8_t, 66> unused{};

    /// `name` is a run state's name: shorter than 32 bytes.
    void set(std::string_view name);
    /// The name up to its first NUL; empty if there is none.
    std::string_view name() const;
};

inline constexpr auto kTimerSection =
    vmstate<TimerSection>("timer", {.current = 2, .oldest = 1},
                          field<&TimerSection::cpu_ticks_offset>("cpu_ticks_offset"), unused(8),
                          field<&TimerSection::cpu_clock_offset>("cpu_clock_offset").since(2));

inline constexpr auto kGlobalStateSection = vmstate<GlobalStateSection>(
    "globalstate", {}, field<&GlobalStateSection::size>("size"),
    buffer<&GlobalStateSection::runstate>("runstate"),
    field<&GlobalStateSection::has_vm_was_suspended>("has_vm_was_suspended"),
    field<&GlobalStateSection::vm_was_suspended>("vm_was_suspended"),
    buffer<&GlobalStateSection::unused>("unused"));

}  // namespace godwit::migration::stream
