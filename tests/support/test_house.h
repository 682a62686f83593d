// SPDX-License-Identifier: LGPL-2.1-or-later
//
// All rooms in one object, as main() puts them together, for tests that want the real thing in
// their own process.
#pragma once

#include "monitor/monitor.h"
#include "qapi/command_table.h"
#include "qapi/system_commands.h"
#include "system/command_line.h"
#include "system/startup.h"
#include "system/vm.h"
#include "util/flight_recorder.h"
#include "util/log.h"
#include "util/result.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace godwit::migration {
class MigrationService;
class VmMigration;
}  // namespace godwit::migration

namespace godwit::test {

/// A program that was told `words` on its command line and stands before its main loop.
///
/// Errors   build(): what the program would print before it exits with status 1.
/// Threads  the test's, which turns the loop.
class TestHouse {
public:
    TestHouse();
    ~TestHouse();

    /// Parses, builds back ends, machine and devices; no daemon, no signals, no sandbox.
    Result<void> build(const std::vector<std::string>& words);

    system::Vm& vm() noexcept { return *vm_; }
    qapi::CommandTable& commands() noexcept { return commands_; }
    monitor::MonitorSet& monitors() noexcept { return *monitors_; }
    migration::MigrationService& service() noexcept;
    /// Serves what is ready, a few turns.
    void turn();

private:
    std::shared_ptr<StreamLogSink> sink_;
    Log log_;
    FlightRecorder recorder_{64};
    std::unique_ptr<system::Vm> vm_;
    qapi::CommandTable commands_;
    system::CommandLine line_;
    std::unique_ptr<system::Startup> startup_;
    std::unique_ptr<qapi::SystemCommands> system_qmp_;
    std::unique_ptr<migration::VmMigration> migration_;
    std::unique_ptr<monitor::MonitorSet> monitors_;
};

/// A stream socket pair: "fd:N" for a chardev, and our end.
std::pair<std::string, int> chardev_pair();

}  // namespace godwit::test
