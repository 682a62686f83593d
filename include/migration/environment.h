// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a migration needs of the machine it moves: narrow seams, so that a whole migration runs
// inside a unit test with a fake clock and a fake dirty source.
#pragma once

#include "migration/stream/sections.h"
#include "system/dirty_log.h"
#include "util/json_fwd.h"
#include "util/log.h"
#include "util/registration.h"
#include "util/result.h"

#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace godwit {
class FlightRecorder;
}
namespace godwit::migration {
class DirtyProbe;
struct ForecastReport;
}  // namespace godwit::migration
namespace godwit::system {
class AddressSpace;
class Clocks;
class GuestMemory;
class MachineLock;
class RamBlock;
class RunStateMachine;
class YankRegistry;
}  // namespace godwit::system
namespace godwit::migration::stream {
class StateRegistry;
}

namespace godwit::migration {

/// Time as a migration sees it.
///
/// Units    nanoseconds that only grow.
/// Threads  any.
class Clock {
public:
    virtual ~Clock() = default;
    virtual std::int64_t now_ns() const = 0;
    /// Waits until `until_ns`, or until `woken` is notified. The caller checks its condition.
    virtual void wait(std::unique_lock<std::mutex>& lock, std::condition_variable& woken,
                      std::int64_t until_ns) = 0;
};

/// The host's monotonic clock.
class SteadyClock final : public Clock {
public:
    std::int64_t now_ns() const override;
    void wait(std::unique_lock<std::mutex>& lock, std::condition_variable& woken,
              std::int64_t until_ns) override;
};

/// Who knows which pages were written.
///
/// Threads  machine lock held, except clear() and throttle().
class DirtySource {
public:
    virtual ~DirtySource() = default;
    /// From now on writes are noted: in the blocks' DirtyLogs, whose client Migration is on, at
    /// once or with the next sync().
    virtual Result<void> start() = 0;
    virtual void stop() noexcept = 0;
    /// Puts what was written since the last call into the blocks' DirtyLogs, by listener priority.
    /// `last`: the guest is stopped, nothing will be written any more.
    virtual void sync(bool last) = 0;
    /// These pages are about to be sent: a log that is cleared by hand re-arms now.
    virtual void clear(system::RamBlock& block, system::PageRun pages) = 0;
    /// Slows the vCPUs by so many per cent, 0 = not at all.
    virtual void throttle(unsigned percent) noexcept = 0;

    /// A look at how fast pages are written, beside the migration and without taking its marks:
    /// from here on counts distinct pages anew. Ends with probe_stop(). Machine lock not held.
    /// Errors   Unsupported where there is none; Busy while somebody else looks.
    virtual Result<void> probe_start() { return Error(Errc::Unsupported, "no dirty-rate probe"); }
    /// Pages of migratable blocks written since probe_start(), each counted once.
    virtual std::uint64_t probe_read() { return 0; }
    virtual void probe_stop() noexcept {}
};

/// The real one: every MemoryListener of the machine's memory, in priority order.
class ListenerDirtySource final : public DirtySource {
public:
    ListenerDirtySource(system::AddressSpace& memory, system::GuestMemory& ram,
                        std::function<void(unsigned percent)> throttle);
    ~ListenerDirtySource() override;
    Result<void> start() override;
    void stop() noexcept override;
    void sync(bool last) override;
    void clear(system::RamBlock& block, system::PageRun pages) override;
    void throttle(unsigned percent) noexcept override;
    Result<void> probe_start() override;
    std::uint64_t probe_read() override;
    void probe_stop() noexcept override;

private:
    system::AddressSpace& memory_;
    system::GuestMemory& ram_;
    std::function<void(unsigned)> throttle_;
    Registration logging_;
    std::unique_ptr<DirtyProbe> probe_;
};

/// The parts of one machine. Everything outlives the MigrationService.
struct Environment {
    system::MachineLock& lock;
    system::RunStateMachine& run_state;
    system::GuestMemory& memory;
    stream::StateRegistry& registry;
    DirtySource& dirty;
    Clock& clock;
    system::Clocks* clocks = nullptr;  ///< what the `timer` section carries; none in small tests
    Log log;
    FlightRecorder* recorder = nullptr;
    system::YankRegistry* yanks = nullptr;  ///< where an attempt can be torn loose
    /// A MIGRATION event with this status, and MIGRATION_PASS. From any thread.
    std::function<void(std::string_view status)> emit_status;
    std::function<void(std::uint64_t pass)> emit_pass;
    /// A MIGRATION_FORECAST event. May be empty.
    std::function<void(const ForecastReport& report)> emit_forecast{};
    /// What a migrate-check compares: insight/facts.h. From any thread; empty: checks are refused.
    std::function<Json()> facts{};
    /// Incoming failed and `exit-on-error` is on: ends the program with status 1.
    std::function<void()> exit_with_failure;

    /// The steps of the final pass, by their place in the contract. Another order is for tests that
    /// show what it breaks.
    static constexpr std::size_t kFinalSteps = 6;
    std::array<std::uint8_t, kFinalSteps> final_pass{0, 1, 2, 3, 4, 5};

    // Set by MigrationService::machine_done().
    std::string machine_name{};  ///< versioned, as the configuration section carries it
    std::optional<stream::Uuid> uuid{};
};

}  // namespace godwit::migration
