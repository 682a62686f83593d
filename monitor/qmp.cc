// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/connection.h"
#include "monitor/monitor_qmp.h"
#include "qapi/command_table.h"
#include "qapi/introspect.h"
#include "system/fd_store.h"
#include "util/json.h"

#include <algorithm>

namespace godwit::monitor {

namespace {

/// The monitor connection behind a context.
Result<Connection*> connection(qapi::CommandContext& context)
{
    if (auto* found = dynamic_cast<Connection*>(&context))
        return found;
    return Error(Errc::Unsupported, "This command works on a monitor connection only");
}

}  // namespace

Result<void> MonitorQmp::qmp_capabilities(qapi::CommandContext& context,
                                          const qapi::QmpCapabilitiesArgs& args)
{
    Connection* caller = GW_TRY(connection(context));
    const bool oob = args.enable && std::ranges::find(*args.enable, qapi::QMPCapability::Oob) !=
                                        args.enable->end();
    return caller->negotiate(oob);
}

Result<std::vector<qapi::CommandNameInfo>> MonitorQmp::query_commands()
{
    std::vector<qapi::CommandNameInfo> names;
    for (const qapi::CommandInfo& info : services_.commands.commands())
        names.push_back({.name = std::string(info.name)});
    return names;
}

Result<Json> MonitorQmp::query_qmp_schema(const Json& arguments)
{
    if (!arguments.empty())
        return Error(Errc::InvalidArgument,
                     "Parameter '" + arguments.begin().key() + "' is unexpected");
    return parse_json(qapi::schema_json());
}

Result<std::string> MonitorQmp::human_monitor_command(qapi::CommandContext& context,
                                                      const qapi::HumanMonitorCommandArgs& args)
{
    return services_.run_hmp(args.command_line, context, args.cpu_index);
}

Result<void> MonitorQmp::getfd(qapi::CommandContext& context, const qapi::GetfdArgs& args)
{
    Connection* caller = GW_TRY(connection(context));
    return caller->fds().name_received(args.fdname);
}

Result<void> MonitorQmp::closefd(qapi::CommandContext& context, const qapi::ClosefdArgs& args)
{
    Connection* caller = GW_TRY(connection(context));
    return caller->fds().close_named(args.fdname);
}

Result<qapi::AddfdInfo> MonitorQmp::add_fd(qapi::CommandContext& context,
                                           const qapi::AddFdArgs& args)
{
    UniqueFd fd = GW_TRY(context.take_received_fd());
    const auto added = GW_TRY(services_.fd_sets.add(std::move(fd), args.fdset_id, args.opaque));
    return qapi::AddfdInfo{.fdset_id = added.set_id, .fd = added.fd};
}

Result<void> MonitorQmp::remove_fd(const qapi::RemoveFdArgs& args)
{
    return services_.fd_sets.remove(args.fdset_id, args.fd);
}

Result<std::vector<qapi::FdsetInfo>> MonitorQmp::query_fdsets()
{
    std::vector<qapi::FdsetInfo> out;
    for (const auto& set : services_.fd_sets.list()) {
        qapi::FdsetInfo& info = out.emplace_back();
        info.fdset_id = set.id;
        for (const auto& member : set.members)
            info.fds.push_back({.fd = member.fd, .opaque = member.opaque});
    }
    return out;
}

}  // namespace godwit::monitor
