// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Keeps vCPUs out of the guest while its memory map has holes in it.
#pragma once

#include <atomic>
#include <functional>

namespace godwit::accel::kvm {

/// A vCPU passes the gate to run guest code; closing it waits until none runs any.
///
/// Threads  enter() and leave() from vCPU threads; close() and open() from one thread at a time
///          (with the machine lock), which is not between enter() and leave().
class RunGate {
public:
    /// Makes every vCPU leave the guest once.
    void set_kick(std::function<void()> kick) { kick_ = std::move(kick); }

    void enter() noexcept
    {
        for (;;) {
            inside_.fetch_add(1);
            if (!closed_.load())
                return;
            leave();
            closed_.wait(true);
        }
    }
    void leave() noexcept
    {
        inside_.fetch_sub(1);
        if (closed_.load())
            inside_.notify_all();
    }

    void close()
    {
        closed_.store(true);
        if (kick_)
            kick_();
        for (int now = inside_.load(); now != 0; now = inside_.load())
            inside_.wait(now);
    }
    void open() noexcept
    {
        closed_.store(false);
        closed_.notify_all();
    }
    bool closed() const noexcept { return closed_.load(); }

private:
    std::function<void()> kick_;
    std::atomic<bool> closed_{false};
    std::atomic<int> inside_{0};
};

}  // namespace godwit::accel::kvm
