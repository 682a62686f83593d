// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The commands of qapi/monitor.json: about the connection itself, and about what is understood.
#pragma once

#include "qapi/monitor_commands.h"

#include <functional>
#include <string>
#include <string_view>

namespace godwit::qapi {
class CommandTable;
}

namespace godwit::system {
class FdStore;
}

namespace godwit::monitor {

/// Threads  main loop with the machine lock.
class MonitorQmp : public qapi::MonitorCommands {
public:
    struct Services {
        const qapi::CommandTable& commands;
        system::FdStore& fd_sets;
        /// Runs a human command; the answer ends in CR LF.
        std::function<Result<std::string>(std::string_view line, qapi::CommandContext& caller,
                                          std::optional<std::int64_t> cpu)>
            run_hmp;
    };
    explicit MonitorQmp(Services services) : services_(std::move(services)) {}

    Result<void> qmp_capabilities(qapi::CommandContext& context,
                                  const qapi::QmpCapabilitiesArgs& args) override;
    Result<std::vector<qapi::CommandNameInfo>> query_commands() override;
    Result<Json> query_qmp_schema(const Json& arguments) override;
    Result<std::string> human_monitor_command(qapi::CommandContext& context,
                                              const qapi::HumanMonitorCommandArgs& args) override;
    Result<void> getfd(qapi::CommandContext& context, const qapi::GetfdArgs& args) override;
    Result<void> closefd(qapi::CommandContext& context, const qapi::ClosefdArgs& args) override;
    Result<qapi::AddfdInfo> add_fd(qapi::CommandContext& context,
                                   const qapi::AddFdArgs& args) override;
    Result<void> remove_fd(const qapi::RemoveFdArgs& args) override;
    Result<std::vector<qapi::FdsetInfo>> query_fdsets() override;

private:
    Services services_;
};

}  // namespace godwit::monitor
