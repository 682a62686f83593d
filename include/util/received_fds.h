// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Descriptors that came with a message over a Unix socket.
#pragma once

#include "util/unique_fd.h"

#include <sys/socket.h>
#include <vector>

namespace godwit {

/// All that recvmsg() put into the control part of `message` as SCM_RIGHTS, in order, so that none
/// is lost: whoever wants fewer closes the rest by dropping them.
std::vector<UniqueFd> received_fds(const msghdr& message);

}  // namespace godwit
