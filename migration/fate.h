// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a source asks when the connection broke during the handover: did you start the guest?
// docs/migration/handshake.md.
#pragma once

#include "io/channel.h"
#include "migration/stream/reader.h"
#include "util/result.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace godwit::migration {

/// What the connection of such a question begins with, where a migration's says "QEVM".
inline constexpr std::uint32_t kQuestionMagic = 0x4757686f;  // "GWho"

/// By which a destination knows the source that it had everything from. Random, used once.
using Ticket = std::array<std::byte, 16>;

/// What became of the guest at the destination. It decides once, and stays with it.
enum class Fate : std::uint8_t {
    Refused = 0,  ///< it did not start the guest, and never will
    Started = 1,  ///< the guest is its
    Unknown = 2,  ///< it knows nothing of this ticket
};

Result<Ticket> make_ticket();

/// The source's end, over a new connection; waits within the channel's patience.
Result<Fate> ask_fate(io::Channel& channel, const Ticket& ticket);

/// The destination's end, behind the magic. True when it was asked with `ours`, and has answered
/// `fate`; anybody else hears Unknown.
Result<bool> answer_question(io::Channel& channel, stream::StreamReader& in,
                             const std::optional<Ticket>& ours, Fate fate);

}  // namespace godwit::migration
