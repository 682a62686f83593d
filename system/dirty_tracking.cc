// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/dirty_tracking.h"

#include "system/main_loop.h"
#include "system/memory_listener.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::system {

namespace {

constexpr std::uint64_t kChunkBytes = kDirtyChunkPages << kPageBits;

bool any_enabled(const GuestMemory& ram, DirtyClient client)
{
    return std::ranges::any_of(
        ram.blocks(), [client](RamBlock* block) { return block->dirty().enabled(client); });
}

void disable_all(const GuestMemory& ram, DirtyClient client) noexcept
{
    for (RamBlock* block : ram.blocks())
        block->dirty().disable(client);
}

}  // namespace

Result<Registration> DirtyTracking::start(DirtyClient client)
{
    const MachineGuardIfNeeded guard(memory_.lock());
    if (any_enabled(ram_, client))
        return Error(Errc::Busy, "dirty logging is on for this client already");
    for (RamBlock* block : ram_.blocks())
        block->dirty().enable(client);
    if (auto started = memory_.log_global_start(); !started) {
        disable_all(ram_, client);
        return std::unexpected(std::move(started).error());
    }
    Registration later = ram_.on_change([client](GuestMemory::Change change, RamBlock& block) {
        if (change == GuestMemory::Change::Added)
            block.dirty().enable(client);
    });
    return Registration(
        [memory = &memory_, ram = &ram_, client, later = std::move(later)]() mutable noexcept {
            const MachineGuardIfNeeded stop_guard(memory->lock());
            later.reset();
            memory->log_global_stop();
            disable_all(*ram, client);
        });
}

void DirtyTracking::sync(bool last)
{
    const MachineGuardIfNeeded guard(memory_.lock());
    const auto view = memory_.view();
    const auto listeners = memory_.listeners();
    for (MemoryListener* listener : listeners) {
        if (listener->has_global_sync()) {
            listener->log_sync_global(last);
            continue;
        }
        for (const MemorySection& section : *view)
            if (section.kind == RegionKind::Ram)
                listener->log_sync(section);
    }
    for (RamBlock* block : ram_.blocks())
        block->dirty().set_all_unprotected();
    for (MemoryListener* listener : listeners)
        listener->log_global_after_sync();
}

void DirtyTracking::clear(RamBlock& block, PageRun run)
{
    if (run.count == 0)
        return;
    const std::uint64_t last = (run.first + run.count - 1) / kDirtyChunkPages;
    for (std::uint64_t chunk = run.first / kDirtyChunkPages; chunk <= last; ++chunk) {
        // Asked under the lock: whoever else re-arms this chunk is done when we get to know.
        const MachineGuardIfNeeded guard(memory_.lock());
        if (!block.dirty().take_unprotected(chunk))
            continue;
        const auto view = memory_.view();
        const std::uint64_t from = chunk * kChunkBytes;
        for (const MemorySection& section : *view) {
            if (section.kind != RegionKind::Ram || section.block != &block)
                continue;
            const std::uint64_t low = std::max(from, section.block_offset);
            const std::uint64_t high =
                std::min(from + kChunkBytes, section.block_offset + section.size);
            if (low >= high)
                continue;
            const MemorySection part =
                section.part(section.start + (low - section.block_offset), high - low);
            for (MemoryListener* listener : memory_.listeners())
                listener->log_clear(part);
        }
    }
}

Result<Registration> DirtyTracking::start_region(RegionId region, DirtyClient client)
{
    const MachineGuardIfNeeded guard(memory_.lock());
    const auto spec = memory_.region(region);
    if (!spec || spec->kind != RegionKind::Ram)
        return Error(Errc::NotFound, "no such RAM region");
    RamBlock* block = spec->block;
    if (block->dirty().enabled(client))
        return Error(Errc::Busy,
                     fmt::format("dirty logging of '{}' is on for this client", block->id()));
    memory_.set_logged(region, true);
    block->dirty().enable(client);
    return Registration(
        [memory = &memory_, region, client, hold = block->shared_from_this()]() noexcept {
            const MachineGuardIfNeeded stop_guard(memory->lock());
            memory->set_logged(region, false);
            hold->dirty().disable(client);
        });
}

void DirtyTracking::sync_region(RegionId region)
{
    const MachineGuardIfNeeded guard(memory_.lock());
    const auto view = memory_.view();
    for (MemoryListener* listener : memory_.listeners()) {
        bool global_done = false;
        for (const MemorySection& section : *view) {
            if (section.region != region)
                continue;
            if (!listener->has_global_sync())
                listener->log_sync(section);
            else if (!std::exchange(global_done, true))
                listener->log_sync_global(false);
        }
    }
}

}  // namespace godwit::system
