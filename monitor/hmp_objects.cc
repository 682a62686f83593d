// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Human commands for devices, objects, character devices and properties.
#include "monitor/hmp_runner.h"
#include "system/type_help.h"
#include "system/vm.h"
#include "util/json.h"
#include "util/option_list.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::monitor {

namespace {

using system::HmpArgs;
using system::HmpContext;
using system::HmpOutput;
using system::HmpTable;

/// `device_add DRIVER,help`, laid out as on the command line.
Result<void> device_options(HmpContext& context, const std::string& driver, HmpOutput& out)
{
    const Json list = GW_TRY(context.qmp("device-list-properties", {{"typename", driver}}));
    std::vector<std::string> rows;
    for (const Json& property : list) {
        const std::string row = fmt::format("{}=<{}>", property.value("name", std::string()),
                                            property.value("type", std::string()));
        std::string remark = property.value("description", std::string());
        if (property.contains("default-value"))
            remark += fmt::format(" (default: {})", dump_json(property["default-value"]));
        rows.push_back(remark.empty() ? fmt::format("  {}\n", row)
                                      : fmt::format("  {:<22} - {}\n", row, remark));
    }
    std::ranges::sort(rows);
    out.print(fmt::format("{} options:\n{}", driver, fmt::join(rows, "")));
    return {};
}

Result<void> device_add(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    const std::string text = args.text("device");
    if (text == "help" || text == "?") {
        out.print(system::devices_help(context.vm.types()));
        return {};
    }
    const OptionList options = GW_TRY(OptionList::parse(text, "driver"));
    if (options.has("driver") && options.wants_help())
        return device_options(context, options.get_string("driver"), out);
    if (!options.has("driver"))
        return Error(Errc::InvalidArgument, "Parameter 'driver' is missing");
    Json arguments = Json::object();
    for (const Option& option : options.all())
        arguments[option.key] = option.value;
    GW_TRY(context.qmp("device_add", arguments));
    return {};
}

Result<void> device_del(HmpContext& context, const HmpArgs& args, HmpOutput&)
{
    GW_TRY(context.qmp("device_del", {{"id", args.text("id")}}));
    return {};
}

/// Values are words here: the type's properties say how to read them.
Result<void> object_add(HmpContext& context, const HmpArgs& args, HmpOutput&)
{
    Json options = GW_TRY(parse_keyval(args.text("object"), "qom-type"));
    const auto take = [&](const char* key) -> Result<std::string> {
        const auto found = options.find(key);
        if (found == options.end() || !found->is_string())
            return Error(Errc::InvalidArgument, fmt::format("Parameter '{}' is missing", key));
        std::string value = found->get<std::string>();
        options.erase(found);
        return value;
    };
    const std::string type = GW_TRY(take("qom-type"));
    const std::string id = GW_TRY(take("id"));
    GW_TRY(context.vm.add_object(type, id, options, system::DeviceManager::Words::Text));
    return {};
}

Result<void> object_del(HmpContext& context, const HmpArgs& args, HmpOutput&)
{
    GW_TRY(context.qmp("object-del", {{"id", args.text("id")}}));
    return {};
}

Result<void> qom_list(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    if (!args.has("path")) {
        out.print("/\n");
        return {};
    }
    const Json list = GW_TRY(context.qmp("qom-list", {{"path", args.text("path")}}));
    for (const Json& property : list)
        out.print(fmt::format("{} ({})\n", property["name"].get_ref<const std::string&>(),
                              property["type"].get_ref<const std::string&>()));
    return {};
}

Result<void> qom_get(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    const Json value = GW_TRY(
        context.qmp("qom-get", {{"path", args.text("path")}, {"property", args.text("property")}}));
    out.print(dump_json_pretty(value) + "\n");
    return {};
}

/// The value is text, converted by the property's type, or JSON with -j.
Result<void> qom_set(HmpContext& context, const HmpArgs& args, HmpOutput&)
{
    if (args.flag("json")) {
        const Json value = GW_TRY(parse_json(args.text("value")));
        GW_TRY(context.qmp(
            "qom-set",
            {{"path", args.text("path")}, {"property", args.text("property")}, {"value", value}}));
        return {};
    }
    system::Object* object = context.vm.root().resolve(args.text("path"));
    if (!object)
        return Error(Errc::DeviceNotFound, fmt::format("Device '{}' not found", args.text("path")));
    return object->set_property_text(args.text("property"), args.text("value"));
}

/// Ids of what hangs under `path`, for completion.
std::vector<std::string> children_of(HmpContext& context, std::string_view path)
{
    std::vector<std::string> out;
    if (const system::Object* parent = context.vm.root().resolve(path))
        for (const system::Object* child : parent->children())
            out.push_back(child->name());
    return out;
}

std::vector<std::string> type_names(HmpContext& context, std::string_view ancestor)
{
    std::vector<std::string> out;
    for (const system::TypeInfo* type : context.vm.types().list(ancestor, false))
        if (type->user_creatable)
            out.push_back(type->name);
    return out;
}

/// Object paths that go on from what was typed.
std::vector<std::string> paths(HmpContext& context, std::string_view start)
{
    const auto slash = start.rfind('/');
    const std::string base(slash == std::string_view::npos ? "" : start.substr(0, slash + 1));
    std::vector<std::string> out;
    for (const std::string& child :
         children_of(context, base.size() > 1 ? std::string_view(base).substr(0, base.size() - 1)
                                              : std::string_view("/")))
        out.push_back((base.empty() ? "/" : base) + child);
    return out;
}

void add_qom(HmpTable& table)
{
    const auto complete = [](HmpContext& context, std::size_t index, std::string_view start) {
        return index == 0 ? paths(context, start) : std::vector<std::string>();
    };
    table.add({.name = "qom-list",
               .args = "path:s?",
               .params = "path",
               .help = "list QOM properties",
               .run = qom_list,
               .complete = complete});
    table.add({.name = "qom-get",
               .args = "path:s,property:s",
               .params = "path property",
               .help = "print QOM property",
               .run = qom_get,
               .complete = complete});
    table.add({.name = "qom-set",
               .args = "json:-j,path:s,property:s,value:S",
               .params = "[-j] path property value",
               .help = "set QOM property.\n\t\t\t-j: the value is specified in json format.",
               .run = qom_set,
               .complete = complete});
}

}  // namespace

