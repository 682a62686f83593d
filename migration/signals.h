// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What others tell a migration thread while it works or waits.
#pragma once

#include "migration/fate.h"
#include "util/result.h"

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

namespace godwit::migration {

/// One mutex and one condition for everything an outgoing attempt may wait for.
///
/// Threads  any; members are guarded by `mutex`, every change is followed by a notify.
struct Signals {
    std::mutex mutex;
    std::condition_variable woken;
    bool cancelled = false;
    bool committed = false;      ///< the destination may run: too late to cancel
    bool continued = false;      ///< migrate-continue came
    bool path_required = false;  ///< capability return-path; set before the path is listened to
    // From the return path:
    bool echo_seen = false;  ///< the first PING was answered: we know who the peer is
    bool peer_godwit = false;
    bool ready = false;            ///< the peer, a Godwit, has everything
    std::optional<Ticket> ticket;  ///< to ask it again with; came before `ready`
    std::uint32_t arrived = 0;     ///< the value of the last kArrived that came back
    bool switchover_ack = false;
    std::optional<std::uint32_t> shut;
    bool path_ended = false;  ///< nothing more will come
    /// It ended with an error, and that matters: it is required, or the peer is a Godwit.
    std::optional<Error> path_error;
    std::string peer_error;  ///< what a Godwit says went wrong there

    /// The peer says what makes no sense: the connection is shut down for it.
    bool path_nonsense() const { return path_error && path_error->code() == Errc::BadFormat; }

    template <class F>
    void tell(F change)
    {
        {
            const std::lock_guard guard(mutex);
            change();
        }
        woken.notify_all();
    }
};

}  // namespace godwit::migration
