// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A machine that is nothing but memory, a run state and a migration service: both ends of a move
// fit into one test.
#pragma once

#include "io/memory_channel.h"
#include "migration/environment.h"
#include "migration/service.h"
#include "migration/stream/registry.h"
#include "system/guest_memory.h"
#include "system/main_loop.h"
#include "system/run_state.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace godwit::migration {

/// Time that passes only while somebody waits for it, or when a test says so.
class FakeClock final : public Clock {
public:
    std::int64_t now_ns() const override { return now_; }
    void wait(std::unique_lock<std::mutex>& lock, std::condition_variable&,
              std::int64_t until_ns) override
    {
        lock.unlock();
        if (until_ns > now_)
            now_ = until_ns;
        ++waits;
        std::this_thread::yield();
        lock.lock();
    }
    void pass(std::int64_t ns) { now_ += ns; }
    std::atomic<unsigned> waits{0};

private:
    std::atomic<std::int64_t> now_{1'000'000'000};
};

/// A dirty source without an accelerator: the test writes and marks. `on_sync` runs first.
class FakeDirtySource final : public DirtySource {
public:
    explicit FakeDirtySource(system::GuestMemory& memory) : memory_(memory) {}
    Result<void> start() override
    {
        if (!refusal.empty())
            return Error(Errc::Io, refusal);
        started = true;
        for (system::RamBlock* block : memory_.blocks())
            block->dirty().enable(system::DirtyClient::Migration);
        return ok();
    }
    void stop() noexcept override
    {
        started = false;
        for (system::RamBlock* block : memory_.blocks())
            block->dirty().disable(system::DirtyClient::Migration);
    }
    void sync(bool last) override
    {
        ++syncs;
        if (on_sync)
            on_sync(last);
    }
    void clear(system::RamBlock&, system::PageRun) override {}
    void throttle(unsigned percent) noexcept override { throttles.push_back(percent); }
    Result<void> probe_start() override
    {
        if (!on_probe_start)
            return DirtySource::probe_start();
        on_probe_start();
        return ok();
    }
    std::uint64_t probe_read() override { return on_probe_read(); }

    std::string refusal;
    std::atomic<bool> started{false};
    std::atomic<unsigned> syncs{0};
    std::function<void(bool last)> on_sync;
    std::function<void()> on_probe_start;  // none: no probe
    std::function<std::uint64_t()> on_probe_read;
    std::vector<unsigned> throttles;

private:
    system::GuestMemory& memory_;
};

struct DeviceState {
    std::uint32_t value = 0;
    std::uint8_t mode = 0;
};
inline constexpr auto kTestDevice = stream::vmstate<DeviceState>(
    "test-device", {.current = 2, .oldest = 1}, stream::field<&DeviceState::value>("value"),
    stream::field<&DeviceState::mode>("mode").in_range(0, 3).since(2));

struct TestMachine {
    explicit TestMachine(std::uint64_t ram_bytes = 1 << 20, Clock* the_clock = nullptr)
    {
        if (ram_bytes != 0)
            ram = memory.create({.id = "ram", .used_length = ram_bytes}).value();
        service = MigrationService::create(
                      {.lock = lock,
                       .run_state = run_state,
                       .memory = memory,
                       .registry = registry,
                       .dirty = dirty,
                       .clock = the_clock != nullptr ? *the_clock : steady,
                       .log = {},
                       .emit_status = [this](std::string_view s) { note(std::string(s)); },
                       .emit_pass = [this](std::uint64_t n) { note("pass " + std::to_string(n)); },
                       .exit_with_failure = [this] { note("exit"); }})
                      .value();
        run_state.set_hooks({.pause_vcpus = [this] { note("vcpus stop"); },
                             .resume_vcpus = [this] { note("vcpus run"); },
                             .stop_clock = {},
                             .start_clock = {},
                             .emit = [this](std::string_view e) { note(std::string(e)); }});
        device = registry.add(kTestDevice, state).value();
        EXPECT_TRUE(service->machine_done("test"));
        watches.push_back(service->on_status(Side::Source, [this](Status, Status s) { seen(s); }));
        watches.push_back(
            service->on_status(Side::Destination, [this](Status, Status s) { seen(s); }));
    }

