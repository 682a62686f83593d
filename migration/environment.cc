// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/environment.h"

#include "migration/pacing/dirty_probe.h"
#include "system/dirty_tracking.h"

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

ListenerDirtySource::~ListenerDirtySource() = default;

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
    probe_ = std::make_unique<DirtyProbe>(memory_, ram_);
    return probe_->start();
}

std::uint64_t ListenerDirtySource::probe_read()
{
    return probe_->read();
}

void ListenerDirtySource::probe_stop() noexcept
{
    probe_.reset();
}

void ListenerDirtySource::throttle(unsigned percent) noexcept
{
    if (throttle_)
        throttle_(percent);
}

}  // namespace godwit::migration
