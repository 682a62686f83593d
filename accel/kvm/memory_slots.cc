// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/memory_slots.h"

#include "accel/kvm/trace.h"

#include <algorithm>
#include <condition_variable>
#include <fmt/format.h>

namespace godwit::accel::kvm {
namespace {

using system::kPageBits;
using system::kPageSize;

/// The whole pages of a section; size 0 if there are none.
system::MemorySection whole_pages(const system::MemorySection& section)
{
    const std::uint64_t start = (section.start + kPageSize - 1) & ~(kPageSize - 1);
    const std::uint64_t end = (section.start + section.size) & ~(kPageSize - 1);
    system::MemorySection pages = section;
    pages.size = 0;
    if (start >= end || start < section.start)
        return pages;
    return section.part(start, end - start);
}

bool wanted(const system::MemorySection& section)
{
    return section.kind != system::RegionKind::Io && section.block != nullptr;
}

}  // namespace

MemorySlots::MemorySlots(const KvmMachine& machine, RunGate& gate, Log log,
                         FlightRecorder& recorder)
    : machine_(machine), gate_(gate), log_(std::move(log)), recorder_(recorder)
{
    const int slots = machine.extension(KVM_CAP_NR_MEMSLOTS);
    max_slots_ = slots > 0 ? static_cast<std::uint32_t>(slots) : 32;
}

MemorySlots::~MemorySlots() = default;

Result<void> MemorySlots::apply(const Slot& slot, std::uint64_t size, bool logging)
{
    kvm_userspace_memory_region region{};
    region.slot = slot.id;
    region.flags = (slot.readonly ? KVM_MEM_READONLY : 0) | (logging ? KVM_MEM_LOG_DIRTY_PAGES : 0);
    region.guest_phys_addr = slot.start;
    region.memory_size = size;
    region.userspace_addr =
        reinterpret_cast<std::uintptr_t>(slot.block->host()) + slot.block_offset;
    return checked(GW_KVM(machine_.fd(), KVM_SET_USER_MEMORY_REGION, &region),
                   fmt::format("memory slot {} at {:#x} + {:#x} ('{}')", slot.id, slot.start,
                               slot.size, slot.block->id()));
}

Result<void> MemorySlots::region_add(const system::MemorySection& section)
{
    if (!wanted(section))
        return {};
    const system::MemorySection pages = whole_pages(section);
    if (pages.size == 0)
        return {};
    std::lock_guard guard(mutex_);
    if (slots_.size() >= max_slots_)
        return Error(Errc::Unsupported,
                     fmt::format("no free memory slot for '{}' at {:#x}: KVM has {}", section.name,
                                 section.start, max_slots_));
    Slot slot;
    if (free_ids_.empty()) {
        slot.id = next_id_++;
    } else {
        slot.id = free_ids_.back();
        free_ids_.pop_back();
    }
    slot.start = pages.start;
    slot.size = pages.size;
    slot.block = pages.block->shared_from_this();
    slot.block_offset = pages.block_offset;
    slot.readonly = pages.readonly() || !pages.block->writable();
    slot.logging = global_log_ && !slot.readonly;
    if (auto done = apply(slot, slot.size, slot.logging); !done) {
        free_ids_.push_back(slot.id);
        return done;
    }
    begin_log(slot);
    slots_.emplace(slot.start, std::move(slot));
    return {};
}

void MemorySlots::region_del(const system::MemorySection& section)
{
    if (!wanted(section))
        return;
    const system::MemorySection pages = whole_pages(section);
    if (pages.size == 0)
        return;
    if (!gate_.closed())
        gate_.close();
    std::lock_guard guard(mutex_);
    const auto found = slots_.find(pages.start);
    if (found == slots_.end())
        return;
    Slot& slot = found->second;
    if (slot.logging)
        sync(slot);
    if (auto done = apply(slot, 0, false); !done)
        log_.report(done.error());
    free_ids_.push_back(slot.id);
    slots_.erase(found);
}

void MemorySlots::commit()
{
    if (gate_.closed())
        gate_.open();
}

Result<void> MemorySlots::update_logging(Slot& slot)
{
    const bool on = (global_log_ || slot.section_logged) && !slot.readonly;
    if (on == slot.logging)
        return {};
    if (!on)
        sync(slot);
    GW_TRY(apply(slot, slot.size, on));
    slot.logging = on;
    begin_log(slot);
    return {};
}

void MemorySlots::for_slots(const system::MemorySection& section,
                            const std::function<void(Slot&)>& f)
{
    if (!wanted(section))
        return;
    std::lock_guard guard(mutex_);
    auto it = slots_.upper_bound(section.start);
    if (it != slots_.begin())
        --it;
    for (; it != slots_.end() && it->second.start < section.start + section.size; ++it)
        if (it->second.start + it->second.size > section.start)
            f(it->second);
}

void MemorySlots::log_start(const system::MemorySection& section)
{
    for_slots(section, [this](Slot& slot) {
        slot.section_logged = true;
        if (auto done = update_logging(slot); !done)
            log_.report(done.error());
    });
}

void MemorySlots::log_stop(const system::MemorySection& section)
{
    for_slots(section, [this](Slot& slot) {
        slot.section_logged = false;
        if (auto done = update_logging(slot); !done)
            log_.report(done.error());
    });
}

Result<void> MemorySlots::log_global_start()
{
    std::lock_guard guard(mutex_);
    global_log_ = true;
    for (auto& [start, slot] : slots_) {
        auto done = update_logging(slot);
        if (done)
            continue;
        global_log_ = false;
        for (auto& [again, undo] : slots_)
            if (auto undone = update_logging(undo); !undone)
                log_.report(undone.error());
        return done;
    }
    if (machine_.dirty_ring_entries() != 0)
        reaper_ = NamedThread("kvm-dirty-ring", [this](std::stop_token stop) { reap(stop); });
    return {};
}

/// A vCPU whose ring is full leaves the guest; better somebody empties it before.
void MemorySlots::reap(const std::stop_token& stop)
{
    std::mutex unshared;
    std::condition_variable_any never;
    while (!stop.stop_requested()) {
        harvest();
        std::unique_lock lock(unshared);
        never.wait_for(lock, stop, std::chrono::milliseconds(1), [] { return false; });
    }
}

void MemorySlots::log_global_stop()
{
    reaper_ = NamedThread();
    std::lock_guard guard(mutex_);
    global_log_ = false;
    for (auto& [start, slot] : slots_)
        if (auto done = update_logging(slot); !done)
            log_.report(done.error());
    if (std::ranges::none_of(slots_, [](const auto& entry) { return entry.second.logging; }))
        populated_.reset();
}

void MemorySlots::log_sync(const system::MemorySection& section)
{
    recorder_.record(kTraceSync, section.start, section.size);
    for_slots(section, [this](Slot& slot) {
        if (slot.logging)
            sync(slot);
    });
}

void MemorySlots::log_sync_global(bool)
{
    recorder_.record(kTraceSync, 0, 0);
    harvest();
}

std::size_t MemorySlots::add_ring(DirtyRing ring)
{
    std::lock_guard guard(mutex_);
    rings_.push_back(std::move(ring));
    return rings_.size() - 1;
}

void MemorySlots::harvest()
{
    std::lock_guard guard(mutex_);
    harvest_locked();
}

void MemorySlots::harvest_full(std::size_t ring)
{
    std::lock_guard guard(mutex_);
    harvest_locked();
    DirtyRing& full = rings_.at(ring);
    // The reaper may have emptied it between the vCPU's exit and now.
    if (full.has_room_again() || reset_rings(0) != 0)
        return;
    full.give_back_one();
    reset_rings(full.take_handed_back());
}

std::uint32_t MemorySlots::reset_rings(std::uint32_t handed_back)
{
    // A signal makes the kernel stop early; after the call it is delivered, so it stops once.
    std::uint32_t reset = 0;
    for (unsigned idle = 0; idle < 2;) {
        auto done = GW_KVM(machine_.fd(), KVM_RESET_DIRTY_RINGS);
        if (!done) {
            log_.report(done.error());
            break;
        }
        reset += static_cast<std::uint32_t>(*done);
        if (reset >= handed_back)
            break;
        idle = *done == 0 ? idle + 1 : 0;
    }
    return reset;
}

/// Collect, let the kernel protect the pages again, and only then mark them: whoever takes a mark
/// and reads the page sees all that was written before, and what is written after is collected
/// anew.
void MemorySlots::harvest_locked()
{
    std::vector<DirtyEntry> entries;
    bool complete = true;
    std::uint32_t handed_back = 0;
    for (DirtyRing& ring : rings_) {
        complete &= ring.collect(entries);
        handed_back += ring.take_handed_back();
    }
    if (entries.empty())
        return;
    // An entry that the kernel has overwritten before it could protect its page is not reset.
    complete &= reset_rings(handed_back) >= handed_back;
    std::map<std::uint32_t, const Slot*> by_id;
    for (const auto& [start, slot] : slots_)
        by_id[slot.id] = &slot;
    for (const DirtyEntry& entry : entries) {
        const auto found = by_id.find(entry.slot & 0xffff);
        if (found == by_id.end() || entry.page >= found->second->size >> kPageBits)
            continue;
        const Slot& slot = *found->second;
        slot.block->dirty().mark({(slot.block_offset >> kPageBits) + entry.page, 1});
    }
    if (!complete)
        assume_all_dirty();
}

/// Entries were lost: nobody knows which pages they named, and these are not protected any more.
/// Switching the log off and on protects everything, and everything written before is marked.
void MemorySlots::assume_all_dirty()
{
    if (!std::exchange(overrun_told_, true))
        log_.warn(
            "KVM overran a dirty ring: all pages count as dirty; a larger dirty-ring-size helps");
    for (auto& [start, slot] : slots_) {
        if (!slot.logging)
            continue;
        auto done = apply(slot, slot.size, false);
        if (done)
            done = apply(slot, slot.size, true);
        if (!done)
            log_.report(done.error());
        slot.block->dirty().mark({slot.block_offset >> kPageBits, slot.size >> kPageBits});
    }
}

std::size_t MemorySlots::slot_count() const
{
    std::lock_guard guard(mutex_);
    return slots_.size();
}

}  // namespace godwit::accel::kvm
