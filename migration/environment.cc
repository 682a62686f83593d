// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/environment.h"

#include "system/address_space.h"
#include "system/main_loop.h"
#include "system/memory_listener.h"

#include <algorithm>
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

ListenerDirtySource::ListenerDirtySource(system::AddressSpace& memory, system::MachineLock& lock,
                                         std::function<void(unsigned)> throttle)
    : memory_(memory), lock_(lock), throttle_(std::move(throttle))
{}

Result<void> ListenerDirtySource::start()
{
    const auto listeners = memory_.listeners();
    for (std::size_t i = 0; i < listeners.size(); ++i) {
        auto started = listeners[i]->log_global_start();
        if (started)
            continue;
        while (i-- > 0)
            listeners[i]->log_global_stop();
        return started;
    }
    return ok();
}

void ListenerDirtySource::stop() noexcept
{
    auto listeners = memory_.listeners();
    std::ranges::reverse(listeners);
    for (system::MemoryListener* listener : listeners)
        listener->log_global_stop();
}

void ListenerDirtySource::sync(bool last)
{
    const auto view = memory_.view();
    const auto listeners = memory_.listeners();
    for (system::MemoryListener* listener : listeners) {
        if (listener->has_global_sync()) {
            listener->log_sync_global(last);
            continue;
        }
        for (const system::MemorySection& section : *view)
            if (section.block != nullptr)
                listener->log_sync(section);
    }
    for (system::MemoryListener* listener : listeners)
        listener->log_global_after_sync();
}

void ListenerDirtySource::clear(system::RamBlock& block, system::PageRun pages)
{
    const system::MachineGuardIfNeeded guard(lock_);
    const std::uint64_t from = pages.first << system::kPageBits;
    const std::uint64_t end = from + (pages.count << system::kPageBits);
    const auto view = memory_.view();
    for (const system::MemorySection& section : *view) {
        if (section.block != &block)
            continue;
        const std::uint64_t low = std::max(from, section.block_offset);
        const std::uint64_t high = std::min(end, section.block_offset + section.size);
        if (low >= high)
            continue;
        system::MemorySection part = section;
        part.start += low - section.block_offset;
        part.block_offset = low;
        part.size = high - low;
        for (system::MemoryListener* listener : memory_.listeners())
            listener->log_clear(part);
    }
}

void ListenerDirtySource::throttle(unsigned percent) noexcept
{
    if (throttle_)
        throttle_(percent);
}

}  // namespace godwit::migration
