// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Who asked for a command, for the few commands that must know.
#pragma once

#include "util/result.h"
#include "util/unique_fd.h"

#include <string_view>

namespace godwit::qapi {

/// The connection a command came from. This one stands for no connection at all: a test, the
/// command line, a human monitor without descriptors. Monitors derive theirs.
///
/// Commands that the schema marks with 'context': true get it as their first argument.
///
/// Threads  the thread that dispatches the command; not kept beyond the command's end.
class CommandContext {
public:
    CommandContext() = default;
    CommandContext(const CommandContext&) = delete;
    CommandContext& operator=(const CommandContext&) = delete;
    virtual ~CommandContext() = default;

    /// The request was exec-oob: the command must not wait for anything.
    virtual bool out_of_band() const noexcept { return false; }

    /// The next descriptor that arrived together with requests, in order of arrival.
    /// Errors  "No file descriptor supplied via SCM_RIGHTS".
    virtual Result<UniqueFd> take_received_fd();

    /// Takes the descriptor that an earlier getfd named; the name is free afterwards.
    /// Errors  NotFound: "File descriptor named 'NAME' has not been found".
    virtual Result<UniqueFd> take_named_fd(std::string_view name);
};

}  // namespace godwit::qapi
