// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where a migration goes to or comes from: `uri` and `channels` of the commands, made into
// channels.
#pragma once

#include "io/address.h"
#include "io/channel.h"
#include "io/listener.h"
#include "qapi/migration_types.h"
#include "util/result.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace godwit::qapi {
class CommandContext;
}
namespace godwit::system {
class FdStore;
}

namespace godwit::migration {

/// Keep it until the channel is gone: it may hold what the channel depends on (a set of
/// descriptors).
using Connect = std::move_only_function<Result<io::ChannelPtr>(const io::Patience&)>;

/// The one main address; the cpr channel is known and refused.
/// Errors   in QEMU's words: "need either 'uri' or 'channels' argument", "unknown migration
/// protocol:
///          X", "Channel list has more than one main entry".
Result<io::Address>
main_address(const std::optional<std::string>& uri,
             const std::optional<std::vector<qapi::MigrationChannel>>& channels);

/// Files, commands and descriptors are opened now, so that their errors are the command's; sockets
/// are connected later, in the migration thread.
/// `caller` finds `fd:` names; it is used only before this returns.
Result<Connect> connector(const io::Address& address, qapi::CommandContext& caller,
                          system::FdStore& fds);

/// What a destination does to get its stream.
struct Acceptor {
    Connect accept;
    std::vector<io::SocketAddress> listening;  ///< what query-migrate shows as socket-address
    bool again = false;                        ///< accept() may be called more than once
};
Result<Acceptor> acceptor(const io::Address& address, qapi::CommandContext& caller,
                          system::FdStore& fds);

/// Whether it can be connected to again and again: a socket with a name.
bool is_connectable(const io::Address& address);

qapi::SocketAddress to_qapi(const io::SocketAddress& address);

}  // namespace godwit::migration
