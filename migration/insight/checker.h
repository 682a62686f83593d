// SPDX-License-Identifier: LGPL-2.1-or-later
//
// migrate-check: compares this machine with a destination that waits, and measures, while the guest
// runs on.
#pragma once

#include "io/cancel.h"
#include "io/channel.h"
#include "migration/forecast.h"
#include "migration/insight/check_session.h"
#include "migration/insight/facts.h"
#include "util/thread.h"

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace godwit::migration {

/// In the order of the schema's MigrationCheckStatus and MigrationCheckVerdict.
enum class CheckStatus : std::uint8_t { None, Running, Done, Failed };
enum class CheckVerdict : std::uint8_t { Fits, Doubtful, Refused };

/// Units    bytes, bytes a second, ns.
struct CheckResult {
    CheckStatus status = CheckStatus::None;
    std::string error;
    std::optional<CheckVerdict> verdict;
    std::vector<Difference> differences;
    std::string peer;
    std::int64_t round_trip_ns = 0;
    std::uint64_t bandwidth = 0;
    std::optional<std::uint64_t> dirty_rate;  ///< none where it could not be measured
    std::uint64_t touched = 0;
    std::optional<Forecast> forecast;
};

/// One check at a time.
///
/// Threads  "mig/check" does the work; start() and result() from the main thread. The destructor
///          drops the machine lock while it waits for the thread.
/// Errors   end in the result.
class Checker {
public:
    using Connect = std::move_only_function<Result<io::ChannelPtr>(const io::Patience&)>;
    /// Runs in the check's thread.
    using Done = std::function<void(const CheckResult&)>;

    Checker(system::Vm& vm, MigrationService& service, Done done)
        : vm_(vm), service_(service), done_(std::move(done))
    {}
    ~Checker();

    /// Errors   Busy: a check is on.
    Result<void> start(Connect connect, std::int64_t measure_ns);
    CheckResult result() const;

private:
    void run(Connect& connect, std::int64_t measure_ns);
    Result<void> check(CheckResult& result, Connect& connect, std::int64_t measure_ns);
    void sample_dirty_rate(CheckResult& result, std::int64_t measure_ns);
    void join() noexcept;

    system::Vm& vm_;
    MigrationService& service_;
    Done done_;
    SteadyClock clock_;
    mutable std::mutex mutex_;
    CheckResult result_;  // mutex_
    io::Cancel cancel_;
    NamedThread thread_;
};

}  // namespace godwit::migration
