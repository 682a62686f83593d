// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Who the destination is, the end of the stream, and the handover. docs/migration/handshake.md.
#include "io/tcp.h"
#include "migration/handshake.h"
#include "migration/outgoing.h"
#include "util/units.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>

namespace godwit::migration {

using stream::Command;
using stream::SectionType;

namespace {

// Who has not answered the first PING by then, and need not, never will. The guest runs meanwhile.
constexpr std::int64_t kAnswerNs = 3000 * kMs;
// How long a peer that need not say anything may take to close, so that no byte is lost to a reset.
constexpr std::int64_t kQemuClosesNs = 5000 * kMs;
constexpr std::int64_t kSilentClosesNs = 1000 * kMs;
// How long a destination that broke off has to say why.
constexpr std::int64_t kReasonNs = 1000 * kMs;
// How long a destination has that is asked again what became of the guest. It stays for longer.
constexpr std::chrono::milliseconds kAnswerAgain{4000};
constexpr std::int64_t kSliceNs = 50 * kMs;
// Before the guest stops: what may still lie in our queue, and how long what left it may take.
constexpr std::uint32_t kShortQueue = 32 * 1024;
constexpr std::int64_t kMomentNs = 5 * kMs;
// Bytes of memory a second that any destination fills.
constexpr double kLeastWork = 256e6;

// More is under way than a way of this length holds: it waits before the narrowest part.
bool queues_on_the_way(const io::Channel& channel)
{
    const auto pipe = io::tcp_pipe_bytes(channel.fd());
    return pipe && channel.bytes_underway() > *pipe + *pipe / 4 + 2 * kShortQueue;
}

// False when `for_ns` went by first.
template <class Condition>
bool wait_for(Clock& clock, Signals& signals, std::int64_t for_ns, Condition met)
{
    const std::int64_t end = clock.now_ns() + for_ns;
    std::unique_lock lock(signals.mutex);
    for (;;) {
        if (met())
            return true;
        const std::int64_t now = clock.now_ns();
        if (now >= end)
            return false;
        clock.wait(lock, signals.woken, std::min(end, now + kSliceNs));
    }
}

}  // namespace

// Once it is known it stays: a Godwit is told so before the end mark.
bool Outgoing::know_peer()
{
    if (peer_ != Peer::Unknown)
        return true;
    {
        const std::lock_guard guard(signals_.mutex);
        const bool given_up = signals_.path_ended || p_.env.clock.now_ns() - asked_ns_ >= kAnswerNs;
        if (signals_.echo_seen)
            peer_ = signals_.peer_godwit ? Peer::Godwit : Peer::Qemu;
        else if (!has(Capability::ReturnPath) && given_up)
            peer_ = Peer::Silent;
    }
    if (peer_ == Peer::Godwit)
        stream::write_command_be32(*out_, Command::Ping, kGodwitStay);
    return peer_ != Peer::Unknown;
}

// With signals_.mutex: something came that know_peer() has not looked at.
bool Outgoing::peer_has_answered() const
{
    return peer_ == Peer::Unknown && (signals_.echo_seen || signals_.path_ended);
}

// When there is nothing to send until the peer is known.
Result<void> Outgoing::await_answer()
{
    if (know_peer() || GW_TRY(pending(false)).total() != 0)
        return ok();
    const std::int64_t left =
        has(Capability::ReturnPath) ? kSliceNs : asked_ns_ + kAnswerNs - p_.env.clock.now_ns();
    (void)wait_for(p_.env.clock, signals_, left, [&] {
        return peer_has_answered() || signals_.cancelled || signals_.shut || signals_.path_error;
    });
    GW_TRY(check_interrupted());
    (void)know_peer();
    return ok();
}

// The guest is not to stand still while bytes that were sent before wait for the link: they go
// first, and the look at the dirty log that decides comes afterwards. The link is kept busy until
// the queues on our side and on the way are short; what the way itself holds, and what the
// destination has not read yet, is waited for as long as that is a matter of a moment. Mostly-zero
// pages are few bytes in its queue but as much work as others, so they are waited for as long as a
// slow destination may need for that much memory.
Result<void> Outgoing::await_arrival()
{
    const bool answers = peer_ == Peer::Godwit || peer_ == Peer::Qemu;
    const std::uint32_t value = kArrived | (++arrivals_ & ~kArrivedMask);
    if (answers) {
        stream::write_command_be32(*out_, Command::Ping, value);
        GW_TRY(out_->flush());
    }
    const std::int64_t since = p_.env.clock.now_ns();
    if (auto sent = channel_->wait_until_sent(kShortQueue); !sent) {
        GW_TRY(check_interrupted());
        return sent;
    }
    if (!answers)
        return ok();
    const std::int64_t asked = p_.env.clock.now_ns();
    const std::uint64_t spared = statistics_.spared_bytes;
    const auto work_ns =
        static_cast<std::int64_t>(static_cast<double>(spared - arrived_spared_) / kLeastWork * 1e9);
    const auto met = [&] {
        return signals_.arrived == value || signals_.path_ended || signals_.shut ||
               signals_.cancelled || signals_.path_error;
    };
    for (std::int64_t wait = kMomentNs; !wait_for(p_.env.clock, signals_, wait, met); wait = kMs)
        if (!queues_on_the_way(*channel_) && p_.env.clock.now_ns() - asked >= work_ns)
            break;
    {
        const std::lock_guard guard(signals_.mutex);
        if (signals_.arrived == value)
            arrived_spared_ = spared;
    }
    way_ns_ = p_.env.clock.now_ns() - asked;
    if (p_.env.clock.now_ns() - since > kMs)
        p_.timeline->lasted(TimelineKind::Switchover, "drained", since);
    return check_interrupted();
}

// Step 6. A peer that does not answer may run the guest from the moment it has the end mark.
Result<void> Outgoing::send_end()
{
    const std::int64_t since = p_.env.clock.now_ns();
    if (answered())
        out_->put_u8(static_cast<std::uint8_t>(SectionType::Eof));
    else
        GW_TRY(commit_end_mark());
    description_.end_array();
    description_.end_object();
    stream::write_description(*out_, description_.str());
    auto sent = out_->flush();
    if (!sent && gone_ && hear_out_peer() == 0u)
        sent = ok();  // it did not want the description
    if (!sent && gone_)
        return std::move(sent).error().context(
            "behind the end mark; the destination may be running the guest: look there, and 'cont' "
            "here only if it does not");
    GW_TRY(std::move(sent));
    statistics_.transferred = out_->position();
    note_part("flush", PartKind::Flush, since, out_->position());
    return ok();
}

// A cancel comes before the mark has left, or it is too late.
Result<void> Outgoing::commit_end_mark()
{
    GW_TRY(out_->flush());
    constexpr std::byte mark{static_cast<std::uint8_t>(SectionType::Eof)};
    for (;;) {
        {
            const std::lock_guard guard(signals_.mutex);
            if (signals_.cancelled)
                return Error(Errc::Cancelled, "cancelled");
            if (GW_TRY(channel_->try_write({&mark, 1}))) {
                // What a file or a command holds runs nowhere yet.
                signals_.committed = gone_ = channel_->has(io::Feature::Shutdown);
                break;
            }
        }
        GW_TRY(channel_->wait(io::Direction::Write));
    }
    out_->passed(1);
    return ok();
}

// Step 7. With a Godwit the guest is ours until it says that it has everything and we answer. With
// a QEMU we wait for its SHUT if the operator wants a return path. Otherwise sending is all there
// is.
Result<void> Outgoing::hand_over()
{
    const std::int64_t since = p_.env.clock.now_ns();
    std::int64_t resume = since;
    Result<void> end = ok();
    if (peer_ == Peer::Godwit) {
        end = give_to_godwit();
        if (gone_) {
            note_part("handover", PartKind::Handover, since, out_->position());
            resume = p_.env.clock.now_ns();
        }
        if (!end)
            (void)hear_out_peer();  // it may say why
    }
    if (end)
        end = answered() ? await_shut() : let_go();
    thank();
    if (!end && gone_)
        end = settle(std::move(end).error());
    GW_TRY(std::move(end));
    // Only a Godwit says when it had everything, and not just that its guest runs.
    if (peer_ == Peer::Godwit)
        note_part("resume", PartKind::Resume, resume, out_->position());
    else if (answered())
        note_part("handover", PartKind::Handover, since, out_->position());
    if (answered())
        note_downtime();
    return ok();
}

Result<void> Outgoing::give_to_godwit()
{
    {
        std::unique_lock lock(signals_.mutex);
        signals_.woken.wait(lock, [&] {
            return signals_.ready || signals_.shut || signals_.path_error || signals_.cancelled;
        });
        signals_.committed =
            signals_.ready && !signals_.cancelled && !signals_.shut && !signals_.path_error;
        if (!signals_.committed)
            return ok();  // await_shut() says why
        gone_ = true;
    }
    stream::write_command_be32(*out_, Command::Ping, kGodwitGo);
    auto given = out_->flush();
    // The word did not leave us whole, so nobody can have heard it: the guest is still ours.
    gone_ = given.has_value();
    return with_context(std::move(given), "handing over");
}

Result<void> Outgoing::await_shut()
{
    std::unique_lock lock(signals_.mutex);
    signals_.woken.wait(lock,
                        [&] { return signals_.shut || signals_.path_error || signals_.cancelled; });
    if (signals_.cancelled && !signals_.committed)
        return Error(Errc::Cancelled, "cancelled");
    if (signals_.shut == 0u) {
        signals_.committed = true;
        return ok();
    }
    gone_ = gone_ && !signals_.shut;  // it says itself that it failed: the guest is ours
    if (!signals_.peer_error.empty())
        return Error(Errc::Io, "destination: " + signals_.peer_error);
    if (signals_.shut)
        return Error(Errc::Io, "the destination failed to load");
    return Error(*signals_.path_error)
        .context(fmt::format("all {} bytes were sent", out_->position()));
}

// The connection broke when the guest may have been given away. A destination that gave a ticket
// has decided what becomes of it, once, and can be asked over a new connection.
Result<void> Outgoing::settle(Error broken)
{
    const std::int64_t since = p_.env.clock.now_ns();
    const std::optional<Fate> fate = ask_again();
    p_.timeline->lasted(TimelineKind::Switchover, "asked again", since);
    if (fate == Fate::Started) {
        p_.env.log.warn(std::move(broken)
                            .context("during the handover; the destination says that it runs the "
                                     "guest")
                            .message());
        return ok();
    }
    if (fate == Fate::Refused) {
        gone_ = false;
        return std::move(broken).context(
            "during the handover; the destination says that it did not start the guest");
    }
    return std::move(broken).context(
        "after the handover; the destination may be running the guest: look there, and 'cont' "
        "here only if it does not");
}

// Nothing when there is no answer, or none that helps.
std::optional<Fate> Outgoing::ask_again()
{
    std::optional<Ticket> ticket;
    {
        const std::lock_guard guard(signals_.mutex);
        ticket = signals_.ticket;
    }
    if (!ticket)
        return std::nullopt;
    // It reads the end there, if it still reads.
    (void)channel_->shutdown(io::Shutdown::Both);
    const io::Patience patience{.cancel = cancel_, .deadline = io::deadline_in(kAnswerAgain)};
    const auto channel = connect_(patience);
    if (!channel || !*channel)
        return std::nullopt;
    (*channel)->set_patience(patience);
    const auto fate = ask_fate(**channel, *ticket);
    if (!fate)
        p_.env.log.warn(fate.error().message());
    return fate ? std::optional(*fate) : std::nullopt;
}

// A destination that gave a ticket need not wait for a question.
void Outgoing::thank()
{
    {
        const std::lock_guard guard(signals_.mutex);
        if (!signals_.ticket || !signals_.shut)
            return;
    }
    stream::StreamWriter out;
    stream::write_command_be32(out, Command::Ping, kGodwitThanks);
    (void)channel_->write_all(out.take());
}

// Nobody need say anything. But closing while an answer comes would take back what is under way
// (TCP resets), so the peer closes first, if it does.
Result<void> Outgoing::let_go()
{
    const std::int64_t since = p_.env.clock.now_ns();
    if (!gone_) {
        yankable_.reset();
        GW_TRY(channel_->close());
        note_part("handover", PartKind::Handover, since, out_->position());
        const std::lock_guard guard(signals_.mutex);
        if (signals_.cancelled)
            return Error(Errc::Cancelled, "cancelled");
        signals_.committed = true;
        note_downtime();
        return ok();
    }
    (void)channel_->shutdown(io::Shutdown::Write);
    note_part("handover", PartKind::Handover, since, out_->position());
    note_downtime();
    (void)wait_for(p_.env.clock, signals_, peer_ == Peer::Qemu ? kQemuClosesNs : kSilentClosesNs,
                   [&] { return signals_.path_ended; });
    return ok();
}

// After a failure: a destination that broke off may have said why. What it said with SHUT, if it
// did.
std::optional<std::uint32_t> Outgoing::hear_out_peer()
{
    if (!return_path_ || !sink_ || !sink_->failed())
        return std::nullopt;
    (void)wait_for(p_.env.clock, signals_, kReasonNs,
                   [&] { return signals_.path_ended || signals_.shut || signals_.cancelled; });
    const std::lock_guard guard(signals_.mutex);
    return signals_.shut;
}

}  // namespace godwit::migration
