// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The life of an outgoing attempt up to the switchover, and its end.
#include "migration/outgoing.h"

#include "migration/handshake.h"
#include "migration/trace.h"
#include "system/guest_memory.h"
#include "system/main_loop.h"
#include "system/yank.h"
#include "util/units.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::migration {

using stream::Command;
using stream::SectionType;
using stream::StateEntry;

namespace {

// A round of one handler ends after this long, so that all get their turn.
constexpr std::int64_t kTurnNs = 50 * kMs;

class RoundBudget final : public Budget {
public:
    RoundBudget(const RateLimit& rate, const LiveLimits& limits, const Statistics& statistics,
                Clock& clock, Signals& signals)
        : rate_(rate), limits_(limits), statistics_(statistics), clock_(clock), signals_(signals),
          start_(clock.now_ns())
    {}
    bool spent(std::uint64_t position) override
    {
        if (rate_.exceeded(statistics_.paced(position), limits_.max_bandwidth))
            return true;
        {
            const std::lock_guard guard(signals_.mutex);
            if (signals_.cancelled || signals_.path_error)
                return true;
        }
        return clock_.now_ns() - start_ > kTurnNs;
    }

    std::uint64_t room(std::uint64_t position) const override
    {
        return rate_.room(statistics_.paced(position), limits_.max_bandwidth);
    }

private:
    const RateLimit& rate_;
    const LiveLimits& limits_;
    const Statistics& statistics_;
    Clock& clock_;
    Signals& signals_;
    std::int64_t start_;
};

}  // namespace

Result<std::unique_ptr<Outgoing>> Outgoing::create(Parts parts, OutgoingConfig config,
                                                   Connect connect,
                                                   std::move_only_function<void()> done)
{
    io::Cancel cancel = GW_TRY(io::Cancel::create());
    std::unique_ptr<Outgoing> made(
        new Outgoing(parts, std::move(config), std::move(connect), std::move(done)));
    made->cancel_ = std::move(cancel);
    if (system::YankRegistry* yanks = parts.env.yanks; yanks != nullptr)
        made->yankable_ = yanks->add({}, [o = made.get()] { o->yank(); });
    made->thread_ = NamedThread("mig/main", [o = made.get()](const std::stop_token&) { o->run(); });
    return made;
}

Outgoing::Outgoing(Parts parts, OutgoingConfig config, Connect connect,
                   std::move_only_function<void()> done)
    : p_(parts), config_(std::move(config)), connect_(std::move(connect)), done_(std::move(done)),
      peer_timeline_(parts.env.clock)
{
    statistics_.start_ns = p_.env.clock.now_ns();
    statistics_.expected_downtime_ms = static_cast<std::int64_t>(p_.limits.downtime_limit_ms);
    p_.timeline->set_statistics(kept_);
}

Outgoing::~Outgoing() = default;

std::optional<std::string> Outgoing::error() const
{
    const std::lock_guard guard(error_mutex_);
    return error_;
}

Result<void> Outgoing::cancel()
{
    {
        const std::lock_guard guard(signals_.mutex);
        if (signals_.committed)
            return Error(Errc::BadState,
                         "too late to cancel: the destination may be running the guest");
        // Under the mutex, so that the thread cannot commit in between.
        GW_TRY(p_.status.apply(Event::Cancel));
        signals_.cancelled = true;
        cancel_.request();
    }
    signals_.woken.notify_all();
    return ok();
}

void Outgoing::continue_switchover()
{
    signals_.tell([&] { signals_.continued = true; });
}

void Outgoing::yank()
{
    signals_.tell([&] {
        if (!signals_.path_error)
            signals_.path_error = Error(Errc::Closed, "was shut down");
    });
    const std::lock_guard guard(channel_mutex_);
    yanked_ = true;
    if (channel_)
        (void)channel_->shutdown(io::Shutdown::Both);
    else
        cancel_.request();  // it still connects
}

void Outgoing::run()
{
    auto result = move();
    finish(std::move(result));
    done_();
}

Result<void> Outgoing::move()
{
    GW_TRY(connect());
    GW_TRY(announce());
    auto set_up = send_setup();
    // As in QEMU a setup that failed is "active" for a moment before it is "failed".
    GW_TRY(p_.status.apply(Event::SetupDone));
    GW_TRY(std::move(set_up));
    statistics_.setup_ms = (p_.env.clock.now_ns() - statistics_.start_ns) / kMs;
    GW_TRY(iterate());
    GW_TRY(switch_over());
    return hand_over();
}

