// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The thread of a vCPU: how it is kicked, paused, resumed and slowed down.
//
// A kick cannot be lost: who asks sets what it wants, then look_, then immediate_exit, then sends
// the signal. The thread clears immediate_exit before it looks, so either it sees the wish, or
// KVM_RUN sees immediate_exit and returns at once.
#include "accel/kvm/vcpu.h"
#include "system/vm.h"

#include <cerrno>
#include <csignal>
#include <fmt/format.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace godwit::accel::kvm {
namespace {

constexpr std::uint64_t kSliceNs = 10'000'000;

std::uint64_t now_ns() noexcept
{
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(now.tv_nsec);
}

void only_kick_signal() noexcept
{
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, kick_signal());
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
        sigdelset(&all, fault);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

}  // namespace

int kick_signal() noexcept
{
    return SIGUSR1;
}

void install_kick_handler() noexcept
{
    struct sigaction action{};
    action.sa_handler = [](int) {};
    ::sigaction(kick_signal(), &action, nullptr);
}

void KvmVcpu::kick() noexcept
{
    if (run_ == nullptr)
        return;
    std::atomic_ref<__u8>(run_->immediate_exit).store(1);
    if (tid_.load() != 0 && !::pthread_equal(thread_handle_.load(), ::pthread_self()))
        ::pthread_kill(thread_handle_.load(), kick_signal());
}

void KvmVcpu::request_pause() noexcept
{
    {
        std::lock_guard guard(mutex_);
        pause_wanted_ = true;
        look_.store(true);
        if (paused_)
            return;
        changed_.notify_all();  // it may be throttled, which no signal ends
    }
    kick();
}

void KvmVcpu::wait_paused()
{
    const auto wait = [this] {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return paused_ || !pause_wanted_; });
    };
    // The thread may need the machine lock to complete an access.
    if (vm().lock().held()) {
        system::MachineUnlock unlocked(vm().lock());
        wait();
    } else {
        wait();
    }
}

void KvmVcpu::resume() noexcept
{
    std::lock_guard guard(mutex_);
    pause_wanted_ = false;
    fresh_ = false;
    changed_.notify_all();
}

/// Does `work` in the vCPU's thread, outside the guest, and waits for it.
void KvmVcpu::run_in_thread(std::function<void()> work) const
{
    bool done = false;
    {
        std::unique_lock lock(mutex_);
        if (paused_ || tid_.load() == 0 ||
            ::pthread_equal(thread_handle_.load(), ::pthread_self())) {
            work();  // nobody else touches the vCPU meanwhile
            return;
        }
        work_.push_back([this, &done, work = std::move(work)] {
            work();
            std::lock_guard guard(mutex_);
            done = true;
            changed_.notify_all();
        });
        look_.store(true);
        changed_.notify_all();  // as for a pause
    }
    const_cast<KvmVcpu*>(this)->kick();
    const auto wait = [&] {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return done; });
    };
    if (vm().lock().held()) {
        system::MachineUnlock unlocked(vm().lock());
        wait();
    } else {
        wait();
    }
}

/// Carries out what others want. False when the thread is to end.
bool KvmVcpu::obey(std::stop_token& stop)
{
    std::unique_lock lock(mutex_);
    for (;;) {
        look_.store(false);
        if (!work_.empty() || (pause_wanted_ && !paused_)) {
            if (unfinished_) {
                lock.unlock();
                settle();
                lock.lock();
                continue;
            }
        }
        if (!work_.empty()) {
            auto work = std::exchange(work_, {});
            lock.unlock();
            for (auto& one : work)
                one();
            lock.lock();
            continue;
        }
        if (stop.stop_requested())
            return false;
        if (!pause_wanted_)
            break;
        paused_ = true;
        changed_.notify_all();
        changed_.wait(lock, stop, [this] { return !pause_wanted_ || !work_.empty(); });
    }
    if (paused_) {
        paused_ = false;
        slice_start_ns_ = now_ns();
    }
    return true;
}

int KvmVcpu::enter_guest() noexcept
{
    shared_.gate.enter();
    const int answer = fd_.raw(KVM_RUN) < 0 ? errno : 0;
    shared_.gate.leave();
    unfinished_ =
        answer == 0 &&
        (run_->exit_reason == KVM_EXIT_IO || run_->exit_reason == KVM_EXIT_MMIO ||
         run_->exit_reason == KVM_EXIT_HYPERCALL || run_->exit_reason == KVM_EXIT_X86_RDMSR ||
         run_->exit_reason == KVM_EXIT_X86_WRMSR);
    return answer;
}

/// Lets KVM complete the access of the last exit without running a further instruction.
void KvmVcpu::settle()
{
    while (unfinished_) {
        std::atomic_ref<__u8>(run_->immediate_exit).store(1);
        const int answer = enter_guest();
        if (answer == 0)
            handle_exit();  // an access in several pieces
        else if (answer != EINTR && answer != EAGAIN)
            unfinished_ = false;  // KVM_RUN itself fails: reported when it is tried for real
    }
}

void KvmVcpu::run_guest()
{
    std::atomic_ref<__u8>(run_->immediate_exit).store(0);
    if (look_.load())
        return;
    throttle();
    const int answer = enter_guest();
    if (answer == 0)
        handle_exit();
    else if (answer != EINTR && answer != EAGAIN)
        give_up(fmt::format("kvm run failed: {}", Error::from_errno("KVM_RUN", answer).message()));
}

void KvmVcpu::run(std::stop_token stop)
{
    only_kick_signal();
    thread_handle_.store(::pthread_self());
    tid_.store(static_cast<int>(::syscall(SYS_gettid)));
    std::stop_callback on_stop(stop, [this] {
        {
            const std::lock_guard guard(mutex_);
            look_.store(true);
            changed_.notify_all();
        }
        kick();
    });
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = kick_signal();
    event._sigev_un._tid = tid_.load();
    const bool has_timer = ::timer_create(CLOCK_MONOTONIC, &event, &throttle_timer_) == 0;
    if (!has_timer)
        throttle_percent_.store(0);
    while (!look_.load() || obey(stop))
        run_guest();
    if (has_timer)
        ::timer_delete(throttle_timer_);
    std::lock_guard guard(mutex_);
    paused_ = true;  // for good
    changed_.notify_all();
}

void KvmVcpu::arm_throttle_timer(bool on) noexcept
{
    if (throttle_armed_ == on)
        return;
    throttle_armed_ = on;
    itimerspec every{};
    if (on)
        every.it_interval.tv_nsec = every.it_value.tv_nsec = kSliceNs;
    ::timer_settime(throttle_timer_, 0, &every, nullptr);
}

/// After each slice in the guest, as long out of it as the percentage asks for. The timer's signal
/// ends the slice.
void KvmVcpu::throttle()
{
    const unsigned percent = throttle_percent_.load(std::memory_order_relaxed);
    arm_throttle_timer(percent != 0);
    if (percent == 0) [[likely]]
        return;
    const std::uint64_t now = now_ns();
    if (now - slice_start_ns_ < kSliceNs)
        return;
    const auto sleep = std::chrono::nanoseconds(kSliceNs * percent / (100 - percent));
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, sleep,
                      [&] { return look_.load() || throttle_percent_.load() != percent; });
    slice_start_ns_ = now_ns();
}

void KvmVcpu::set_throttle(unsigned percent) noexcept
{
    std::lock_guard guard(mutex_);
    throttle_percent_.store(std::min(percent, 99u));
    changed_.notify_all();
    // A vCPU that is in the guest learns of it when it leaves.
    if (!paused_)
        kick();
}

}  // namespace godwit::accel::kvm
