// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/populator.h"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <sys/mman.h>

namespace godwit::migration {

Populator::~Populator()
{
    for (NamedThread& thread : threads_)
        thread.request_stop();
}

void Populator::want(std::byte* chunk)
{
    {
        const std::lock_guard guard(mutex_);
        if (refused_)
            return;
        wanted_.push_back(chunk);
    }
    changed_.notify_all();
    while (threads_.size() < kThreads)
        threads_.emplace_back(fmt::format("mig/populate {}", threads_.size()),
                              [this](const std::stop_token& stop) { work(stop); });
}

bool Populator::busy(const std::byte* chunk) const
{
    return std::ranges::find(worked_at_, chunk) != worked_at_.end();
}

void Populator::settle(const std::byte* chunk)
{
    std::unique_lock lock(mutex_);
    std::erase(wanted_, chunk);
    changed_.wait(lock, [&] { return !busy(chunk); });
}

std::uint64_t Populator::populated() const
{
    const std::lock_guard guard(mutex_);
    return populated_;
}

void Populator::work(const std::stop_token& stop)
{
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [&] { return !wanted_.empty(); })) {
        std::byte* const chunk = wanted_.front();
        wanted_.pop_front();
        const std::byte*& place = *std::ranges::find(worked_at_, nullptr);
        place = chunk;
        lock.unlock();
        const bool done = ::madvise(chunk, kChunk, MADV_POPULATE_WRITE) == 0;
        const bool unknown = !done && errno == EINVAL;
        lock.lock();
        place = nullptr;
        populated_ += done ? 1 : 0;
        refused_ = refused_ || unknown;
        changed_.notify_all();
    }
}

}  // namespace godwit::migration