Result<void> Outgoing::connect()
{
    const std::int64_t since = p_.env.clock.now_ns();
    auto channel = connect_(io::Patience{.cancel = cancel_, .deadline = {}});
    {
        const std::lock_guard guard(channel_mutex_);
        if (yanked_)
            return Error(Errc::Closed, "while connecting");
        channel_ = GW_TRY(std::move(channel));
    }
    p_.timeline->lasted(TimelineKind::Connect, "main", since);
    channel_->set_patience({.cancel = cancel_, .deadline = {}});
    sink_.emplace(*channel_);
    out_.emplace(*sink_);
    return ok();
}

Result<void> Outgoing::announce()
{
    const system::MachineGuard guard(p_.env.lock);
    return p_.notifiers.ask(Moment::Setup);
}

Result<void> Outgoing::send_preamble()
{
    stream::StreamWriter& out = *out_;
    stream::write_file_header(out);
    description_.begin_object();
    stream::Configuration configuration{.machine = p_.env.machine_name};
    if (has(Capability::ValidateUuid))
        configuration.uuid = p_.env.uuid;
    stream::write_configuration(out, configuration, &description_);
    description_.number("page_size", system::kPageSize);
    description_.begin_array("devices");
    signals_.path_required = has(Capability::ReturnPath);
    // Files and commands get QEMU's stream byte for byte; whoever is at the end of a socket can
    // answer.
    if (signals_.path_required || channel_->has(io::Feature::Shutdown)) {
        return_path_.emplace(*channel_, signals_, peer_timeline_);
        stream::write_command(out, Command::OpenReturnPath);
        stream::write_command_be32(out, Command::Ping, kGodwitPing);
        ask_clock();
        asked_ns_ = p_.env.clock.now_ns();
    } else {
        peer_ = Peer::Silent;
    }
    return out.flush();
}

namespace {

/// The handler to move alive, if the entry has one that takes part.
LiveStateHandler* live_part(const StateEntry& entry)
{
    auto* live = dynamic_cast<LiveStateHandler*>(entry.live);
    const auto* maybe = dynamic_cast<MaybeActive*>(live);
    return maybe != nullptr && !maybe->is_active() ? nullptr : live;
}

}  // namespace

// Mostly-zero pages do not show what the link carries, and bytes of devices wait for just that.
bool Outgoing::moves_memory_alone() const
{
    return std::ranges::count_if(p_.env.registry.entries(), [](const auto& entry) {
               return live_part(*entry) != nullptr;
           }) <= 1;
}

Result<void> Outgoing::send_setup()
{
    GW_TRY(send_preamble());
    p_.ram.begin(std::make_unique<RamSource>(
        p_.env, statistics_, *this,
        RamSource::Options{config_.parameters.zero_page_detection != ZeroPageDetection::None,
                           moves_memory_alone(),
                           has(Capability::Xbzrle) ? config_.parameters.xbzrle_cache_size : 0}));
    period_start_ = last_sync_ns_ = p_.env.clock.now_ns();
    for (const auto& entry : p_.env.registry.entries()) {
        if (entry->early_setup() && entry->needed()) {
            const system::MachineGuard guard(p_.env.lock);
            GW_TRY(send_device(*entry));
        }
        LiveStateHandler* const live = live_part(*entry);
        if (live == nullptr)
            continue;
        set_up_.push_back(entry.get());
        const SourceContext context{config_.capabilities};
        const std::int64_t since = p_.env.clock.now_ns();
        GW_TRY(section(SectionType::Start, *entry, [&] { return live->setup(*out_, context); }));
        p_.timeline->lasted(TimelineKind::Setup, entry->idstr, since);
    }
    GW_TRY(out_->flush());
    return check_interrupted();
}

Result<void> Outgoing::section(SectionType type, const StateEntry& entry,
                               const std::function<Result<void>()>& body)
{
    stream::write_section_header(
        *out_, {type, entry.section_id, entry.idstr, entry.instance_id, entry.version});
    GW_TRY(with_context(body(), entry.idstr));
    stream::write_section_footer(*out_, entry.section_id);
    return ok();
}

