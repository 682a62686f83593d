// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/machine.h"

#include "system/vm.h"

namespace godwit::system {

void Machine::reset(Vm& vm, ResetKind kind)
{
    vm.devices().reset_all(kind);
}

Result<std::vector<std::byte>> Machine::device_tree(Vm&)
{
    return Error(Errc::Unsupported, "This machine doesn't have an FDT");
}

namespace {

std::vector<std::unique_ptr<Machine>> all_machines(const TypeRegistry& types)
{
    std::vector<std::unique_ptr<Machine>> found;
    for (const TypeInfo* type : types.list("machine", false)) {
        auto object = types.create(type->name);
        if (!object || !dynamic_cast<Machine*>(object->get()))
            continue;
        found.emplace_back(static_cast<Machine*>(object->release()));
    }
    return found;
}

}  // namespace

std::vector<MachineInfo> machine_infos(const TypeRegistry& types)
{
    std::vector<MachineInfo> infos;
    for (const auto& machine : all_machines(types))
        infos.push_back(machine->info());
    return infos;
}

Result<std::unique_ptr<Machine>> create_machine(const TypeRegistry& types, std::string_view name)
{
    // Aliases are known to the machines alone; a full name needs only its own.
    if (const std::string type = std::string(name) + "-machine"; types.is_a(type, "machine")) {
        auto object = GW_TRY(types.create(type));
        if (dynamic_cast<Machine*>(object.get()))
            return std::unique_ptr<Machine>(static_cast<Machine*>(object.release()));
    }
    for (auto& machine : all_machines(types)) {
        const MachineInfo& info = machine->info();
        const bool wanted =
            name.empty() ? info.is_default : info.name == name || info.alias == name;
        if (wanted)
            return std::move(machine);
    }
    if (name.empty()) {
        return Error(Errc::NotFound, "No machine specified, and there is no default")
            .with_hint("Use -machine help to list supported machines");
    }
    return Error(Errc::NotFound, "unsupported machine type: \"" + std::string(name) + "\"")
        .with_hint("Use -machine help to list supported machines");
}

}  // namespace godwit::system
