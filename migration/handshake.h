// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How two Godwits know each other without disturbing a QEMU: by values that a QEMU only echoes.
// docs/migration/handshake.md.
#pragma once

#include <cstdint>

namespace godwit::migration {

/// The value of the first PING. QEMU sends 1 and echoes any.
inline constexpr std::uint32_t kQemuPing = 1;
inline constexpr std::uint32_t kGodwitPing = 0x47577031;  // "GWp1"
/// A Godwit's extra PONG to a Godwit's PING, behind the echo.
inline constexpr std::uint32_t kGodwitPong = 0x47577131;  // "GWq1"
/// Source: I know you, wait for my go. The value of a PING before the end mark, sent to a Godwit
/// only.
inline constexpr std::uint32_t kGodwitStay = 0x47577334;  // "GWs4"
/// Destination: everything is loaded and checked; waits for kGodwitGo.
inline constexpr std::uint32_t kGodwitReady = 0x47577232;  // "GWr2"
/// Source: the guest is yours. The value of a PING behind the description.
inline constexpr std::uint32_t kGodwitGo = 0x47576733;  // "GWg3"
/// Source, to a destination that gave a ticket: I know what became of the guest. The value of the
/// last PING, behind SHUT.
inline constexpr std::uint32_t kGodwitThanks = 0x47576b35;  // "GWk5"
/// Source: has all this arrived? With a number in the last byte; anybody echoes it.
inline constexpr std::uint32_t kArrived = 0x47576100;  // "GWa" and the number
inline constexpr std::uint32_t kArrivedMask = 0xffffff00;
/// Source: what does your clock say? With a number in the last byte; a Godwit answers with a
/// message of its own (GodwitClock), and then tells its timeline (GodwitTimeline) before SHUT.
inline constexpr std::uint32_t kGodwitClock = 0x47576300;  // "GWc" and the number
inline constexpr std::uint32_t kGodwitClockMask = 0xffffff00;

}  // namespace godwit::migration
