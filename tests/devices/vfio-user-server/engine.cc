// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/engine.h"

#include "tests/devices/vfio-user-server/bulk_state.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>

namespace godwit::vfio_user_server {
namespace {

std::uint64_t sum_of(const DmaRecord& record)
{
    return checksum(std::as_bytes(std::span(&record, 1)).first(offsetof(DmaRecord, checksum)));
}

}  // namespace

DmaRecord make_record(const EngineState& state, std::uint64_t sequence)
{
    DmaRecord record{.magic = kRecordMagic,
                     .device = state.device,
                     .sequence = sequence,
                     .address = state.ring + sequence % state.slots * sizeof(DmaRecord)};
    for (std::uint64_t i = 0; i < std::size(record.words); ++i)
        record.words[i] = mix(sequence * std::size(record.words) + i + state.device);
    record.checksum = sum_of(record);
    return record;
}

std::uint64_t write_records(EngineState& state, GuestMemory& memory, std::uint64_t count)
{
    if (state.slots == 0)
        return 0;
    for (std::uint64_t n = 0; n < count; ++n) {
        const DmaRecord record = make_record(state, state.next);
        std::byte* slot = memory.find(record.address, sizeof record, true);
        if (slot == nullptr) {
            state.missed += count - n;
            return n;
        }
        std::memcpy(slot, &record, sizeof record);
        // A reader of the log must find the record in memory once it finds the mark.
        std::atomic_thread_fence(std::memory_order_release);
        memory.log().mark(record.address, sizeof record);
        ++state.next;
    }
    return count;
}

RingReport check_ring(const EngineState& state, const GuestMemory& memory)
{
    RingReport report;
    if (state.slots == 0)
        return report;
    const std::uint64_t first = state.next - std::min<std::uint64_t>(state.next, state.slots);
    for (std::uint64_t sequence = first; sequence < state.next; ++sequence) {
        const std::uint64_t at = state.ring + sequence % state.slots * sizeof(DmaRecord);
        const std::byte* slot = memory.find(at, sizeof(DmaRecord), false);
        if (slot == nullptr) {
            report.reachable = false;
            return report;
        }
        DmaRecord record;
        std::memcpy(&record, slot, sizeof record);
        ++report.checked;
        if (record.magic != kRecordMagic)
            ++report.lost;
        else if (record.checksum != sum_of(record))
            ++report.torn;
        else if (record.device != state.device || record.sequence > sequence)
            ++report.alien;
        else if (record.sequence < sequence)
            ++report.lost;
    }
    return report;
}

}  // namespace godwit::vfio_user_server
