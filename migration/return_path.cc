// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/return_path.h"

#include "migration/handshake.h"
#include "migration/printable.h"
#include "migration/stream/channel_stream.h"
#include "migration/stream/sections.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::migration {

using stream::ReturnMessage;

ReturnPath::ReturnPath(io::Channel& channel, Signals& signals, PeerTimeline& timeline)
    : channel_(channel), signals_(signals), timeline_(timeline),
      thread_("mig/return", [this](const std::stop_token&) { run(); })
{}

void ReturnPath::run()
{
    auto result = listen();
    bool nonsense = false;
    signals_.tell([&] {
        signals_.path_ended = true;
        if (!result && !signals_.path_error && (signals_.path_required || signals_.peer_godwit))
            signals_.path_error = std::move(result).error().context("return path");
        nonsense = signals_.path_nonsense();
    });
    // Who says what makes no sense may not read, either: a write that waits for that is ended.
    if (nonsense)
        (void)channel_.shutdown(io::Shutdown::Both);
}

Result<void> ReturnPath::listen()
{
    stream::ChannelSource source(channel_);
    stream::StreamReader in(source, 4096);
    for (;;) {
        const stream::ReturnFrame frame = GW_TRY(stream::read_return_message(in));
        switch (frame.type) {
        case ReturnMessage::Shut: {
            const std::uint32_t value = stream::payload_be32(frame.payload);
            signals_.tell([&] { signals_.shut = value; });
            return ok();
        }
        case ReturnMessage::Pong: {
            const std::uint32_t value = stream::payload_be32(frame.payload);
            signals_.tell([&] {
                if (value == kGodwitPong)
                    signals_.peer_godwit = true;
                else if (value == kGodwitReady && signals_.peer_godwit)
                    signals_.ready = true;
                else if ((value & kArrivedMask) == kArrived)
                    signals_.arrived = value;
                else
                    signals_.echo_seen = true;
            });
            break;
        }
        case ReturnMessage::SwitchoverAck:
            signals_.tell([&] { signals_.switchover_ack = true; });
            break;
        case ReturnMessage::GodwitError: {
            std::string text(reinterpret_cast<const char*>(frame.payload.data()),
                             frame.payload.size());
            signals_.tell([&] { signals_.peer_error = printable(text); });
            break;
        }
        case ReturnMessage::GodwitClock:
            timeline_.clock_told(frame.payload);
            break;
        case ReturnMessage::GodwitTimeline:
            timeline_.events_told(frame.payload);
            break;
        case ReturnMessage::GodwitTicket: {
            Ticket ticket{};
            std::ranges::copy(frame.payload, ticket.begin());
            signals_.tell([&] { signals_.ticket = ticket; });
            break;
        }
        case ReturnMessage::RequestPagesId:
        case ReturnMessage::RequestPages:
        case ReturnMessage::RecvBitmap:
        case ReturnMessage::ResumeAck:
            return in.error_here(Errc::BadFormat, fmt::format("message {} outside postcopy",
                                                              static_cast<unsigned>(frame.type)));
        }
    }
}

}  // namespace godwit::migration
