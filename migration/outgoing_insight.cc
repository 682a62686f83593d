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
    pass_start_ = now;
    pass_bytes_ = position;
}

void Outgoing::note_sample(std::int64_t now, std::uint64_t window_bytes, std::int64_t window_ns)
{
    const double seconds = static_cast<double>(window_ns) / 1e9;
    p_.timeline->sample(
        {.time_ns = now,
         .transferred = out_->position(),
         .remaining = statistics_.remaining,
         .wire_rate = static_cast<std::uint64_t>(static_cast<double>(window_bytes) / seconds),
         .dirty_rate = statistics_.dirty_pages_rate * system::kPageSize,
         .throttle = statistics_.throttle_percent});
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
