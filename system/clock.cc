// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/clock.h"

#include "system/main_loop.h"

#include <array>
#include <atomic>
#include <ctime>
#include <map>

namespace godwit::system {

namespace {

std::int64_t read_host_clock(clockid_t clock) noexcept
{
    timespec now{};
    ::clock_gettime(clock, &now);
    return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

/// Guest time: host time plus an offset while it runs, a number while it stands. Written with the
/// machine lock, read by anybody: a sequence lock whose fields are atomics, so that a reader never
/// combines the offset of one moment with the state of another.
class GuestClock {
public:
    std::int64_t now() const noexcept
    {
        for (;;) {
            const unsigned before = sequence_.load(std::memory_order_acquire);
            const bool running = running_.load(std::memory_order_relaxed);
            const std::int64_t value = value_.load(std::memory_order_relaxed);
            // Within the section, as in stop(): host time read after a stop must not be counted.
            const std::int64_t host = running ? read_host_clock(CLOCK_MONOTONIC) : 0;
            std::atomic_thread_fence(std::memory_order_acquire);
            if (before % 2 == 0 && sequence_.load(std::memory_order_relaxed) == before)
                return value + host;
        }
    }
    /// From standing to running, without a jump.
    void start() noexcept
    {
        sequence_.fetch_add(1, std::memory_order_acq_rel);
        const std::int64_t value = value_.load(std::memory_order_relaxed);
        store(true, value - read_host_clock(CLOCK_MONOTONIC));
        sequence_.fetch_add(1, std::memory_order_release);
    }
    /// From running to standing: no reader has seen a later time than the one that stays.
    void stop() noexcept
    {
        sequence_.fetch_add(1, std::memory_order_acq_rel);
        const std::int64_t value = value_.load(std::memory_order_relaxed);
        store(false, value + read_host_clock(CLOCK_MONOTONIC));
        sequence_.fetch_add(1, std::memory_order_release);
    }
    /// `value` is the present guest time if it stands, guest minus host time if it runs.
    void write(bool running, std::int64_t value) noexcept
    {
        sequence_.fetch_add(1, std::memory_order_acq_rel);
        store(running, value);
        sequence_.fetch_add(1, std::memory_order_release);
    }

private:
    void store(bool running, std::int64_t value) noexcept
    {
        running_.store(running, std::memory_order_release);
        value_.store(value, std::memory_order_release);
    }

    std::atomic<unsigned> sequence_ = 0;
    std::atomic<bool> running_ = false;
    std::atomic<std::int64_t> value_ = 0;
};

constexpr auto kAllClocks =
    std::to_array({ClockType::Realtime, ClockType::Virtual, ClockType::Host});

}  // namespace

struct Timer::Impl {
    Clocks::Impl* clocks = nullptr;  // null once the clocks are gone
    ClockType type = ClockType::Realtime;
    std::move_only_function<void()> expired;
    std::int64_t expiry = -1;
    bool armed = false;
};

struct Clocks::Impl : TimerSource {
    explicit Impl(MainLoop& main_loop) : loop(main_loop) {}

    MainLoop& loop;
    GuestClock guest;
    bool running = false;  // guest time moves; under a client: its timers may expire
    std::atomic<bool> client = false;
    /// Equal expiries keep the order of arming.
    std::array<std::multimap<std::int64_t, std::shared_ptr<Timer::Impl>>, 3> queues;
    Registration registration;  // last: the loop forgets us first

    auto& queue(ClockType type) { return queues[static_cast<std::size_t>(type)]; }
    const auto& queue(ClockType type) const { return queues[static_cast<std::size_t>(type)]; }
    std::int64_t now(ClockType type) const noexcept;
    std::int64_t next(ClockType type) const;
    void remove(Timer::Impl& timer) noexcept;
    void run_due(ClockType type);