void add_object_commands(HmpTable& table)
{
    add_qom(table);
    table.add({.name = "device_add",
               .args = "device:O",
               .params = "driver[,prop=value][,...]",
               .help = "add device, like -device on the command line",
               .run = device_add,
               .complete = [](HmpContext& context, std::size_t, std::string_view) {
                   return type_names(context, "device");
               }});
    table.add({.name = "device_del",
               .args = "id:s",
               .params = "device",
               .help = "remove device",
               .run = device_del,
               .complete = [](HmpContext& context, std::size_t, std::string_view) {
                   return children_of(context, "/machine/peripheral");
               }});
    table.add({.name = "object_add",
               .args = "object:S",
               .params = "[qom-type=]type,id=str[,prop=value][,...]",
               .help = "create QOM object",
               .run = object_add,
               .complete = [](HmpContext& context, std::size_t, std::string_view) {
                   return type_names(context, "object");
               }});
    table.add({.name = "object_del",
               .args = "id:s",
               .params = "id",
               .help = "destroy QOM object",
               .run = object_del,
               .complete = [](HmpContext& context, std::size_t, std::string_view) {
                   return children_of(context, "/objects");
               }});
    table.add({.name = "chardev-add",
               .args = "args:s",
               .params = "args",
               .help = "add chardev",
               .run = [](HmpContext& context, const HmpArgs& args, HmpOutput&) -> Result<void> {
                   GW_TRY(context.vm.chardevs().add(args.text("args")));
                   return {};
               }});
    table.add({.name = "chardev-remove",
               .args = "id:s",
               .params = "id",
               .help = "remove chardev",
               .run = [](HmpContext& context, const HmpArgs& args, HmpOutput&) -> Result<void> {
                   GW_TRY(context.qmp("chardev-remove", {{"id", args.text("id")}}));
                   return {};
               }});
}

}  // namespace godwit::monitor
