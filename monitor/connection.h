// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the monitor's own commands see of the connection they came from.
#pragma once

#include "monitor/session_fds.h"
#include "qapi/command_context.h"

namespace godwit::monitor {

/// A command context that belongs to a monitor. The commands of qapi/monitor.json find it behind
/// the context they are given; any other context means no connection.
class Connection : public qapi::CommandContext {
public:
    explicit Connection(SessionFds& fds) : fds_(fds) {}

    /// qmp_capabilities succeeded; only a QMP connection negotiates.
    virtual Result<void> negotiate(bool enable_oob)
    {
        return Error(Errc::Unsupported, "This connection does not negotiate capabilities");
    }
    SessionFds& fds() noexcept { return fds_; }

    Result<UniqueFd> take_received_fd() override { return fds_.take_received(); }
    Result<UniqueFd> take_named_fd(std::string_view name) override { return fds_.take_named(name); }

private:
    SessionFds& fds_;
};

}  // namespace godwit::monitor
