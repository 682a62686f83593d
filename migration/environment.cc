// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/environment.h"

#include "system/dirty_tracking.h"
#include "system/main_loop.h"

#include <chrono>

namespace godwit::migration {

std::int64_t SteadyClock::now_ns() const
{
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

void SteadyClock::wait(std::unique_lock<std::mutex>& lock, std::condition_variable& woken,
                       std::int64_t until_ns)
{
    const std::chrono::steady_clock::time_point until{std::chrono::nanoseconds(until_ns)};
    woken.wait_until(lock, until);
}

ListenerDirtySource::ListenerDirtySource(system::AddressSpace& memory, system::GuestMemory& ram,
                                         std::function<void(unsigned)> throttle)
    : memory_(memory), ram_(ram), throttle_(std::move(throttle))
{}

Result<void> ListenerDirtySource::start()
{
    logging_ = GW_TRY(system::DirtyTracking(memory_, ram_).start(system::DirtyClient::Migration));
    return ok();
}

void ListenerDirtySource::stop() noexcept
{
    logging_.reset();
}

void ListenerDirtySource::sync(bool last)
{
    system::DirtyTracking(memory_, ram_).sync(last);
}

void ListenerDirtySource::clear(system::RamBlock& block, system::PageRun pages)
{
    system::DirtyTracking(memory_, ram_).clear(block, pages);
}

Result<void> ListenerDirtySource::probe_start()
{
    system::DirtyTracking tracking(memory_, ram_);
    probing_ = GW_TRY(tracking.start(system::DirtyClient::Rate));
    // What was written before must be seen again when it is written again.
    tracking.sync();
    const system::MachineGuardIfNeeded guard(memory_.lock());
    for (system::RamBlock* block : ram_.blocks()) {
        tracking.clear(*block, {0, block->page_count()});
        block->dirty().bitmap(system::DirtyClient::Rate).clear();
    }
    return ok();
}

std::uint64_t ListenerDirtySource::probe_read()
{
    system::DirtyTracking(memory_, ram_).sync();
    const system::MachineGuardIfNeeded guard(memory_.lock());
    std::uint64_t pages = 0;
    for (system::RamBlock* block : ram_.blocks())
        if (block->migratable())
            pages += block->dirty().bitmap(system::DirtyClient::Rate).count();
    return pages;
}

void ListenerDirtySource::probe_stop() noexcept
{
    probing_.reset();
}

void ListenerDirtySource::throttle(unsigned percent) noexcept
{
    if (throttle_)
        throttle_(percent);
}

}  // namespace godwit::migration
