// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Guest memory as KVM sees it: one slot a section of the flat view, and the kernel's dirty log.
#pragma once

#include "accel/kvm/dirty_ring.h"
#include "accel/kvm/kvm_machine.h"
#include "accel/kvm/run_gate.h"
#include "system/memory_listener.h"
#include "system/populated_pages.h"
#include "util/flight_recorder.h"
#include "util/log.h"
#include "util/thread.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace godwit::accel::kvm {

/// Turns RAM, ROM and ROM devices of an address space into memory slots.
///
/// Shape    whole pages only: what a section has before its first and after its last page border is
///          reached through exits.
/// Order    slots that go, go while no vCPU is in the guest (RunGate); what the guest wrote to them
///          is in their blocks' DirtyLog before.
/// Threads  listener calls with the machine lock; harvest() from any thread.
/// Errors   region_add(): Unsupported when KVM has no slot left; what the kernel says otherwise.
///          log_global_start(): what the kernel says, undone.
/// Source   Linux, Documentation/virt/kvm/api.rst: KVM_SET_USER_MEMORY_REGION, KVM_GET_DIRTY_LOG,
///          KVM_CLEAR_DIRTY_LOG.
class MemorySlots : public system::MemoryListener {
public:
    /// Each sync leaves "kvm_dirty_sync" in `recorder`.
    MemorySlots(const KvmMachine& machine, RunGate& gate, Log log, FlightRecorder& recorder);
    ~MemorySlots() override;

    std::string_view name() const noexcept override { return "kvm-memory"; }
    void begin() override {}
    void commit() override;
    Result<void> region_add(const system::MemorySection& section) override;
    void region_del(const system::MemorySection& section) override;
    void log_start(const system::MemorySection& section) override;
    void log_stop(const system::MemorySection& section) override;
    void log_sync(const system::MemorySection& section) override;
    bool has_global_sync() const override { return machine_.dirty_ring_entries() != 0; }
    void log_sync_global(bool last) override;
    void log_clear(const system::MemorySection& section) override;
    Result<void> log_global_start() override;
    void log_global_stop() override;

    /// A vCPU's dirty ring, with a ring log only; its number. Before the vCPU runs.
    std::size_t add_ring(DirtyRing ring);
    /// Puts what the rings hold into the blocks' DirtyLog.
    void harvest();
    /// The same, from a vCPU that KVM does not let run because its ring is full.
    void harvest_full(std::size_t ring);
    std::size_t slot_count() const;

private:
    struct Slot {
        std::uint32_t id = 0;
        system::GuestAddr start = 0;
        std::uint64_t size = 0;
        std::shared_ptr<system::RamBlock> block;
        std::uint64_t block_offset = 0;
        bool readonly = false;
        bool section_logged = false;
        bool logging = false;
        std::vector<std::uint64_t> reported;  ///< dirty at the last sync and not cleared since
        /// Chunks of the block, from the slot's first, that were not re-armed since the log was
        /// switched on; empty if there is none.
        std::vector<bool> virgin;
        std::vector<bool> touched;  ///< of these, those that had something at the last sync
    };
    using Slots = std::map<system::GuestAddr, Slot>;

    Result<void> apply(const Slot& slot, std::uint64_t size, bool logging);
    Result<void> update_logging(Slot& slot);
    void sync(Slot& slot);
    void clear(Slot& slot, std::uint64_t first, std::uint64_t count);
    void begin_log(Slot& slot);
    void mark_reported(Slot& slot, std::uint64_t first, std::uint64_t count);
    void mark_populated(Slot& slot, std::uint64_t first, std::uint64_t count);
    static std::vector<system::PageRun> adopt_virgin(Slot& slot, std::uint64_t first,
                                                     std::uint64_t count);
    std::vector<system::PageRun> populated(const Slot& slot, system::PageRun pages) const;
    void harvest_locked();
    /// Lets the kernel protect again what was handed back; how many entries it did.
    std::uint32_t reset_rings(std::uint32_t handed_back);
    void assume_all_dirty();
    void reap(const std::stop_token& stop);
    void for_slots(const system::MemorySection& section, const std::function<void(Slot&)>& f);

    const KvmMachine& machine_;
    RunGate& gate_;
    Log log_;
    FlightRecorder& recorder_;
    mutable std::mutex mutex_;  // guards all below; taken after the machine lock
    Slots slots_;
    std::vector<std::uint32_t> free_ids_;
    std::uint32_t next_id_ = 0;
    std::uint32_t max_slots_;
    bool global_log_ = false;
    std::vector<DirtyRing> rings_;
    std::optional<system::PopulatedPages> populated_;  ///< while a log is on
    bool overrun_told_ = false;
    NamedThread reaper_;  ///< while all is logged in rings: they fill up within milliseconds
};

}  // namespace godwit::accel::kvm
