// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What "help" as the argument of an option prints. Layout as in QEMU, whose clients read it.
#include "system/machine.h"
#include "system/plugin.h"
#include "system/startup_private.h"
#include "system/type_help.h"
#include "util/json.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::system {

std::string machine_help(const TypeRegistry& types)
{
    std::string text = "Supported machines are:\n";
    for (const MachineInfo& info : machine_infos(types)) {
        if (!info.alias.empty())
            text +=
                fmt::format("{:<20} {} (alias of {})\n", info.alias, info.description, info.name);
        text += fmt::format("{:<20} {}{}\n", info.name, info.description,
                            info.is_default ? " (default)" : "");
    }
    return text;
}

std::string accel_help(const TypeRegistry& types)
{
    std::string text = "Accelerators supported in QEMU binary:\n";
    for (const TypeInfo* type : types.list("accel", false)) {
        const std::string_view name = type->name;
        if (name.ends_with("-accel"))
            text += fmt::format("{}\n", name.substr(0, name.size() - 6));
    }
    return text;
}

std::string devices_help(const TypeRegistry& types)
{
    std::string text;
    for (const TypeInfo* type : types.list("device", false)) {
        if (!type->user_creatable)
            continue;
        text += fmt::format("name \"{}\"", type->name);
        if (!type->bus.empty())
            text += fmt::format(", bus {}", type->bus);
        if (!type->description.empty())
            text += fmt::format(", desc \"{}\"", type->description);
        text += "\n";
    }
    return text;
}

std::string object_help(const TypeRegistry& types)
{
    std::string text = "List of user creatable objects:\n";
    for (const TypeInfo* type : types.list("user-creatable", false))
        text += fmt::format("  {}\n", type->name);
    return text;
}

Result<std::string> properties_help(const TypeRegistry& types, std::string_view type)
{
    if (!types.find(type)) {
        return Error(Errc::InvalidArgument,
                     fmt::format("'{}' is not a valid device model name", type));
    }
    std::vector<const Property*> list = types.properties(type);
    std::erase_if(list, [](const Property* property) { return !property->set; });
    std::ranges::sort(list, {}, [](const Property* property) { return property->name; });
    std::string text = fmt::format("{} options:\n", type);
    for (const Property* property : list) {
        std::string row = fmt::format("{}=<{}>", property->name, property->type);
        std::string remark = property->description;
        if (property->default_value)
            remark += fmt::format(" (default: {})", dump_json(property->default_value()));
        if (!property->values.empty())
            remark += fmt::format(" [{}]", fmt::join(property->values, ", "));
        text += remark.empty() ? fmt::format("  {}\n", row)
                               : fmt::format("  {:<22} - {}\n", row, remark);
    }
    return text;
}

bool Startup::Impl::help(std::string_view option, std::string_view text)
{
    if (text != "help" && text != "?")
        return false;
    std::string answer;
    if (option == "machine")
        answer = machine_help(vm.types());
    else if (option == "accel")
        answer = accel_help(vm.types());
    else if (option == "device")
        answer = devices_help(vm.types());
    else if (option == "object")
        answer = object_help(vm.types());
    else if (option == "cpu")
        answer = cpu_models ? cpu_models() : "Available CPUs:\n";
    print_out(answer);
    line.finish(0);
    return true;
}

Result<void> Startup::Impl::device_help(const std::string& text)
{
    if (text.starts_with('{') || help("device", text))
        return {};
    const OptionList words = GW_TRY(OptionList::parse(text, "driver"));
    if (!words.wants_help())
        return {};
    const std::string driver = words.get_string("driver");
    if (!vm.types().find(driver))
        GW_TRY(vm.plugins().load_for_type(driver));
    print_out(GW_TRY(properties_help(vm.types(), driver)));
    line.finish(0);
    return {};
}

}  // namespace godwit::system
