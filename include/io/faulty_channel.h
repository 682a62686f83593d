// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A channel that misbehaves on order. For tests only.
#pragma once

#include "io/channel.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace godwit::io {

/// What goes wrong, and where. The same orders give the same behaviour each time.
struct Fault {
    enum class Kind {
        Delay,    ///< wait `delay` before byte `at` moves
        Shorten,  ///< from byte `at` on, at most `chunk` bytes a call
        Break,    ///< the stream fails before byte `at` with Errc::Io, and shuts the channel down
        End,      ///< reading: the stream ends before byte `at`; writing: the rest is swallowed
        Corrupt,  ///< byte `at` is xored with `mask`
        Stall,    ///< nothing moves from byte `at` on, until cancelled, shut down or timed out
        Notify,   ///< `reached` is called before byte `at` moves
    };
    Kind kind = Kind::Break;
    Direction direction = Direction::Read;
    std::uint64_t at = 0;  ///< byte of the stream, in that direction
    std::chrono::milliseconds delay{0};
    std::size_t chunk = 1;
    std::uint8_t mask = 0xff;
    std::function<void()> reached{};
};

/// Wraps `inner`; whatever no fault touches goes through as it is. Positions in files
/// (pread, pwrite) pass through untouched.
Result<ChannelPtr> make_faulty(ChannelPtr inner, std::vector<Fault> faults);

}  // namespace godwit::io
