// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What an outgoing attempt leaves for people to see: parts of the downtime, passes, samples,
// stalls.
#include "migration/outgoing.h"
#include "migration/trace.h"

namespace godwit::migration {
namespace {

// A round ends after 50 ms unless a write waits for the wire.
constexpr std::int64_t kStallNs = 200'000'000;
// A look at the dirty rate, and the rest until the next.
constexpr std::int64_t kProbeNs = 1'500'000'000;
constexpr std::int64_t kProbeRestNs = 3'000'000'000;

TimelineKind kind_of(PartKind kind)
{
    return kind == PartKind::Device ? TimelineKind::DeviceSave : TimelineKind::Switchover;
}

}  // namespace

void Outgoing::note_part(std::string name, PartKind kind, std::int64_t since, std::uint64_t from)
{
    const std::int64_t ns = p_.env.clock.now_ns() - since;
    const std::uint64_t bytes = out_->position() - from;
    if (p_.env.recorder != nullptr)
        p_.env.recorder->record(kTraceSwitchoverPart, name, ns, bytes);
    p_.timeline->add({.kind = kind_of(kind),
                      .name = name,
                      .start_ns = since,
                      .duration_ns = ns,
                      .bytes = bytes});
    statistics_.add_part({.name = std::move(name),
                          .kind = kind,
                          .start_ns = since - stop_ns_,
                          .ns = ns,
                          .bytes = bytes});
}

// A sync begins a pass and ends the one before; the last begins the switchover.
void Outgoing::note_pass(std::uint64_t count, std::uint64_t fresh_pages, std::int64_t since_ns)
{
    const std::int64_t now = p_.env.clock.now_ns();
    const std::uint64_t position = out_->position();
    const std::uint64_t spared = statistics_.spared_bytes;
    if (count > 1)
        p_.timeline->add({.kind = TimelineKind::Pass,
                          .name = "ram",
                          .start_ns = pass_start_,
                          .duration_ns = since_ns - pass_start_,
                          .bytes = position - pass_bytes_,
                          .number = static_cast<std::int64_t>(count - 1)});
    p_.timeline->add({.kind = TimelineKind::Sync,
                      .name = stopped_ ? "last" : "dirty",
                      .start_ns = since_ns,
                      .duration_ns = now - since_ns,
                      .bytes = fresh_pages * system::kPageSize,
                      .number = static_cast<std::int64_t>(count)});
    if (count == 1)
        forecaster_.begin(statistics_.start_ns, statistics_.remaining);
    else if (!stopped_)
        forecaster_.pass_ended(now, since_ns - pass_start_,
                               position - pass_bytes_ + spared - pass_spared_,
                               fresh_pages * system::kPageSize);
    pass_start_ = now;
    pass_bytes_ = position;
    pass_spared_ = spared;
    if (count > 1 && !stopped_ && p_.timeline->kept())
        foretell(now);
}

void Outgoing::note_sample(std::int64_t now, const Sent& window, std::int64_t window_ns)
{
    const double seconds = static_cast<double>(window_ns) / 1e9;
    p_.timeline->sample(
        {.time_ns = now,
         .transferred = out_->position(),
         .remaining = statistics_.remaining,
         .wire_rate = static_cast<std::uint64_t>(static_cast<double>(window.bytes) / seconds),
         .dirty_rate = statistics_.dirty_pages_rate * system::kPageSize,
         .throttle = statistics_.throttle_percent});
    if (!p_.timeline->kept())
        return;
    // It thinks in memory: a page that took next to nothing got across as well as a whole one.
    forecaster_.wire(window_ns, window.bytes + window.spared, statistics_.remaining);
    probe(now);
    foretell(now);
}

// Looks beside the passes how fast the guest writes: from a clean slate, in a window after another,
// then a rest. Not in the first window: a move that is over by then costs nothing for it.
void Outgoing::probe(std::int64_t now)
{
    const unsigned throttle = statistics_.throttle_percent;
    if (probing_) {
        forecaster_.probe({now - probe_start_, p_.env.dirty.probe_read() * system::kPageSize});
        if (now - probe_start_ < kProbeNs && throttle == probe_throttle_)
            return;
        end_probe();
        probe_at_ = throttle == probe_throttle_ ? now + kProbeRestNs : now;
        return;
    }
    if (now < probe_at_ || !p_.env.run_state.running())
        return;
    if (!p_.env.dirty.probe_start()) {
        probe_at_ = now + kProbeRestNs;
        return;
    }
    probing_ = true;
    probe_throttle_ = throttle;
    probe_start_ = p_.env.clock.now_ns();
}

void Outgoing::end_probe() noexcept
{
    if (probing_)
        p_.env.dirty.probe_stop();
    probing_ = false;
}

void Outgoing::foretell(std::int64_t now)
{
    const bool news =
        forecaster_.judge_now(now, statistics_.remaining,
                              {.downtime_ms = p_.limits.downtime_limit_ms,
                               .max_bandwidth = p_.limits.max_bandwidth,
                               .avail_bandwidth = p_.limits.avail_switchover_bandwidth,
                               .throttle = statistics_.throttle_percent});
    if (!forecaster_.report())
        return;
    const ForecastReport& report = *forecaster_.report();
    statistics_.set_forecast(report);
    if (!news)
        return;
    p_.timeline->note(TimelineKind::Verdict, std::string(to_string(report.latest.verdict)),
                      static_cast<std::int64_t>(report.latest.pass));
    if (p_.env.recorder != nullptr)
        p_.env.recorder->record(kTraceVerdict, to_string(report.latest.verdict), report.latest.pass,
                                report.latest.wire_rate, report.latest.dirty_rate);
    if (has(Capability::Events) && p_.env.emit_forecast)
        p_.env.emit_forecast(report);
}

// A question between two sections; the answer with the shortest way counts.
void Outgoing::ask_clock()
{
    if (!p_.timeline->kept())
        return;
    clock_asked_ = p_.env.clock.now_ns();
    if (const auto ping = peer_timeline_.ask_clock(); ping)
        stream::write_command_be32(*out_, stream::Command::Ping, *ping);
}

void Outgoing::score(bool completed)
{
    forecaster_.ended(
        {.completed = completed, .total_ms = statistics_.total_ms, .limits_changed = false});
    if (forecaster_.report())
        statistics_.set_forecast(*forecaster_.report());
}

// A round that took far longer than its share waited for the wire.
void Outgoing::note_round(std::int64_t since, std::uint64_t from)
{
    const std::int64_t took = p_.env.clock.now_ns() - since;
    if (took < kStallNs)
        return;
    const double expected_ms =
        static_cast<double>(out_->position() - from) / std::max(estimate_.bytes_per_ms(), 1.0);
    if (static_cast<double>(took) / 1e6 > 4 * expected_ms)
        p_.timeline->lasted(TimelineKind::Stall, "wire", since, out_->position() - from);
}

}  // namespace godwit::migration
