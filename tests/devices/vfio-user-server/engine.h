// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The DMA engine: writes numbered records into a ring in guest memory, at a set rate, and can tell
// from the ring alone whether any was lost, torn or repeated.
#pragma once

#include "tests/devices/vfio-user-server/guest_memory.h"

#include <cstdint>

namespace godwit::vfio_user_server {

/// What stands in the ring: slot = sequence % slots. The checksum covers what is before it.
struct DmaRecord {
    std::uint32_t magic = 0;
    std::uint32_t device = 0;
    std::uint64_t sequence = 0;
    std::uint64_t address = 0;    ///< its own
    std::uint64_t words[4] = {};  ///< from device and sequence
    std::uint64_t checksum = 0;
};
static_assert(sizeof(DmaRecord) == 64);
inline constexpr std::uint32_t kRecordMagic = 0x43525747;  // "GWRC"

/// The engine was started over the control socket: bus mastering does not matter.
inline constexpr std::uint32_t kForced = 2;

/// The engine's registers; they travel with the device.
struct EngineState {
    std::uint64_t ring = 0;     ///< guest address
    std::uint32_t slots = 0;    ///< records the ring holds
    std::uint32_t rate = 0;     ///< records a second
    std::uint32_t device = 0;   ///< whose records they are
    std::uint32_t enabled = 0;  ///< 1 by the guest, kForced by us
    std::uint64_t next = 0;     ///< sequence of the next record
    std::uint64_t missed = 0;   ///< records that could not be written: no memory there
};

struct RingReport {
    std::uint64_t checked = 0;
    std::uint64_t lost = 0;   ///< another, older record or none stands in the slot
    std::uint64_t torn = 0;   ///< the checksum is wrong
    std::uint64_t alien = 0;  ///< newer than the engine knows, or of another device
    bool reachable = true;
    bool right() const noexcept { return reachable && lost + torn + alien == 0; }
};

DmaRecord make_record(const EngineState& state, std::uint64_t sequence);

/// Writes `count` records. Returns how many went out; a missing window counts as missed and writes
/// none.
std::uint64_t write_records(EngineState& state, GuestMemory& memory, std::uint64_t count);

/// Compares the ring with what the engine wrote last.
RingReport check_ring(const EngineState& state, const GuestMemory& memory);

}  // namespace godwit::vfio_user_server
