// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/main_loop.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <glib-unix.h>
#include <glib.h>
#include <poll.h>
#include <vector>

namespace godwit::system {

// We hand GLib's descriptors to ppoll() as they are.
static_assert(sizeof(GPollFD) == sizeof(pollfd) &&
              offsetof(GPollFD, events) == offsetof(pollfd, events));

void MachineLock::lock()
{
    if (held()) {
        std::fputs("machine lock taken twice by one thread\n", stderr);
        std::abort();
    }
    mutex_.lock();
    owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
}

void MachineLock::unlock()
{
    assert(held());
    owner_.store(std::thread::id{}, std::memory_order_relaxed);
    mutex_.unlock();
}

bool MachineLock::held() const noexcept
{
    // Only this thread writes its own id there, so a relaxed read cannot mislead it.
    return owner_.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

struct MainLoop::Impl {
    GMainContext* context = nullptr;
    MachineLock lock;
    std::atomic<bool> quit = false;
    std::atomic<bool> serving = false;
    std::atomic<std::thread::id> thread{};
    std::shared_ptr<std::vector<TimerSource*>> timers =
        std::make_shared<std::vector<TimerSource*>>();

    std::mutex posted_mutex;  // guards posted
    std::deque<std::move_only_function<void()>> posted;

    ~Impl()
    {
        if (context)
            g_main_context_unref(context);
    }
    bool run_posted();
    bool any_posted();
    std::int64_t wait_ns(int glib_timeout_ms);
    void poll(std::vector<GPollFD>& fds, std::int64_t wait);
};

/// Runs what was posted before this turn; what is posted meanwhile waits for the next one, so that
/// work that posts itself again cannot starve the poll. A nested turn goes on where this one is.
bool MainLoop::Impl::run_posted()
{
    std::size_t left = 0;
    {
        std::lock_guard guard(posted_mutex);
        left = posted.size();
    }
    bool did = false;
    while (left-- > 0) {
        std::move_only_function<void()> work;
        {
            std::lock_guard guard(posted_mutex);
            if (posted.empty())
                break;
            work = std::move(posted.front());
            posted.pop_front();
        }
        work();
        did = true;
    }
    return did;
}

bool MainLoop::Impl::any_posted()
{
    std::lock_guard guard(posted_mutex);
    return !posted.empty();
}

std::int64_t MainLoop::Impl::wait_ns(int glib_timeout_ms)
{
    std::int64_t wait = glib_timeout_ms < 0 ? -1 : std::int64_t{glib_timeout_ms} * 1'000'000;
    for (TimerSource* source : *timers) {
        const std::int64_t next = source->next_wait_ns();
        if (next >= 0 && (wait < 0 || next < wait))
            wait = next;
    }
    return wait;
}

void MainLoop::Impl::poll(std::vector<GPollFD>& fds, std::int64_t wait)
{
    timespec timeout{.tv_sec = wait / 1'000'000'000, .tv_nsec = wait % 1'000'000'000};
    MachineUnlock unlocked(lock);
    const int ready = ::ppoll(reinterpret_cast<pollfd*>(fds.data()), fds.size(),
                              wait < 0 ? nullptr : &timeout, nullptr);
    if (ready < 0) {
        for (GPollFD& fd : fds)
            fd.revents = 0;
    }
}

MainLoop::MainLoop() : impl_(std::make_unique<Impl>()) {}
MainLoop::~MainLoop() = default;

Result<std::unique_ptr<MainLoop>> MainLoop::create()
{
    std::unique_ptr<MainLoop> loop(new MainLoop);
    loop->impl_->context = g_main_context_new();
    return loop;
}

GMainContext* MainLoop::context() const noexcept
{
    return impl_->context;
}

MachineLock& MainLoop::lock() noexcept
{
    return impl_->lock;
}

void MainLoop::run()
{
    MachineGuardIfNeeded guard(impl_->lock);
    impl_->serving.store(true, std::memory_order_relaxed);
    while (!impl_->quit.load(std::memory_order_acquire))
        run_once(true);
    impl_->serving.store(false, std::memory_order_relaxed);
    impl_->quit.store(false, std::memory_order_relaxed);
}

bool MainLoop::run_once(bool may_block)
{
    MachineGuardIfNeeded guard(impl_->lock);
    impl_->thread.store(std::this_thread::get_id(), std::memory_order_relaxed);
    GMainContext* context = impl_->context;
    g_main_context_acquire(context);

    int priority = 0;
    g_main_context_prepare(context, &priority);
    std::vector<GPollFD> fds(16);
    int timeout_ms = 0;
    int count = 0;
    while ((count = g_main_context_query(context, priority, &timeout_ms, fds.data(),
                                         static_cast<int>(fds.size()))) >
           static_cast<int>(fds.size()))
        fds.resize(static_cast<std::size_t>(count));
    fds.resize(static_cast<std::size_t>(count));

    const bool ready = !may_block || impl_->any_posted() || impl_->quit.load();
    impl_->poll(fds, ready ? 0 : impl_->wait_ns(timeout_ms));

    bool did = g_main_context_check(context, priority, fds.data(), count);
    g_main_context_dispatch(context);
    const auto timers = *impl_->timers;  // a callback may add or remove a source
    for (TimerSource* source : timers) {
        if (std::ranges::find(*impl_->timers, source) != impl_->timers->end())
            source->run_expired();
    }
    did |= impl_->run_posted();
    g_main_context_release(context);
    return did;
}

void MainLoop::quit() noexcept
{
    impl_->quit.store(true, std::memory_order_release);
    wake();
}

bool MainLoop::quitting() const noexcept
{
    return impl_->quit.load(std::memory_order_acquire);
}

bool MainLoop::serving() const noexcept
{
    return impl_->serving.load(std::memory_order_relaxed);
}

void MainLoop::wake() noexcept
{
    g_main_context_wakeup(impl_->context);
}

void MainLoop::post(std::move_only_function<void()> work)
{
    {
        std::lock_guard guard(impl_->posted_mutex);
        impl_->posted.push_back(std::move(work));
    }
    wake();
}

namespace {

/// Destroying a GLib source is allowed after its context is gone.
Registration registration_of(GSource* source)
{
    return Registration([source]() noexcept {
        g_source_destroy(source);
        g_source_unref(source);
    });
}

}  // namespace

Registration MainLoop::watch(int fd, unsigned events, std::move_only_function<void(unsigned)> ready,
                             int priority)
{
    using Ready = std::move_only_function<void(unsigned)>;
    GSource* source = g_unix_fd_source_new(fd, static_cast<GIOCondition>(events));
    g_source_set_priority(source, priority);
    const GUnixFDSourceFunc call = [](int, GIOCondition condition, void* data) -> gboolean {
        (*static_cast<Ready*>(data))(static_cast<unsigned>(condition));
        return G_SOURCE_CONTINUE;
    };
    // GLib keeps the closure alive while it runs, also when it removes its own source.
    g_source_set_callback(source, G_SOURCE_FUNC(call), new Ready(std::move(ready)),
                          [](void* data) { delete static_cast<Ready*>(data); });
    g_source_attach(source, impl_->context);
    return registration_of(source);
}

Registration MainLoop::after_ms(unsigned ms, std::move_only_function<void()> tick)
{
    using Tick = std::move_only_function<void()>;
    GSource* source = g_timeout_source_new(ms);
    const GSourceFunc call = [](void* data) -> gboolean {
        (*static_cast<Tick*>(data))();
        return G_SOURCE_REMOVE;
    };
    g_source_set_callback(source, call, new Tick(std::move(tick)),
                          [](void* data) { delete static_cast<Tick*>(data); });
    g_source_attach(source, impl_->context);
    return registration_of(source);
}

Registration MainLoop::add_timer_source(TimerSource& source)
{
    impl_->timers->push_back(&source);
    return Registration(
        [timers = impl_->timers, &source]() noexcept { std::erase(*timers, &source); });
}

bool MainLoop::in_loop_thread() const noexcept
{
    return impl_->thread.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

}  // namespace godwit::system
