// SPDX-License-Identifier: LGPL-2.1-or-later
//
// From an address to a channel, whatever kind it is.
#pragma once

#include "io/address.h"
#include "io/channel.h"
#include "io/socket.h"

namespace godwit::io {

/// A channel to write to: connects a socket, creates a file, starts a command that reads.
Result<ChannelPtr> open_for_writing(const Address& address, const ConnectOptions& options = {});

/// A channel to read from, where nobody connects: a file, a descriptor, a command that writes.
/// Errors   InvalidArgument for tcp, unix and vsock: those need a Listener.
Result<ChannelPtr> open_for_reading(const Address& address, const ConnectOptions& options = {});

}  // namespace godwit::io
