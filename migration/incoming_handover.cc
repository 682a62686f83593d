// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The destination's end of the handover, and what it tells the source behind it.
// docs/migration/handshake.md.
#include "migration/handshake.h"
#include "migration/incoming.h"
#include "migration/insight/peer_timeline.h"
#include "migration/stream/channel_stream.h"
#include "migration/stream/sections.h"

#include <algorithm>
#include <chrono>

namespace godwit::migration {

using stream::ReturnMessage;
using stream::SectionType;
using stream::StreamReader;

namespace {

// How long a source has to hear why its guest is refused, or that it is not any more.
constexpr std::chrono::milliseconds kHearing{1000};
// How long a source has to ask what became of the guest, when the connection broke during the
// handover. It asks at once, and waits for less.
constexpr std::chrono::milliseconds kStay{5000};
constexpr std::size_t kPiece = std::size_t{512} << 10;

}  // namespace

// Tells a Godwit that everything is here, and waits for the guest to be ours. Until then the source
// can take back.
Result<void> Incoming::agree(StreamReader& in)
{
    if (config_.accepts_again) {
        ticket_ = GW_TRY(make_ticket());
        (void)reply(ReturnMessage::GodwitTicket, *ticket_);
    }
    if (auto said = reply_be32(ReturnMessage::Pong, kGodwitReady); !said)
        return in.error_here(Errc::Io, std::move(said).error().message());
    const std::uint8_t type = GW_TRY(with_context(in.get_u8(), "the source took the guest back"));
    if (type != static_cast<std::uint8_t>(SectionType::Command))
        return in.error_here(Errc::BadFormat, "no handover from the source");
    const stream::CommandFrame frame = GW_TRY(stream::read_command(in));
    if (frame.command != stream::Command::Ping || stream::payload_be32(frame.payload) != kGodwitGo)
        return in.error_here(Errc::BadFormat, "no handover from the source");
    return ok();
}

// The source has heard what became of the guest: nobody will ask.
bool Incoming::thanked()
{
    stream::StreamWriter thanks;
    stream::write_command_be32(thanks, stream::Command::Ping, kGodwitThanks);
    const std::vector<std::byte> expected = thanks.take();
    channel_->set_patience({.cancel = cancel_, .deadline = io::deadline_in(kHearing)});
    std::vector<std::byte> last;
    std::vector<std::byte> piece(kPiece);
    while (!std::ranges::equal(last, expected)) {
        const auto got = channel_->read_some(piece);
        if (!got || *got == 0)
            return false;
        last.insert(last.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(*got));
        if (last.size() > expected.size())
            last.erase(last.begin(), last.end() - static_cast<std::ptrdiff_t>(expected.size()));
    }
    return true;
}

// The connection broke during the handover. The source asks, over a new one.
void Incoming::stay_for_questions(Fate fate)
{
    const io::Patience patience{.cancel = cancel_, .deadline = io::deadline_in(kStay)};
    for (bool answered = false; !answered;) {
        const auto channel = accept_(patience);
        if (!channel)
            return;
        // Others may stand in the queue.
        (*channel)->set_patience({.cancel = cancel_, .deadline = io::deadline_in(kHearing)});
        stream::ChannelSource source(**channel);
        StreamReader in(source, 64);
        if (in.get_be32().value_or(0) == kQuestionMagic)
            answered = answer_question(**channel, in, ticket_, fate).value_or(false);
    }
}

// Who asks for a guest that somebody else here took, or did not: we know nothing of it.
void Incoming::serve_question(StreamReader& in)
{
    channel_->set_patience({.cancel = cancel_, .deadline = io::deadline_in(kStay)});
    if (in.skip(4))
        (void)answer_question(*channel_, in, std::nullopt, Fate::Unknown);
    const std::lock_guard guard(channel_mutex_);
    (void)channel_->close();
    channel_.reset();
}

// A Godwit is told why, and reads it before the connection is gone: closing with bytes unread would
// take the message back (TCP resets), so what still comes is thrown away for a moment.
// True when the source says that it has heard it.
bool Incoming::explain(const Error& error)
{
    if (peer_godwit_) {
        const std::string_view text =
            std::string_view(error.message()).substr(0, stream::kMaxReturnPayload);
        (void)reply(ReturnMessage::GodwitError, std::as_bytes(std::span(text)));
    }
    tell_timeline();
    (void)reply_be32(ReturnMessage::Shut, 1u);
    if (!peer_godwit_ || !channel_->has(io::Feature::Shutdown))
        return false;
    (void)channel_->shutdown(io::Shutdown::Write);
    return thanked();
}

// What the source will show beside its own. A source that does not read it must not hold us up.
void Incoming::tell_timeline()
{
    if (!timeline_wanted_)
        return;
    channel_->set_patience({.cancel = cancel_, .deadline = io::deadline_in(kHearing)});
    for (const std::vector<std::byte>& piece : encode_timeline(*p_.timeline))
        if (!reply(ReturnMessage::GodwitTimeline, piece))
            break;
    channel_->set_patience({.cancel = cancel_, .deadline = {}});
}

}  // namespace godwit::migration
