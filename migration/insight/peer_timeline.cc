// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/insight/peer_timeline.h"

#include "migration/handshake.h"
#include "migration/printable.h"
#include "migration/stream/reader.h"
#include "migration/stream/sections.h"
#include "migration/stream/writer.h"

#include <algorithm>

namespace godwit::migration {
namespace {

constexpr std::uint8_t kHasDuration = 1;
constexpr std::uint8_t kHasBytes = 2;
constexpr std::uint8_t kHasNumber = 4;
constexpr std::size_t kMaxClockPings = 64;
// So far outside the attempt nothing of it can have happened: a destination may wait for days.
constexpr std::int64_t kBeforeNs = 30LL * 24 * 3600 * 1'000'000'000;
constexpr std::int64_t kAfterNs = 3600LL * 1'000'000'000;

void put_event(stream::StreamWriter& out, const TimelineEvent& event)
{
    std::uint8_t has = 0;
    if (event.duration_ns >= 0)
        has |= kHasDuration;
    if (event.bytes)
        has |= kHasBytes;
    if (event.number)
        has |= kHasNumber;
    out.put_u8(static_cast<std::uint8_t>(event.kind));
    out.put_u8(has);
    out.put_be64(static_cast<std::uint64_t>(event.start_ns));
    if (event.duration_ns >= 0)
        out.put_be64(static_cast<std::uint64_t>(event.duration_ns));
    if (event.bytes)
        out.put_be64(*event.bytes);
    if (event.number)
        out.put_be64(static_cast<std::uint64_t>(*event.number));
    out.put_str8(event.name);
}

Result<TimelineEvent> get_event(stream::StreamReader& in)
{
    TimelineEvent event;
    const std::uint8_t kind = GW_TRY(in.get_u8());
    if (kind >= kTimelineKinds)
        return Error(Errc::BadFormat, "no such kind of event");
    event.kind = static_cast<TimelineKind>(kind);
    const std::uint8_t has = GW_TRY(in.get_u8());
    event.start_ns = static_cast<std::int64_t>(GW_TRY(in.get_be64()));
    if ((has & kHasDuration) != 0)
        event.duration_ns = static_cast<std::int64_t>(GW_TRY(in.get_be64()));
    if ((has & kHasBytes) != 0)
        event.bytes = GW_TRY(in.get_be64());
    if ((has & kHasNumber) != 0)
        event.number = static_cast<std::int64_t>(GW_TRY(in.get_be64()));
    event.name = printable(GW_TRY(in.get_str8()), kMaxTimelineName);
    return event;
}

}  // namespace

std::vector<std::vector<std::byte>> encode_timeline(const Timeline& timeline)
{
    std::vector<std::vector<std::byte>> messages;
    std::vector<TimelineEvent> events = timeline.snapshot().events;
    if (events.size() > kMaxPeerEvents)
        events.erase(events.begin(), events.end() - kMaxPeerEvents);  // the end is what matters
    stream::StreamWriter message;
    for (const TimelineEvent& event : events) {
        stream::StreamWriter one;
        put_event(one, event);
        const auto bytes = one.take();
        if (message.position() + bytes.size() > stream::kMaxReturnPayload) {
            messages.push_back(message.take());
            message = stream::StreamWriter();
        }
        message.put_bytes(bytes);
    }
    messages.push_back(message.take());
    return messages;
}

std::vector<std::byte> encode_clock(std::uint32_t ping, std::int64_t now_ns)
{
    stream::StreamWriter out;
    out.put_be32(ping);
    out.put_be64(static_cast<std::uint64_t>(now_ns));
    return out.take();
}

std::optional<std::uint32_t> PeerTimeline::ask_clock()
{
    const std::lock_guard guard(mutex_);
    if (asked_ns_.size() >= kMaxClockPings)
        return std::nullopt;
    asked_ns_.push_back(clock_.now_ns());
    return kGodwitClock | static_cast<std::uint32_t>(asked_ns_.size() - 1);
}

void PeerTimeline::clock_told(std::span<const std::byte> payload)
{
    const std::int64_t now = clock_.now_ns();
    stream::StreamReader in(payload);
    const auto ping = in.get_be32();
    const auto there = in.get_be64();
    if (!ping || !there)
        return;
    const std::lock_guard guard(mutex_);
    const std::size_t number = *ping & ~kGodwitClockMask;
    // Beyond what a clock that counts from its start can show; and so no difference overflows.
    constexpr std::uint64_t most = std::uint64_t{1} << 61;
    if ((*ping & kGodwitClockMask) != kGodwitClock || number >= asked_ns_.size() || *there > most)
        return;
    const std::int64_t round_trip = now - asked_ns_[number];
    if (offset_ns_ && round_trip >= round_trip_ns_)
        return;
    round_trip_ns_ = round_trip;
    offset_ns_ = static_cast<std::int64_t>(*there) - (asked_ns_[number] + round_trip / 2);
}

// With mutex_; the offset is known.
bool PeerTimeline::plausible(const TimelineEvent& event) const
{
    constexpr std::int64_t most = std::int64_t{1} << 61;
    if (event.start_ns < 0 || event.start_ns > most || event.duration_ns > most ||
        event.duration_ns < -1)
        return false;
    const std::int64_t here = event.start_ns - *offset_ns_;
    return here >= begun_ns_ - kBeforeNs && here <= clock_.now_ns() + kAfterNs &&
           event.duration_ns <= kBeforeNs + kAfterNs;
}

void PeerTimeline::events_told(std::span<const std::byte> payload)
{
    stream::StreamReader in(payload);
    const std::lock_guard guard(mutex_);
    while (in.position() < payload.size()) {
        auto event = get_event(in);
        if (!event) {
            ++dropped_;  // and what follows cannot be told apart
            return;
        }
        if (!offset_ns_ || events_.size() >= kMaxPeerEvents || !plausible(*event))
            ++dropped_;
        else
            events_.push_back(std::move(*event));
    }
}

std::optional<std::int64_t> PeerTimeline::round_trip_ns() const
{
    const std::lock_guard guard(mutex_);
    return offset_ns_ ? std::optional(round_trip_ns_) : std::nullopt;
}

std::optional<TimelinePeer> PeerTimeline::result() const
{
    const std::lock_guard guard(mutex_);
    if (!offset_ns_)
        return std::nullopt;
    TimelinePeer peer{.events = events_,
                      .dropped = dropped_,
                      .clock_offset_ns = *offset_ns_,
                      .clock_error_ns = (round_trip_ns_ + 1) / 2};
    std::ranges::stable_sort(peer.events, {}, &TimelineEvent::start_ns);
    return peer;
}

}  // namespace godwit::migration
