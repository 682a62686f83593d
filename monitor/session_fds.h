// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The descriptors a client sent over one connection: those not yet taken, and those with a name.
#pragma once

#include "util/result.h"
#include "util/unique_fd.h"

#include <cstddef>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::monitor {

/// Threads  any: an out-of-band command may take a descriptor while an in-band one runs.
/// Errors   in the words of QEMU's getfd and closefd.
class SessionFds {
public:
    /// More that nobody took are closed, oldest first: a client cannot use up our descriptors.
    static constexpr std::size_t kMaxReceived = 64;
    static constexpr std::size_t kMaxNamed = 256;

    void receive(std::vector<UniqueFd> fds);
    /// The connection closed: what was not taken goes. Names stay.
    void drop_received();

    /// The oldest descriptor not yet taken.
    Result<UniqueFd> take_received();
    /// Gives the oldest one a name; a descriptor that had the name is closed.
    Result<void> name_received(const std::string& name);
    Result<void> close_named(std::string_view name);
    Result<UniqueFd> take_named(std::string_view name);

private:
    std::mutex mutex_;  // guards both
    std::deque<UniqueFd> received_;
    std::map<std::string, UniqueFd, std::less<>> named_;
};

}  // namespace godwit::monitor
