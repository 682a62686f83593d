// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Migration of one machine: what is configured, what stands in the way, who takes part, and the
// attempt that runs, if one does.
#pragma once

#include "io/channel.h"
#include "migration/blockers.h"
#include "migration/capabilities.h"
#include "migration/environment.h"
#include "migration/notifier.h"
#include "migration/parameters.h"
#include "migration/statistics.h"
#include "migration/status.h"
#include "util/registration.h"
#include "util/result.h"

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace godwit::migration {

class MigrationService;
struct ServiceState;
class Timelines;

/// What query-migrate shows; numbers only of the phase they belong to.
struct MigrationReport {
    std::optional<Status> status;  ///< none when nothing ever happened
    std::optional<std::string> error;
    const Statistics* statistics = nullptr;  ///< source, from active on; valid until the next call
    bool source = false;
    bool show_xbzrle = false;
    std::optional<std::uint64_t> vfio_bytes;  ///< where there are such devices
    std::vector<std::string> blocked_reasons;
};

/// Owns everything about migration of one machine.
///
/// Life     made before the machine's devices, because the sections `timer`, `ram` and
///          `dirty-bitmap` have the first numbers; machine_done() after them.
/// Threads  the main thread with the machine lock, but for what says otherwise.
/// Errors   refusals in QEMU's words.
class MigrationService {
public:
    using Connect = std::move_only_function<Result<io::ChannelPtr>(const io::Patience&)>;

    static Result<std::unique_ptr<MigrationService>> create(Environment environment);
    /// Cancels what runs and waits for it, with the machine lock dropped meanwhile.
    ~MigrationService();

    /// All devices are there: registers `globalstate`, the last section, and notes the name that
    /// the configuration section carries and the UUID, if one was given.
    Result<void> machine_done(std::string machine_name, std::optional<stream::Uuid> uuid = {});

    // --- Settings -------------------------------------------------------------------------------
    const Capabilities& capabilities() const noexcept;
    const Parameters& parameters() const noexcept;
    /// All of them or none. Refused while an attempt runs.
    Result<void> set_capabilities(std::span<const CapabilityChange> changes);
    /// All of them or none; limits act at once on an attempt that runs.
    Result<void> set_parameters(const ParameterChanges& changes);
    void set_dirty_ring(bool on) noexcept;  ///< the accelerator has one
    void set_ignore_unknown_sections(bool on) noexcept;
    void set_suppress_description(bool on) noexcept;
    /// Off: no timeline, no forecast. To measure what they cost.
    void set_insight(bool on) noexcept;
    /// For tests: see Environment::final_pass.
    void set_final_pass(const std::array<std::uint8_t, Environment::kFinalSteps>& order) noexcept;

    Blockers& blockers() noexcept;
    /// Blocks while the Registration lives; refused while an attempt runs.
    Result<Registration> block(std::string reason);
    /// Every reason, devices that cannot be migrated among them.
    std::vector<std::string> blocked_reasons() const;
    Notifiers& notifiers() noexcept;
    /// Every change of a status on this side, in the thread that made it.
    [[nodiscard]] Registration on_status(Side side, StatusTracker::Observer observer);

    // --- Source ---------------------------------------------------------------------------------
    /// Whether migrate would be refused now, and why.
    Result<void> check_migrate() const;
    /// Starts an attempt over what `connect` opens, in its own thread.
    Result<void> migrate(Connect connect);
    /// An attempt whose file, command or descriptor could not even be opened: setup, then failed.
    void migrate_failed(const Error& error);
    /// Does nothing when nothing runs. Any status but postcopy.
    Result<void> cancel();
    /// migrate-continue. "Migration not in expected state: ..."
    Result<void> continue_from(Status expected);
    /// From any thread: the guest is stopped for good unless the attempt fails.
    bool in_completion() const noexcept;

    // --- Destination ----------------------------------------------------------------------------
    /// `-incoming` was given: the machine waits, in run state inmigrate.
    void expect_incoming();
    /// Whether incoming() would be refused now, and why.
    Result<void> check_incoming() const;
    /// migrate-incoming, or `-incoming URI` once the machine is done. `accept` is called in the
    /// incoming thread. `exit_on_error`: a failure ends the program.
    /// `accepts_again`: it may be called more than once, so that somebody may come for a check.
    Result<void> incoming(Connect accept, bool exit_on_error = true, bool accepts_again = false);

    Status status() const noexcept;  ///< of the side that did something last; any thread
    MigrationReport report();
    /// What happened in the last attempts; any thread.
    const Timelines& timelines() const noexcept;

    /// As the destructor does, earlier.
    void shut_down();

private:
    explicit MigrationService(std::unique_ptr<ServiceState> state);
    std::unique_ptr<ServiceState> state_;
};

}  // namespace godwit::migration
