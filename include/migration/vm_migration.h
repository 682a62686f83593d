// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Migration of a Vm: the service, bound to the Vm's parts, with its commands and options. For
// main().
#pragma once

#include "migration/service.h"
#include "util/result.h"

#include <memory>

namespace godwit::qapi {
class MigrationCommands;
class MigrationInsightCommands;
}  // namespace godwit::qapi
namespace godwit::system {
class CommandLine;
class HmpTable;
class Vm;
}  // namespace godwit::system

namespace godwit::migration {

/// Order    add_options(); create the devices; machine_done(); begin().
/// Threads  main thread with the machine lock; the destructor drops it while it waits for threads.
/// Errors   name the option, or are those of the address.
class VmMigration {
public:
    /// Before the machine and its devices exist: the sections `timer` and `ram` come first.
    static Result<std::unique_ptr<VmMigration>> create(system::Vm& vm);
    ~VmMigration();

    /// -incoming, -only-migratable.
    void add_options(system::CommandLine& line);
    /// The machine and all its devices exist.
    Result<void> machine_done();
    /// `-incoming URI`: starts to listen. Nothing without the option, or with "defer".
    Result<void> begin();

    MigrationService& service() noexcept;
    qapi::MigrationCommands& commands() noexcept;
    qapi::MigrationInsightCommands& insight_commands() noexcept;
    /// migrate, migrate_cancel, info migrate, ...
    void add_human_commands(system::HmpTable& table);

private:
    struct Impl;
    explicit VmMigration(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::migration
