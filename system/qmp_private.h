// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "qapi/system_commands.h"
#include "system/qmp.h"
#include "system/vm.h"

namespace godwit::system {

/// The room's commands. Methods are in qmp*.cc by subject.
class SystemQmp : public qapi::SystemCommands {
public:
    SystemQmp(Vm& vm, const CommandLine& line) : vm_(vm), line_(line) {}

    // qmp.cc: the machine as a whole
    Result<qapi::VersionInfo> query_version() override;
    Result<qapi::StatusInfo> query_status() override;
    Result<qapi::NameInfo> query_name() override;
    Result<qapi::UuidInfo> query_uuid() override;
    Result<qapi::TargetInfo> query_target() override;
    Result<void> stop() override;
    Result<void> cont() override;
    Result<void> system_reset() override;
    Result<void> system_powerdown() override;
    Result<void> system_wakeup() override;
    Result<void> quit() override;
    Result<qapi::CurrentMachineParams> query_current_machine() override;
    Result<std::vector<qapi::MachineInfo>>
    query_machines(const qapi::QueryMachinesArgs& args) override;
    Result<std::vector<qapi::HotpluggableCPU>> query_hotpluggable_cpus() override;
    Result<void> inject_nmi() override;
    Result<void> dumpdtb(const qapi::DumpdtbArgs& args) override;
    Result<std::vector<qapi::CommandLineOptionInfo>>
    query_command_line_options(const qapi::QueryCommandLineOptionsArgs& args) override;
    Result<std::vector<qapi::IOThreadInfo>> query_iothreads() override;
    Result<qapi::TraceInfo> x_query_trace(const qapi::XQueryTraceArgs& args) override;

    // qmp_memory.cc
    Result<qapi::MemoryInfo> query_memory_size_summary() override;
    Result<std::vector<qapi::Memdev>> query_memdev() override;
    Result<void> memsave(const qapi::MemsaveArgs& args) override;
    Result<void> pmemsave(const qapi::PmemsaveArgs& args) override;
    Result<qapi::HumanReadableText> x_query_ramblock() override;

    // qmp_objects.cc
    Result<std::vector<qapi::ObjectPropertyInfo>> qom_list(const qapi::QomListArgs& args) override;
    Result<qapi::Any> qom_get(const qapi::QomGetArgs& args) override;
    Result<void> qom_set(const qapi::QomSetArgs& args) override;
    Result<std::vector<qapi::ObjectTypeInfo>>
    qom_list_types(const qapi::QomListTypesArgs& args) override;
    Result<std::vector<qapi::ObjectPropertyInfo>>
    qom_list_properties(const qapi::QomListPropertiesArgs& args) override;
    Result<std::vector<qapi::ObjectPropertyInfo>>
    device_list_properties(const qapi::DeviceListPropertiesArgs& args) override;
    Result<void> device_add(const Json& arguments) override;
    Result<void> device_del(const qapi::DeviceDelArgs& args) override;
    Result<void> object_add(const Json& arguments) override;
    Result<void> object_del(const qapi::ObjectDelArgs& args) override;

    // qmp_chardev.cc
    Result<std::vector<qapi::ChardevInfo>> query_chardev() override;
    Result<std::vector<qapi::ChardevBackendInfo>> query_chardev_backends() override;
    Result<qapi::ChardevReturn> chardev_add(const qapi::ChardevAddArgs& args) override;
    Result<void> chardev_remove(const qapi::ChardevRemoveArgs& args) override;
    Result<void> ringbuf_write(const qapi::RingbufWriteArgs& args) override;
    Result<std::string> ringbuf_read(const qapi::RingbufReadArgs& args) override;

private:
    Result<Object*> resolve(const std::string& path) const;

    Vm& vm_;
    const CommandLine& line_;
};

}  // namespace godwit::system
