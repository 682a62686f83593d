// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The source's end of the return path: reads what the destination says and passes it on.
#pragma once

#include "io/channel.h"
#include "migration/insight/peer_timeline.h"
#include "migration/signals.h"
#include "util/thread.h"

namespace godwit::migration {

/// Threads  "mig/return" reads until SHUT or an error; the destructor waits for it, so shut the
///          channel down first.
class ReturnPath {
public:
    ReturnPath(io::Channel& channel, Signals& signals, PeerTimeline& timeline);

private:
    void run();
    Result<void> listen();

    io::Channel& channel_;
    Signals& signals_;
    PeerTimeline& timeline_;
    NamedThread thread_;
};

}  // namespace godwit::migration
