// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/state_worker.h"

namespace godwit::hw::vfio {

StateWorker::StateWorker(const std::string& name)
    : thread_(name, [this](const std::stop_token& stop) { run(stop); })
{}

void StateWorker::run(const std::stop_token& stop)
{
    std::unique_lock lock(mutex_);
    while (woken_.wait(lock, stop, [&] { return task_.has_value(); })) {
        Task task = std::move(*task_);
        task_.reset();
        lock.unlock();
        auto result = task();
        task = nullptr;
        lock.lock();
        result_ = std::move(result);
        busy_ = false;
        woken_.notify_all();
    }
}

Result<void> StateWorker::submit(std::string what, Task task, Deadline deadline)
{
    std::unique_lock lock(mutex_);
    if (!woken_.wait_until(lock, deadline, [&] { return !busy_; }))
        return Error(Errc::TimedOut, "the device is still busy with " + what_);
    what_ = std::move(what);
    task_ = std::move(task);
    result_.reset();
    busy_ = true;
    woken_.notify_all();
    return ok();
}

bool StateWorker::busy() const
{
    const std::lock_guard guard(mutex_);
    return busy_;
}

Result<void> StateWorker::await(Deadline deadline)
{
    std::unique_lock lock(mutex_);
    if (!woken_.wait_until(lock, deadline, [&] { return result_.has_value(); }))
        return Error(Errc::TimedOut, what_ + " took too long");
    return std::move(*result_);
}

}  // namespace godwit::hw::vfio
