// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How fast a guest changes memory, measured once for a given time beside the running machine: what
// calc-dirty-rate starts and query-dirty-rate tells.
#pragma once

#include "migration/environment.h"
#include "migration/pacing/dirty_probe.h"
#include "util/thread.h"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

namespace godwit::migration {

enum class DirtyRateMode { PageSampling, DirtyRing, DirtyBitmap };
enum class DirtyRateStatus { Unstarted, Measuring, Measured };

struct DirtyRateRequest {
    DirtyRateMode mode = DirtyRateMode::PageSampling;
    std::int64_t time_ms = 0;        ///< kMinDirtyRateMs to kMaxDirtyRateMs
    std::uint64_t sample_pages = 0;  ///< for each GiB; page-sampling only
};

inline constexpr std::int64_t kMinDirtyRateMs = 50;
inline constexpr std::int64_t kMaxDirtyRateMs = 60'000;

/// The last measurement, or the one that runs.
struct DirtyRateResult {
    DirtyRateStatus status = DirtyRateStatus::Unstarted;
    DirtyRateRequest request;
    std::int64_t start_s = 0;                ///< seconds since 1970
    std::optional<std::uint64_t> rate = {};  ///< MiB a second, rounded down; when measured
};

/// Some pages of guest RAM, remembered by a hash.
///
/// Shape    one page, at random, of each of `samples` equal stretches of every migratable block.
/// Threads  one, without the machine lock: it is taken for a few pages at a time.
class PageSamples {
public:
    PageSamples(system::MachineLock& lock, system::GuestMemory& ram, std::uint64_t pages_per_gib);
    /// Bytes of memory that changed since, as far as the samples tell. Of a block that shrank
    /// meanwhile, what is left.
    std::uint64_t changed_bytes() const;

private:
    struct Sample {
        system::PageIndex page = 0;
        std::size_t hash = 0;
    };
    struct Block {
        std::shared_ptr<system::RamBlock> ram;  // keeps the mapping
        std::uint64_t pages = 0;
        std::vector<Sample> samples;
    };
    system::MachineLock& lock_;
    std::vector<Block> blocks_;
};

/// Measures, one at a time, in a thread of its own.
///
/// Modes    PageSampling compares samples at both ends. The others count the pages of the dirty log
///          for the client Rate, each once.
/// Threads  start(): with the machine lock. result(): any. The destructor drops the machine lock
///          while it waits.
/// Errors   start(): BadState while it measures. For the modes with the log: Busy while a migration
///          or somebody else's look uses it, and what the accelerator says.
class DirtyRate {
public:
    DirtyRate(system::AddressSpace& memory, system::GuestMemory& ram, Clock& clock);
    ~DirtyRate();
    DirtyRate(const DirtyRate&) = delete;
    DirtyRate& operator=(const DirtyRate&) = delete;

    Result<void> start(const DirtyRateRequest& request);
    DirtyRateResult result() const;

private:
    Result<std::unique_ptr<DirtyProbe>> open_log();
    void run(const std::stop_token& stop, const DirtyRateRequest& request,
             std::unique_ptr<DirtyProbe> probe);
    /// Bytes a second; Cancelled when stopped.
    Result<std::uint64_t> sampled(const std::stop_token& stop, const DirtyRateRequest& request);
    Result<std::uint64_t> logged(const std::stop_token& stop, const DirtyRateRequest& request,
                                 DirtyProbe& probe);
    /// Returns how long it was, in ns; Cancelled when stopped.
    Result<std::int64_t> pause(const std::stop_token& stop, std::int64_t ns);
    void join() noexcept;

    system::AddressSpace& memory_;
    system::GuestMemory& ram_;
    Clock& clock_;
    mutable std::mutex mutex_;
    std::condition_variable stopping_;
    DirtyRateResult result_;  // mutex_
    NamedThread thread_;
};

}  // namespace godwit::migration