std::vector<StateEntry*> Outgoing::live_entries() const
{
    return set_up_;
}

Result<void> Outgoing::check_interrupted()
{
    const std::lock_guard guard(signals_.mutex);
    if (signals_.cancelled)
        return Error(Errc::Cancelled, "cancelled");
    if (!signals_.peer_error.empty())
        return Error(Errc::Io, "destination: " + signals_.peer_error);
    if (signals_.path_error)
        return Error(*signals_.path_error).context(fmt::format("at byte {}", out_->position()));
    if (signals_.shut)
        return Error(Errc::Io, "the destination gave up");
    return ok();
}

Result<Pending> Outgoing::pending(bool exact)
{
    Pending sum;
    for (StateEntry* entry : live_entries()) {
        auto& live = dynamic_cast<LiveStateHandler&>(*entry->live);
        sum += GW_TRY(
            with_context(exact ? live.pending_exact() : live.pending_estimate(), entry->idstr));
    }
    return sum;
}

bool Outgoing::may_switch_over()
{
    if (!know_peer())
        return false;
    if (!has(Capability::SwitchoverAck) || !p_.env.run_state.running())
        return true;
    const std::lock_guard guard(signals_.mutex);
    return signals_.switchover_ack;
}

// Whether the guest may be stopped now.
Result<bool> Outgoing::near_enough()
{
    Pending left = GW_TRY(pending(false));
    // An estimate of nothing is not believed while the guest runs: it was made before the guest
    // wrote what it wrote since the last sync.
    const bool running = p_.env.run_state.running();
    const bool doubtful = left.total() == 0 && running && statistics_.total != 0;
    if (doubtful)
        measure(p_.env.clock.now_ns());
    const bool refine = running && may_switch_over();
    if (wants_exact(left, threshold()) || doubtful) {
        if (refine && refinement_.finish_pass(left.total()))
            return false;
        if (running) {
            rehearse();
            GW_TRY(await_arrival());
        }
        const std::int64_t since = p_.env.clock.now_ns();
        left = GW_TRY(pending(true));
        look_ns_ = p_.env.clock.now_ns() - since;
    }
    if (next_step(left, threshold(), may_switch_over()) != Step::Complete)
        return false;
    const std::int64_t now = p_.env.clock.now_ns();
    if (refine && refinement_.another_pass(left.total(), estimate_.bytes_per_ms() / 1e6, now,
                                           now - statistics_.start_ns))
        return false;
    predict_downtime(left.total());
    return true;
}

// What the parts that are not memory will take comes off the downtime that is left for memory; but
// not so much that a guest with large devices could never be stopped.
std::uint64_t Outgoing::threshold() const
{
    const std::uint64_t whole = estimate_.threshold();
    const double share = estimate_.bytes_per_ms() * static_cast<double>(rehearsal_.ns()) / 1e6;
    const std::uint64_t devices =
        rehearsal_.bytes() + static_cast<std::uint64_t>(std::min(share, 1e18));
    return whole - std::min(devices, whole / 4 * 3);
}

Result<void> Outgoing::round(Budget& budget)
{
    if (peer_ == Peer::Godwit && p_.env.clock.now_ns() - clock_asked_ > 1000 * kMs)
        ask_clock();
    for (StateEntry* entry : live_entries()) {
        if (rate_.exceeded(paced(), p_.limits.max_bandwidth))
            break;
        auto& live = dynamic_cast<LiveStateHandler&>(*entry->live);
        const auto turn = [&]() -> Result<void> {
            GW_TRY(live.iterate(*out_, budget));
            return ok();
        };
        GW_TRY(section(SectionType::Part, *entry, turn));
        GW_TRY(out_->flush());
    }
    return ok();
}