    void start_guest()
    {
        const system::MachineGuard guard(lock);
        ASSERT_TRUE(run_state.start());
    }
    void enable(std::initializer_list<Capability> list)
    {
        std::vector<CapabilityChange> changes;
        for (Capability c : list)
            changes.push_back({c, true});
        const auto set = service->set_capabilities(changes);
        ASSERT_TRUE(set) << set.error().message();
    }
    void set(ParameterChanges changes)
    {
        const system::MachineGuard guard(lock);
        const auto set = service->set_parameters(changes);
        ASSERT_TRUE(set) << set.error().message();
    }
    Result<void> migrate_to(io::ChannelPtr channel)
    {
        const system::MachineGuard guard(lock);
        return service->migrate(
            [c = std::move(channel)](const io::Patience&) mutable -> Result<io::ChannelPtr> {
                return std::move(c);
            });
    }
    Result<void> expect_from(io::ChannelPtr channel)
    {
        const system::MachineGuard guard(lock);
        EXPECT_TRUE(run_state.set(system::RunState::Inmigrate));
        service->expect_incoming();
        return service->incoming(
            [c = std::move(channel)](const io::Patience&) mutable -> Result<io::ChannelPtr> {
                return std::move(c);
            });
    }
    Result<void> cancel()
    {
        const system::MachineGuard guard(lock);
        return service->cancel();
    }
    /// Writes a word at a page as a guest would.
    void write(std::uint64_t page, std::uint64_t value)
    {
        std::memcpy(ram->host() + page * system::kPageSize + 16, &value, sizeof value);
        ram->mark_dirty(page * system::kPageSize + 16, sizeof value);
    }
    std::uint64_t word(std::uint64_t page) const
    {
        std::uint64_t value = 0;
        std::memcpy(&value, ram->host() + page * system::kPageSize + 16, sizeof value);
        return value;
    }

    void note(std::string what)
    {
        const std::lock_guard guard(mutex);
        events.push_back(std::move(what));
    }
    void seen(Status s)
    {
        {
            const std::lock_guard guard(mutex);
            statuses.push_back(s);
        }
        changed.notify_all();
    }
    /// Waits until one of `wanted` was reached; the one that was.
    Status wait_for(std::initializer_list<Status> wanted)
    {
        std::unique_lock guard(mutex);
        Status found{};
        const bool in_time = changed.wait_for(guard, std::chrono::seconds(60), [&] {
            for (Status s : statuses)
                for (Status w : wanted)
                    if (s == w) {
                        found = s;
                        return true;
                    }
            return false;
        });
        EXPECT_TRUE(in_time) << "no status that was waited for";
        return found;
    }
    Status wait_for_end()
    {
        const Status end = wait_for({Status::Completed, Status::Failed, Status::Cancelled});
        const system::MachineGuard guard(lock);  // the end is told under it
        return end;
    }
    std::vector<std::string> history()
    {
        const std::lock_guard guard(mutex);
        return events;
    }
    std::string error()
    {
        const system::MachineGuard guard(lock);
        return service->report().error.value_or("");
    }
    void forget()
    {
        const std::lock_guard guard(mutex);
        statuses.clear();
        events.clear();
    }

    system::MachineLock lock;
    system::GuestMemory memory;
    system::RunStateMachine run_state;
    stream::StateRegistry registry;
    FakeDirtySource dirty{memory};
    SteadyClock steady;
    system::RamBlock* ram = nullptr;
    DeviceState state;
    Registration device;

    std::mutex mutex;
    std::condition_variable changed;
    std::vector<Status> statuses;     // mutex
    std::vector<std::string> events;  // mutex

    std::unique_ptr<MigrationService> service;
    std::vector<Registration> watches;
};

/// Moves `from` to `to` through memory and waits for both ends.
inline void move(TestMachine& from, TestMachine& to, std::size_t capacity = 256 * 1024)
{
    auto [left, right] = io::make_memory_channels(capacity).value();
    const auto expected = to.expect_from(std::move(right));
    ASSERT_TRUE(expected) << expected.error().message();
    const auto started = from.migrate_to(std::move(left));
    ASSERT_TRUE(started) << started.error().message();
    EXPECT_EQ(from.wait_for_end(), Status::Completed) << from.error() << " / " << to.error();
    EXPECT_EQ(to.wait_for_end(), Status::Completed) << to.error();
}

}  // namespace godwit::migration
