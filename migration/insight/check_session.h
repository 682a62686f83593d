// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The talk of a check: what the source of a migrate-check asks, and the destination that waits for
// a migration answers. Field tables: docs/migration/preflight.md.
#pragma once

#include "io/channel.h"
#include "migration/environment.h"
#include "migration/stream/reader.h"
#include "util/json.h"
#include "util/result.h"

#include <cstdint>
#include <functional>

namespace godwit::migration {

/// What a check's connection begins with, where a migration's says "QEVM".
inline constexpr std::uint32_t kCheckMagic = 0x4757636b;  // "GWck"
inline constexpr std::uint32_t kCheckVersion = 1;
/// A destination does not let itself be kept from the real thing for longer.
inline constexpr std::chrono::seconds kCheckPatience{60};

/// The destination's end, behind the magic, until the source has had enough.
///
/// Errors   what the source sent wrongly, or the connection; the destination then goes on waiting.
Result<void> serve_check(io::Channel& channel, stream::StreamReader& in,
                         const std::function<Json()>& facts);

/// The source's end.
///
/// Threads  one; each call waits for its answer within the channel's patience.
class CheckSession {
public:
    static Result<CheckSession> open(io::Channel& channel);
    /// The destination's facts.
    Result<Json> facts();
    /// The median of some round trips.
    Result<std::int64_t> round_trip_ns(const Clock& clock);
    /// Bytes a second while so much time passes.
    Result<std::uint64_t> bandwidth(const Clock& clock, std::int64_t for_ns);
    Result<void> finish();

private:
    explicit CheckSession(io::Channel& channel) : channel_(&channel) {}
    io::Channel* channel_;
};

}  // namespace godwit::migration
