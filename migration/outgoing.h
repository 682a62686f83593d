// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One attempt to move the machine away. Gone when it ends.
#pragma once

#include "io/channel.h"
#include "migration/environment.h"
#include "migration/insight/peer_timeline.h"
#include "migration/insight/timeline.h"
#include "migration/live_state.h"
#include "migration/notifier.h"
#include "migration/pacing/auto_converge.h"
#include "migration/pacing/forecast.h"
#include "migration/pacing/live_limits.h"
#include "migration/pacing/rate_limit.h"
#include "migration/pacing/refinement.h"
#include "migration/pacing/switchover.h"
#include "migration/ram/ram_section.h"
#include "migration/rehearsal.h"
#include "migration/return_path.h"
#include "migration/signals.h"
#include "migration/statistics.h"
#include "migration/status.h"
#include "migration/stream/channel_stream.h"
#include "migration/stream/common_sections.h"
#include "migration/stream/description.h"
#include "system/run_state.h"
#include "util/thread.h"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace godwit::migration {

/// What was decided when the attempt began; nothing changes it.
struct OutgoingConfig {
    Capabilities capabilities;
    Parameters parameters;
};

/// The order of the final pass is a contract (docs/migration/final-pass.md):
/// stop, in-completion notifiers, dirty sync by listener priority, RAM and live handlers, device
/// state, end mark, handover.
///
/// Threads  "mig/main" does everything; cancel() and the getters from the main thread.
/// Errors   end in error() and in the status; the guest then runs on if it ran before.
class Outgoing final : public RamObserver {
public:
    /// What lives longer than the attempt.
    struct Parts {
        Environment& env;
        Notifiers& notifiers;
        StatusTracker& status;
        RamSection& ram;
        LiveLimits& limits;
        stream::GlobalStateSection& global_state;
        std::shared_ptr<Timeline> timeline;
    };
    using Connect = std::move_only_function<Result<io::ChannelPtr>(const io::Patience&)>;

    /// `status` has moved to Setup. `done` runs in the migration thread, as its last act.
    static Result<std::unique_ptr<Outgoing>> create(Parts parts, OutgoingConfig config,
                                                    Connect connect,
                                                    std::move_only_function<void()> done);
    /// Waits for the thread: cancel() first, and do not hold the machine lock unless `done` ran.
    ~Outgoing();

    /// Errors   BadState once the destination may run.
    Result<void> cancel();
    /// What migrate-continue does in pre-switchover.
    void continue_switchover();
    /// Shuts the connection down, wherever its thread hangs: the attempt then fails. Any thread;
    /// takes no machine lock.
    void yank();

    const Statistics& statistics() const noexcept { return statistics_; }
    const OutgoingConfig& config() const noexcept { return config_; }
    /// The reason of a failure, once there is one.
    std::optional<std::string> error() const;
    /// Between the in-completion notifiers and the end of the attempt.
    bool in_completion() const noexcept { return in_completion_; }

private:
    Outgoing(Parts parts, OutgoingConfig config, Connect connect,
             std::move_only_function<void()> done);

    void run();
    Result<void> move();
    Result<void> connect();
    Result<void> announce();
    bool moves_memory_alone() const;
    Result<void> send_setup();
    Result<void> send_preamble();
    Result<void> iterate();
    Result<Pending> pending(bool exact);
    Result<void> round(Budget& budget);
    Result<bool> near_enough();
    std::uint64_t threshold() const;
    void rehearse();
    void predict_downtime(std::uint64_t left);
    void measure(std::int64_t now);
    std::uint64_t delivered() const;
    std::uint64_t paced() const;
    void rest(std::int64_t now);
    bool may_switch_over();
    bool know_peer();
    bool peer_has_answered() const;
    Result<void> await_answer();
    Result<void> await_arrival();

    Result<void> switch_over();
    Result<void> stop();
    void prepare_buffers();
    Result<void> stop_guest();
    Result<void> flush_into_memory();
    Result<void> wait_for_continue();
    Result<void> last_sync();
    Result<void> complete_live();
    Result<void> send_devices();
    Result<void> send_device(const stream::StateEntry& entry);
    Result<void> send_final(const stream::StateEntry& entry, FinalState& state);
    Result<void> send_end();
    Result<void> commit_end_mark();
    Result<void> hand_over();
    Result<void> let_go();
    Result<void> give_to_godwit();
    Result<void> await_shut();
    Result<void> settle(Error broken);
    std::optional<Fate> ask_again();
    void thank();
    std::optional<std::uint32_t> hear_out_peer();
    bool answered() const noexcept { return has(Capability::ReturnPath) || peer_ == Peer::Godwit; }

