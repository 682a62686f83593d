// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The monitors of a Vm: QMP and HMP on any chardev, and the qtest server. What main() calls for
// -mon, -qmp, -qmp-pretty, -monitor, -qtest and -qtest-log.
#pragma once

#include "qapi/event_sink.h"
#include "util/json_fwd.h"
#include "util/result.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace godwit::qapi {
class CommandContext;
class CommandTable;
}  // namespace godwit::qapi

namespace godwit::system {
class CommandLine;
class HmpTable;
class Vm;
}  // namespace godwit::system

namespace godwit::monitor {

/// Owns every monitor and the qtest server of one Vm, and takes the Vm's events.
///
/// Order    made after the Vm; register_commands() before the first monitor; monitors before the
///          machine is built (a client may connect early: its requests wait until the loop runs);
///          destroyed before the Vm.
/// Threads  with the machine lock, but emit(), which any thread may call.
/// Errors   "chardev \"x\" not found", what the chardev says.
class MonitorSet : public qapi::EventSink {
public:
    /// `commands` outlives the set; it may still be filled.
    MonitorSet(system::Vm& vm, qapi::CommandTable& commands);
    ~MonitorSet() override;

    /// Adds the commands of qapi/monitor.json to the table.
    void register_commands();
    /// Rooms add their human commands here; the set brings those of `info` and of the machine.
    system::HmpTable& hmp() noexcept;
    /// What qtest's module_load does; without it the request fails.
    void set_module_loader(
        std::function<Result<void>(std::string_view prefix, std::string_view name)> load);

    /// -mon, -qmp, -qmp-pretty, -monitor, -qtest, -qtest-log.
    void add_options(system::CommandLine& line);

    // What those options do; errors do not name the option.
    /// "chardev=ID[,mode=control|readline][,pretty=on|off]"
    Result<void> add_mon(std::string_view option);
    /// `device` as for -serial; "none" adds nothing.
    Result<void> add_qmp(std::string_view device, bool pretty);
    Result<void> add_hmp(std::string_view device);
    /// At most one.
    Result<void> add_qtest(std::string_view device);
    /// For the qtest server made later: "none" is off. Without it the traffic goes to stderr.
    Result<void> set_qtest_log(const std::string& file);

    /// Runs one human command; the answer's lines end in CR LF.
    std::string run_hmp(std::string_view line, qapi::CommandContext& caller, unsigned cpu_index);

    /// To every negotiated QMP connection, limited in rate as in QEMU.
    void emit(std::string_view event, Json data) override;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::monitor