Result<void> Outgoing::iterate()
{
    rate_.begin(p_.env.clock.now_ns(), paced());
    window_start_ = p_.env.clock.now_ns();
    window_bytes_ = delivered();
    for (;;) {
        GW_TRY(check_interrupted());
        GW_TRY(await_answer());
        if (GW_TRY(near_enough()))
            break;
        RoundBudget budget(rate_, p_.limits, statistics_, p_.env.clock, signals_);
        const std::uint64_t before = out_->position();
        const std::uint64_t paced_before = paced();
        const std::int64_t since = p_.env.clock.now_ns();
        GW_TRY(round(budget));
        note_round(since, before);
        statistics_.transferred = out_->position();
        const std::int64_t now = p_.env.clock.now_ns();
        const bool limited = rate_.exceeded(paced(), p_.limits.max_bandwidth);
        // A rest was one for the link only if there was enough to send behind it, too.
        window_busy_ns_ += now - since + (limited ? limited_ns_ : 0);
        limited_ns_ = 0;
        if (has(Capability::AutoConverge) && statistics_.dirty_sync_count > 1 &&
            now - last_sync_ns_ > 5000 * kMs)
            GW_TRY(pending(true));
        if (now - window_start_ >= kWindowNs)
            measure(now);
        const bool idle = paced() - paced_before < 4096;  // e.g. waiting for SWITCHOVER_ACK
        if (idle || limited)
            rest(now);
        const std::int64_t rested = p_.env.clock.now_ns();
        limited_ns_ = limited ? rested - now : 0;
        if (rate_.over(rested))
            rate_.begin(rested, paced());
    }
    end_probe();
    statistics_.precopy_bytes = out_->position();
    return ok();
}

// Sleeps until the window ends, or something happens that cannot wait.
void Outgoing::rest(std::int64_t now)
{
    std::unique_lock lock(signals_.mutex);
    const bool acked = signals_.switchover_ack;
    const std::uint64_t limit = p_.limits.max_bandwidth;
    while (now < rate_.end() && !signals_.cancelled && !signals_.path_error &&
           signals_.switchover_ack == acked && !peer_has_answered() &&
           p_.limits.max_bandwidth == limit) {
        // In slices, so that a changed limit acts at once.
        p_.env.clock.wait(lock, signals_.woken, std::min(rate_.end(), now + 10 * kMs));
        now = p_.env.clock.now_ns();
    }
}

std::uint64_t Outgoing::paced() const
{
    return statistics_.paced(out_->position());
}

// What only went into the socket's queue says nothing about the link.
std::uint64_t Outgoing::delivered() const
{
    const std::uint64_t written = out_->position();
    return written - std::min(written, channel_->bytes_underway());
}

void Outgoing::measure(std::int64_t now)
{
    if (now <= window_start_)
        return;
    const std::uint64_t pages = statistics_.normal_pages + statistics_.zero_pages;
    const std::uint64_t bytes = delivered();
    const std::uint64_t fresh = bytes - std::min(bytes, window_bytes_);
    const std::int64_t idle_ns = std::max<std::int64_t>(now - window_start_ - window_busy_ns_, 0);
    estimate_.update({now - window_start_, fresh, pages - window_pages_, idle_ns},
                     {p_.limits.downtime_limit_ms, p_.limits.avail_switchover_bandwidth});
    statistics_.mbps = estimate_.mbps();
    statistics_.pages_per_second = estimate_.pages_per_second();
    if (estimate_.expected_downtime_ms() >= 0)
        statistics_.expected_downtime_ms = estimate_.expected_downtime_ms();
    const std::uint64_t spared = statistics_.spared_bytes;
    note_sample(now, {fresh, spared - window_spared_}, now - window_start_);
    window_spared_ = spared;
    window_start_ = now;
    window_bytes_ = bytes;
    window_pages_ = pages;
    window_busy_ns_ = 0;
}

void Outgoing::synced(std::uint64_t count, std::uint64_t fresh_pages, std::int64_t since_ns)
{
    const std::int64_t now = p_.env.clock.now_ns();
    const std::uint64_t sent = paced();
    last_sync_ns_ = now;
    note_pass(count, fresh_pages, since_ns);
    period_fresh_ += count == 1 ? 0 : fresh_pages;
    if (p_.env.recorder != nullptr)
        p_.env.recorder->record(kTraceDirtySync, count, fresh_pages, statistics_.remaining.load());
    if (now - period_start_ > 1000 * kMs) {
        statistics_.dirty_pages_rate =
            period_fresh_ * 1000 / static_cast<std::uint64_t>((now - period_start_) / kMs);
        if (has(Capability::AutoConverge) && !stopped_) {
            const unsigned percent = converge_.period_ended(period_fresh_ * system::kPageSize,
                                                            sent - period_bytes_, p_.limits);
            if (percent != statistics_.throttle_percent) {
                statistics_.throttle_percent = percent;
                p_.env.dirty.throttle(percent);
                p_.timeline->note(TimelineKind::Throttle, "auto-converge", percent);
            }
        }
        period_start_ = now;
        period_fresh_ = 0;
        period_bytes_ = sent;
    }
    estimate_.set_dirty(p_.ram.source()->pending_estimate().total(), statistics_.dirty_pages_rate);
    if (has(Capability::Events))
        p_.env.emit_pass(count);
}

