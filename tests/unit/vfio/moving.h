// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Whole migrations between two houses whose devices write into guest memory all the while.
#pragma once

#include "io/memory_channel.h"
#include "migration/service.h"
#include "tests/unit/vfio/house.h"

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

namespace godwit::hw::vfio::test {

using migration::Side;
using migration::Status;

/// Records of a DMA engine, one a page, in a ring; the engine's place in it is device state.
struct Record {
    std::uint64_t sequence = 0;
    std::array<std::uint64_t, 7> copies{};  // of the sequence: a torn record shows
};
inline constexpr std::uint64_t kRing = 0x100000;
inline constexpr std::uint64_t kSlots = 256;

class Engine {
public:
    Engine(TestKernel& kernel, TestDevice& device, unsigned number)
        : kernel_(kernel), device_(device), ring_(kRing + number * kSlots * 4096),
          thread_([this](const std::stop_token& stop) { run(stop); })
    {}

    static std::uint64_t next_sequence(const TestDevice& device)
    {
        std::uint64_t next = 0;
        const std::vector<std::byte> state = device.internal();
        std::memcpy(&next, state.data(), sizeof next);
        return next;
    }

private:
    void run(const std::stop_token& stop)
    {
        while (!stop.stop_requested()) {
            {
                const std::lock_guard guard(kernel_.lock());  // DMA and state move together
                Record record{.sequence = next_sequence(device_)};
                record.copies.fill(record.sequence);
                const auto bytes = std::as_bytes(std::span(&record, 1));
                if (device_.dma_write(ring_ + record.sequence % kSlots * 4096, bytes)) {
                    ++record.sequence;
                    EXPECT_TRUE(device_.poke(0, bytes.first(sizeof record.sequence)));
                    const std::size_t at = record.sequence * 4096 % device_.spec().state_bytes;
                    if (at + 64 < device_.spec().state_bytes && at != 0) {
                        EXPECT_TRUE(device_.poke(at, bytes));
                    }
                }
            }
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    }

    TestKernel& kernel_;
    TestDevice& device_;
    std::uint64_t ring_;
    std::jthread thread_;
};

/// Every slot holds the last record that was written to it, whole.
inline void expect_ring(const House& house, const TestDevice& device, unsigned number)
{
    const std::uint64_t next = Engine::next_sequence(device);
    ASSERT_GT(next, kSlots) << "the engine went around";
    for (std::uint64_t sequence = next - kSlots; sequence < next; ++sequence) {
        Record record;
        std::memcpy(&record,
                    house.ram->host() + kRing + number * kSlots * 4096 + sequence % kSlots * 4096,
                    sizeof record);
        ASSERT_EQ(record.sequence, sequence);
        for (const std::uint64_t copy : record.copies)
            ASSERT_EQ(copy, sequence);
    }
}

/// A house whose loop runs in a thread of its own; the machine lock is free meanwhile. Of two
/// houses the one that was built first gets its lock back first.
class Running {
public:
    explicit Running(House& house) : house_(house)
    {
        house.migration->service();
        watches_[0] = watch(Side::Source);
        watches_[1] = watch(Side::Destination);
        house.vm->lock().unlock();
        thread_ = std::thread([&house] { house.vm->loop().run(); });
    }
    ~Running()
    {
        house_.vm->loop().quit();
        thread_.join();
        house_.vm->lock().lock();
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

    template <class F>
    auto locked(F&& work)
    {
        const system::MachineGuard guard(house_.vm->lock());
        return work(house_.migration->service());
    }
    Status wait_for_end()
    {
        Status end{};
        {
            std::unique_lock guard(mutex_);
            const bool in_time = changed_.wait_for(guard, std::chrono::seconds(60), [&] {
                return end_ == Status::Completed || end_ == Status::Failed ||
                       end_ == Status::Cancelled;
            });
            EXPECT_TRUE(in_time) << "the migration does not end";
            end = end_;
        }
        const system::MachineGuard guard(house_.vm->lock());  // the end is told under it
        return end;
    }
    std::string error()
    {
        return locked([](migration::MigrationService& service) {
            return service.report().error.value_or("");
        });
    }

private:
    Registration watch(Side side)
    {
        return house_.migration->service().on_status(side, [this](Status, Status now) {
            const std::lock_guard guard(mutex_);
            end_ = now;
            changed_.notify_all();
        });
    }
    House& house_;
    std::mutex mutex_;
    std::condition_variable changed_;
    Status end_{};
    std::array<Registration, 2> watches_;
    std::thread thread_;
};

struct Kind {
    const char* name;
    Dialect dialect;
    bool iommufd;
    bool logging;
    bool iommu_dirty;
    bool pins;
    bool precopy;
    bool v1_mapped = false;
    bool p2p = true;
    bool tracked = true;
};

inline void PrintTo(const Kind& kind, std::ostream* out)
{
    *out << kind.name;
}

inline DeviceSpec spec_of(const Kind& kind, unsigned number)
{
    DeviceSpec spec;
    spec.address = "0000:3b:00." + std::to_string(number);
    spec.cdev = "vfio" + std::to_string(number);
    spec.group = number;
    spec.bars[0] = {.size = 0x1000};
    spec.msix_vectors = 2;
    spec.dialect = kind.dialect;
    spec.logging = kind.logging;
    spec.iommu_dirty = kind.iommu_dirty;
    spec.pins = kind.pins;
    spec.precopy = kind.precopy;
    spec.p2p = kind.p2p;
    spec.v1_mapped = kind.v1_mapped;
    spec.state_bytes = 256 * 1024;
    return spec;
}

/// Begins a migration to `b`.
inline void begin_move(House& b, Running& from, Running& to)
{
    auto [left, right] = io::make_memory_channels(256 * 1024).value();
    {
        const system::MachineGuard guard(b.vm->lock());
        EXPECT_TRUE(b.vm->run_state().set(system::RunState::Inmigrate));
    }
    const auto open = [](io::ChannelPtr channel) {
        return [c = std::move(channel)](const io::Patience&) mutable -> Result<io::ChannelPtr> {
            return std::move(c);
        };
    };
    VFIO_OK(to.locked([&](migration::MigrationService& service) {
        service.expect_incoming();
        return service.incoming(open(std::move(right)));
    }));
    VFIO_OK(from.locked([&](migration::MigrationService& service) {
        return service.migrate(open(std::move(left)));
    }));
}

inline void move(House& b, Running& from, Running& to)
{
    begin_move(b, from, to);
    EXPECT_EQ(from.wait_for_end(), Status::Completed) << from.error() << " / " << to.error();
    EXPECT_EQ(to.wait_for_end(), Status::Completed) << to.error();
}

inline void until_around(const TestDevice& device)
{
    while (Engine::next_sequence(device) <= kSlots)
        std::this_thread::yield();
}

}  // namespace godwit::hw::vfio::test
