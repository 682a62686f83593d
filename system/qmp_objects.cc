// SPDX-License-Identifier: LGPL-2.1-or-later
//
// QMP commands about objects, types and devices.
#include "system/plugin.h"
#include "system/qmp_private.h"
#include "util/json.h"

#include <algorithm>
#include <array>

namespace godwit::system {

Result<Object*> SystemQmp::resolve(const std::string& path) const
{
    if (Object* object = vm_.root().resolve(path))
        return object;
    return Error(Errc::DeviceNotFound, "Device '" + path + "' not found");
}

Result<std::vector<qapi::ObjectPropertyInfo>> SystemQmp::qom_list(const qapi::QomListArgs& args)
{
    const Object* object = GW_TRY(resolve(args.path));
    std::vector<qapi::ObjectPropertyInfo> list;
    for (const Property* property : object->properties())
        list.push_back({.name = property->name, .type = property->type});
    return list;
}

Result<qapi::Any> SystemQmp::qom_get(const qapi::QomGetArgs& args)
{
    const Object* object = GW_TRY(resolve(args.path));
    return qapi::Any(GW_TRY(object->get_property(args.property)));
}

Result<void> SystemQmp::qom_set(const qapi::QomSetArgs& args)
{
    Object* object = GW_TRY(resolve(args.path));
    return object->set_property(args.property, args.value.json());
}

Result<std::vector<qapi::ObjectTypeInfo>>
SystemQmp::qom_list_types(const qapi::QomListTypesArgs& args)
{
    std::vector<qapi::ObjectTypeInfo> list;
    const bool abstract = args.abstract.value_or(false);
    for (const TypeInfo* type : vm_.types().list(args.implements.value_or(""), abstract)) {
        qapi::ObjectTypeInfo one{.name = type->name};
        if (type->abstract_type)
            one.abstract = true;
        if (!type->parent.empty())
            one.parent = type->parent;
        list.push_back(std::move(one));
    }
    return list;
}

namespace {

qapi::ObjectPropertyInfo describe(const Property& property)
{
    qapi::ObjectPropertyInfo info{.name = property.name, .type = property.type};
    if (!property.description.empty())
        info.description = property.description;
    if (property.default_value)
        info.default_value = qapi::Any(property.default_value());
    return info;
}

/// What every device has and nobody sets when making one.
bool is_common(const Property& property)
{
    constexpr auto kCommon = std::to_array<std::string_view>(
        {"type", "realized", "hotpluggable", "hotplugged", "parent_bus"});
    return std::ranges::find(kCommon, property.name) != kCommon.end();
}

}  // namespace

Result<std::vector<qapi::ObjectPropertyInfo>>
SystemQmp::qom_list_properties(const qapi::QomListPropertiesArgs& args)
{
    if (!vm_.types().find(args.typename_)) {
        return Error(Errc::DeviceNotFound, "Class '" + args.typename_ + "' not found");
    }
    std::vector<qapi::ObjectPropertyInfo> list;
    for (const Property* property : vm_.types().properties(args.typename_))
        list.push_back(describe(*property));
    return list;
}

Result<std::vector<qapi::ObjectPropertyInfo>>
SystemQmp::device_list_properties(const qapi::DeviceListPropertiesArgs& args)
{
    const TypeInfo* type = vm_.types().find(args.typename_);
    if (!type && GW_TRY(vm_.plugins().load_for_type(args.typename_)))
        type = vm_.types().find(args.typename_);
    if (!type) {
        return Error(Errc::DeviceNotFound, "Device '" + args.typename_ + "' not found");
    }
    if (type->abstract_type || !vm_.types().is_a(type->name, "device")) {
        return Error(Errc::InvalidArgument,
                     "Parameter 'typename' expects a non-abstract device type");
    }
    std::vector<qapi::ObjectPropertyInfo> list;
    for (const Property* property : vm_.types().properties(type->name)) {
        if (!is_common(*property))
            list.push_back(describe(*property));
    }
    return list;
}

namespace {

/// A member that must be there and a string.
Result<std::string> required(const Json& arguments, const char* name)
{
    const auto it = arguments.find(name);
    if (it == arguments.end() || !it->is_string())
        return Error(Errc::InvalidArgument, "Parameter '" + std::string(name) + "' is missing");
    return it->get<std::string>();
}

}  // namespace

Result<void> SystemQmp::device_add(const Json& arguments)
{
    const std::string driver = GW_TRY(required(arguments, "driver"));
    std::string id;
    if (arguments.contains("id"))
        id = GW_TRY(required(arguments, "id"));
    GW_TRY(vm_.devices().add(driver, std::move(id), arguments, true));
    return {};
}

Result<void> SystemQmp::device_del(const qapi::DeviceDelArgs& args)
{
    return vm_.devices().remove(args.id);
}

Result<void> SystemQmp::object_add(const Json& arguments)
{
    const std::string type = GW_TRY(required(arguments, "qom-type"));
    const std::string id = GW_TRY(required(arguments, "id"));
    GW_TRY(vm_.add_object(type, id, arguments));
    return {};
}

Result<void> SystemQmp::object_del(const qapi::ObjectDelArgs& args)
{
    return vm_.remove_object(args.id);
}

}  // namespace godwit::system