    std::int64_t next_wait_ns() override;
    void run_expired() override;
};

std::int64_t Clocks::Impl::now(ClockType type) const noexcept
{
    switch (type) {
    case ClockType::Realtime:
        return read_host_clock(CLOCK_MONOTONIC);
    case ClockType::Host:
        return read_host_clock(CLOCK_REALTIME);
    case ClockType::Virtual:
        break;
    }
    return guest.now();
}

std::int64_t Clocks::Impl::next(ClockType type) const
{
    return queue(type).empty() ? kNeverNs : queue(type).begin()->first;
}

void Clocks::Impl::remove(Timer::Impl& timer) noexcept
{
    if (!timer.armed)
        return;
    timer.armed = false;
    auto [it, end] = queue(timer.type).equal_range(timer.expiry);
    for (; it != end; ++it) {
        if (it->second.get() == &timer) {
            queue(timer.type).erase(it);
            return;
        }
    }
}

/// Runs what is due now. A timer that arms itself again for the past waits for the next round, so
/// that it cannot keep the loop to itself.
void Clocks::Impl::run_due(ClockType type)
{
    const std::int64_t until = now(type);
    std::size_t left = queue(type).size();
    while (left-- > 0 && !queue(type).empty() && queue(type).begin()->first <= until) {
        const std::shared_ptr<Timer::Impl> timer = std::move(queue(type).begin()->second);
        queue(type).erase(queue(type).begin());
        timer->armed = false;
        timer->expired();
    }
}

std::int64_t Clocks::Impl::next_wait_ns()
{
    std::int64_t wait = -1;
    for (const ClockType type : kAllClocks) {
        if (queue(type).empty() || (type == ClockType::Virtual && (!running || client)))
            continue;
        const std::int64_t left = std::max<std::int64_t>(0, next(type) - now(type));
        if (wait < 0 || left < wait)
            wait = left;
    }
    return wait;
}

void Clocks::Impl::run_expired()
{
    run_due(ClockType::Realtime);
    run_due(ClockType::Host);
    if (running && !client)
        run_due(ClockType::Virtual);
}

Clocks::Clocks(MainLoop& loop) : impl_(std::make_unique<Impl>(loop))
{
    impl_->registration = loop.add_timer_source(*impl_);
}

Clocks::~Clocks()
{
    for (auto& queue : impl_->queues) {
        for (auto& [expiry, timer] : queue)
            timer->armed = false;
        queue.clear();
    }
}

std::int64_t Clocks::now_ns(ClockType type) const noexcept
{
    return impl_->now(type);
}

void Clocks::start_virtual()
{
    if (impl_->running)
        return;
    impl_->running = true;
    if (!impl_->client)
        impl_->guest.start();
    impl_->loop.wake();
}

void Clocks::stop_virtual()
{
    if (!impl_->running)
        return;
    impl_->running = false;
    if (!impl_->client)
        impl_->guest.stop();
}

std::int64_t Clocks::virtual_ns() const noexcept
{
    return impl_->guest.now();
}

void Clocks::set_virtual_ns(std::int64_t now)
{
    const bool moving = impl_->running && !impl_->client;
    impl_->guest.write(moving, moving ? now - read_host_clock(CLOCK_MONOTONIC) : now);
    impl_->loop.wake();
}

void Clocks::make_client_driven()
{
    if (impl_->client)
        return;
    impl_->guest.write(false, impl_->guest.now());
    impl_->client = true;
}

bool Clocks::client_driven() const noexcept
{
    return impl_->client;
}

std::int64_t Clocks::step(std::optional<std::int64_t> ns)
{
    const std::int64_t now = impl_->guest.now();
    if (!ns) {
        const std::int64_t next = impl_->next(ClockType::Virtual);
        return impl_->running && next != kNeverNs ? set(std::max(next, now)) : now;
    }
    std::int64_t target = 0;
    if (__builtin_add_overflow(now, *ns, &target))
        target = kNeverNs - 1;
    return set(target);
}

std::int64_t Clocks::set(std::int64_t target)
{
    if (!impl_->client)
        return impl_->guest.now();
    while (impl_->guest.now() < target) {
        const std::int64_t now = impl_->guest.now();
        const std::int64_t next = impl_->running ? impl_->next(ClockType::Virtual) : kNeverNs;
        impl_->guest.write(false, std::min(target, std::max(next, now)));
        if (!impl_->running)
            continue;
        impl_->run_due(ClockType::Virtual);
        if (impl_->guest.now() == now && next <= now && target > now) {
            // A timer that keeps arming itself for the past must not stop the clock.
            impl_->guest.write(false, std::min(target, now + 1));
        }
    }
    if (impl_->running)
        impl_->run_due(ClockType::Virtual);
    return impl_->guest.now();
}

std::int64_t Clocks::next_deadline_ns(ClockType type) const
{
    return impl_->next(type);
}

Timer::Timer(Clocks& clocks, ClockType type, std::move_only_function<void()> expired)
    : impl_(std::make_shared<Impl>())
{
    impl_->clocks = clocks.impl_.get();
    impl_->type = type;
    impl_->expired = std::move(expired);
}

Timer::~Timer()
{
    disarm();
}

void Timer::arm_at_ns(std::int64_t expiry)
{
    disarm();
    Clocks::Impl& clocks = *impl_->clocks;
    impl_->expiry = expiry;
    impl_->armed = true;
    const bool first = expiry < clocks.next(impl_->type);
    clocks.queue(impl_->type).emplace(expiry, impl_);
    if (first && !clocks.loop.in_loop_thread())
        clocks.loop.wake();
}

void Timer::arm_in_ns(std::int64_t delay)
{
    std::int64_t expiry = 0;
    if (__builtin_add_overflow(impl_->clocks->now(impl_->type), delay, &expiry))
        expiry = kNeverNs - 1;
    arm_at_ns(expiry);
}

void Timer::disarm() noexcept
{
    if (impl_->armed)
        impl_->clocks->remove(*impl_);
}

bool Timer::armed() const noexcept
{
    return impl_->armed;
}

std::int64_t Timer::expiry_ns() const noexcept
{
    return impl_->armed ? impl_->expiry : -1;
}

}  // namespace godwit::system
