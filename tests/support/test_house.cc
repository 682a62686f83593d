// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/test_house.h"

#include "accel/accel.h"
#include "hw/register.h"
#include "migration/vm_migration.h"
#include "qapi/migration_commands.h"
#include "qapi/migration_insight_commands.h"
#include "system/qmp.h"

#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <sys/socket.h>

namespace godwit::test {

namespace {

/// What cannot fail in a test.
template <class T>
T must(Result<T> result)
{
    if (!result) {
        std::fprintf(stderr, "%s\n", result.error().message().c_str());
        std::abort();
    }
    if constexpr (!std::is_void_v<T>)
        return std::move(*result);
}

}  // namespace

TestHouse::TestHouse()
    : sink_(std::make_shared<StreamLogSink>(-1, StreamLogSink::Options{})),
      vm_(must(system::Vm::create(log_, recorder_)))
{
    const system::MachineGuard guard(vm_->lock());
    must(system::register_types(vm_->types()));
    must(accel::register_types(vm_->types()));
    must(hw::register_types(vm_->types()));
    migration_ = must(migration::VmMigration::create(*vm_));
    startup_ = std::make_unique<system::Startup>(*vm_, line_, *sink_, "test");
    system_qmp_ = system::make_system_commands(*vm_, line_);
    monitors_ = std::make_unique<monitor::MonitorSet>(*vm_, commands_);
    startup_->add_options();
    migration_->add_options(line_);
    monitors_->add_options(line_);
    qapi::register_commands(commands_, *system_qmp_);
    qapi::register_commands(commands_, migration_->commands());
    qapi::register_commands(commands_, migration_->insight_commands());
    monitors_->register_commands();
    migration_->add_human_commands(monitors_->hmp());
}

TestHouse::~TestHouse()
{
    const system::MachineGuard guard(vm_->lock());
    monitors_.reset();
    migration_.reset();
}

Result<void> TestHouse::build(const std::vector<std::string>& words)
{
    std::vector<const char*> pointers;
    for (const std::string& word : words)
        pointers.push_back(word.c_str());
    GW_TRY(line_.parse(pointers));
    const system::MachineGuard guard(vm_->lock());
    GW_TRY(startup_->settings());
    if (!line_.finished())
        GW_TRY(startup_->backends());
    if (!line_.finished())
        GW_TRY(startup_->machine());
    if (!line_.finished())
        GW_TRY(startup_->devices());
    if (line_.finished())
        return {};
    GW_TRY(migration_->machine_done());
    return line_.apply(system::Stage::Incoming);
}

migration::MigrationService& TestHouse::service() noexcept
{
    return migration_->service();
}

void TestHouse::turn()
{
    for (int i = 0; i < 4; ++i)
        vm_->loop().run_once(false);
}

std::pair<std::string, int> chardev_pair()
{
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        std::abort();
    return {fmt::format("fd:{}", ends[1]), ends[0]};
}

}  // namespace godwit::test