// --- The end -------------------------------------------------------------------------------------

void Outgoing::clean_up_handlers() noexcept
{
    for (StateEntry* entry : set_up_)
        dynamic_cast<LiveStateHandler&>(*entry->live).cleanup();
    set_up_.clear();
    p_.ram.cleanup();
    if (statistics_.throttle_percent != 0)
        p_.env.dirty.throttle(0);
    statistics_.throttle_percent = 0;
}

void Outgoing::start_guest_again()
{
    if (!stopped_ || gone_)
        return;
    stopped_ = false;
    Result<void> back = was_live_ ? p_.env.run_state.start() : p_.env.run_state.set(before_);
    p_.timeline->note(TimelineKind::Guest, std::string(to_string(p_.env.run_state.state())));
    if (!back)
        p_.env.log.report(back.error());
}

void Outgoing::restore(Error error)
{
    const system::MachineGuard guard(p_.env.lock);
    const bool cancelled = p_.status.status() == Status::Cancelling;
    if (cancelled) {
        start_guest_again();
    } else {
        {
            const std::lock_guard text(error_mutex_);
            error_ = error.message();
        }
        p_.timeline->set_error(error.message());
        p_.env.log.error(error.message());
    }
    for (const Error& complaint : p_.notifiers.tell(Moment::Failed))
        p_.env.log.report(complaint);
    in_completion_ = false;
    // QEMU's order of events: RESUME, "cancelled"; but "failed", RESUME. Both under the machine
    // lock, so that no client sees the one without the other.
    if (auto moved = p_.status.apply(cancelled ? Event::Drained : Event::Fail); !moved)
        p_.env.log.report(moved.error());
    start_guest_again();
    if (gone_)
        (void)p_.env.run_state.set(system::RunState::Postmigrate);
}

void Outgoing::finish(Result<void> result)
{
    end_probe();
    clean_up_handlers();
    const bool finished = result.has_value();
    if (!finished && return_path_) {
        (void)hear_out_peer();
        // What the destination had to say is more telling than that the connection broke.
        const std::lock_guard guard(signals_.mutex);
        if (!signals_.peer_error.empty() && !signals_.cancelled)
            result = Error(Errc::Io, "destination: " + signals_.peer_error);
        else if (signals_.path_nonsense() && sink_->failed() && !signals_.cancelled)
            result =
                Error(*signals_.path_error).context(fmt::format("at byte {}", out_->position()));
    }
    yankable_.reset();  // nobody yanks any more
    if (!finished && yanked_)
        result = std::move(result).error().context("the connection was yanked");
    if (channel_)
        (void)channel_->shutdown(io::Shutdown::Both);
    return_path_.reset();
    if (auto told = peer_timeline_.result(); told)
        p_.timeline->set_peer(std::move(*told));
    channel_.reset();  // nothing is written any more
    connect_ = nullptr;
    {
        const std::lock_guard guard(signals_.mutex);
        cancel_ = {};  // nothing waits any more, and its descriptor need not outlive the attempt
    }
    statistics_.total_ms = (p_.env.clock.now_ns() - statistics_.start_ns) / kMs;
    score(finished);
    if (!finished) {
        restore(std::move(result).error());
        return;
    }
    statistics_.downtime_bytes = out_->position() - statistics_.precopy_bytes;
    const system::MachineGuard guard(p_.env.lock);
    in_completion_ = false;
    if (auto set = p_.env.run_state.set(system::RunState::Postmigrate); !set)
        p_.env.log.report(set.error());
    for (const Error& complaint : p_.notifiers.tell(Moment::Completed))
        p_.env.log.report(complaint);
    if (auto moved = p_.status.apply(Event::Finish); !moved)
        p_.env.log.report(moved.error());
}

}  // namespace godwit::migration