    void finish(Result<void> result);
    void restore(Error error);
    void clean_up_handlers() noexcept;
    void start_guest_again();

    Result<void> check_interrupted();
    std::vector<stream::StateEntry*> live_entries() const;
    Result<void> section(stream::SectionType type, const stream::StateEntry& entry,
                         const std::function<Result<void>()>& body);
    void note_part(std::string name, PartKind kind, std::int64_t since, std::uint64_t from);
    void note_downtime();
    void synced(std::uint64_t count, std::uint64_t fresh_pages, std::int64_t since_ns) override;
    void note_pass(std::uint64_t count, std::uint64_t fresh_pages, std::int64_t since_ns);
    // Bytes on the wire, and those that mostly-zero pages did not take.
    struct Sent {
        std::uint64_t bytes = 0;
        std::uint64_t spared = 0;
    };
    void note_sample(std::int64_t now, const Sent& window, std::int64_t window_ns);
    void note_round(std::int64_t since, std::uint64_t from);
    void probe(std::int64_t now);
    void end_probe() noexcept;
    void foretell(std::int64_t now);
    void score(bool completed);
    void ask_clock();
    bool has(Capability c) const noexcept { return config_.capabilities.has(c); }

    Parts p_;
    OutgoingConfig config_;
    Connect connect_;
    std::move_only_function<void()> done_;
    std::shared_ptr<Statistics> kept_ = std::make_shared<Statistics>();  // the timeline's too
    Statistics& statistics_ = *kept_;
    Signals signals_;
    io::Cancel cancel_;         // signals_.mutex, behind the attempt's last wait
    std::mutex channel_mutex_;  // for yank(), until yankable_ goes: who sets channel_ and shuts it
    io::ChannelPtr channel_;
    bool yanked_ = false;  // channel_mutex_
    Registration yankable_;
    std::optional<stream::ChannelSink> sink_;
    std::optional<stream::StreamWriter> out_;
    PeerTimeline peer_timeline_;
    std::int64_t clock_asked_ = 0;
    std::optional<ReturnPath> return_path_;
    // Who is at the other end; decided before the guest stops.
    enum class Peer : std::uint8_t { Unknown, Silent, Qemu, Godwit };
    Peer peer_ = Peer::Unknown;
    std::int64_t asked_ns_ = 0;  // when it was asked
    stream::DescriptionWriter description_;
    std::vector<stream::StateEntry*> set_up_;  // whose cleanup() is owed

    // Pacing
    RateLimit rate_;
    SwitchoverEstimate estimate_;
    Refinement refinement_;
    Rehearsal rehearsal_;
    std::int64_t look_ns_ = 0;  // what the last exact look took
    std::int64_t way_ns_ = 0;   // and the way there and back before it
    std::uint32_t arrivals_ = 0;
    std::uint64_t arrived_spared_ = 0;  // of Statistics::spared_bytes the destination has this much
    AutoConverge converge_;
    std::int64_t window_start_ = 0;
    std::uint64_t window_bytes_ = 0;
    std::uint64_t window_pages_ = 0;
    std::uint64_t window_spared_ = 0;
    std::int64_t window_busy_ns_ = 0;  // in rounds, or held back by the limit
    std::int64_t limited_ns_ = 0;      // the last rest that the limit asked for
    std::int64_t period_start_ = 0;
    std::uint64_t period_fresh_ = 0;
    std::uint64_t period_bytes_ = 0;
    std::int64_t last_sync_ns_ = 0;

    // The pass that runs, for the timeline and the forecast
    std::int64_t pass_start_ = 0;
    std::uint64_t pass_bytes_ = 0;
    std::uint64_t pass_spared_ = 0;
    Forecaster forecaster_;
    bool probing_ = false;
    std::int64_t probe_start_ = 0;
    std::int64_t probe_at_ = 0;  // when the next may begin
    unsigned probe_throttle_ = 0;

    // Switchover
    bool stopped_ = false;       // we stopped the guest
    bool was_live_ = false;      // and it ran before
    bool gone_ = false;          // the destination may run it
    system::RunState before_{};  // its state then
    std::int64_t stop_ns_ = 0;
    std::int64_t sync_ns_ = 0;
    std::atomic<bool> in_completion_{false};

    mutable std::mutex error_mutex_;
    std::optional<std::string> error_;  // error_mutex_

    NamedThread thread_;  // last: joins before what it uses is gone
};

}  // namespace godwit::migration
