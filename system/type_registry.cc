// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/device.h"
#include "system/machine.h"
#include "system/object.h"
#include "system/property.h"
#include "util/json.h"

#include <map>

namespace godwit::system {

struct TypeRegistry::Impl {
    std::map<std::string, TypeInfo, std::less<>> types;
    Object* root = nullptr;
};

namespace {

TypeInfo abstract_type(std::string name, std::string parent, std::vector<Property> properties = {})
{
    return {.name = std::move(name),
            .parent = std::move(parent),
            .abstract_type = true,
            .user_creatable = false,
            .properties = std::move(properties)};
}

std::vector<Property> object_properties()
{
    return {readonly_property("type", "string", [](const Object& object) -> Result<Json> {
        return std::string(object.type_name());
    })};
}

const Device& device(const Object& object)
{
    return static_cast<const Device&>(object);
}

std::vector<Property> device_properties()
{
    std::vector<Property> list;
    list.push_back(
        readonly_property("parent_bus", "link<bus>", [](const Object& o) -> Result<Json> {
            const Bus* bus = device(o).parent_bus();
            if (!bus)
                return "";
            return (bus->owner() ? bus->owner()->path() + "/" : "/machine/unattached/") +
                   bus->name();
        }));
    list.push_back(readonly_property(
        "realized", "bool", [](const Object& o) -> Result<Json> { return device(o).realized(); }));
    list.push_back(readonly_property("hotplugged", "bool", [](const Object& o) -> Result<Json> {
        return device(o).hotplugged();
    }));
    list.push_back(readonly_property("hotpluggable", "bool", [](const Object& o) -> Result<Json> {
        return o.type().hotpluggable;
    }));
    return list;
}

std::vector<Property> machine_properties()
{
    using M = Machine;
    return {
        property<&M::memory_backend>("memory-backend", "", "Set RAM backend"),
        property<&M::kernel>("kernel", "", "Linux kernel image file"),
        property<&M::initrd>("initrd", "", "Linux initial ramdisk file"),
        property<&M::append>("append", "", "Linux kernel command line"),
        property<&M::firmware>("firmware", "", "Firmware image"),
        property<&M::dtb>("dtb", "", "Linux kernel device tree file"),
        property<&M::dumpdtb>("dumpdtb", "", "Dump current dtb to a file and quit"),
        property<&M::kernel_irqchip>("kernel-irqchip", "", "Configure KVM in-kernel irqchip"),
        property<&M::aux_ram_share>("aux-ram-share", false,
                                    "Use anonymous shared memory for auxiliary RAM"),
        property<&M::usb>("usb", false, "Set on/off to enable/disable usb"),
        property<&M::dump_guest_core>("dump-guest-core", true,
                                      "Include guest memory in a core dump"),
        property<&M::mem_merge>("mem-merge", true, "Enable/disable memory merge support"),
        property<&M::graphics>("graphics", true, "Set on/off to enable/disable graphics emulation"),
        property<&M::suppress_vmdesc>("suppress-vmdesc", false,
                                      "Set on to disable self-describing migration"),
    };
}

}  // namespace

TypeRegistry::TypeRegistry() : impl_(std::make_unique<Impl>())
{
    // What every other type stands on. They cannot be refused: the map is empty.
    const auto put = [this](TypeInfo info) {
        std::string name = info.name;
        impl_->types.emplace(std::move(name), std::move(info));
    };
    put(abstract_type("object", "", object_properties()));
    put(abstract_type("device", "object", device_properties()));
    put(abstract_type("sys-bus-device", "device"));
    put(abstract_type("cpu", "device"));
    put(abstract_type("machine", "object", machine_properties()));
    put(abstract_type("accel", "object"));
    put({.name = "container", .parent = "object", .user_creatable = false, .create = [] {
             return std::make_unique<Object>();
         }});
}

TypeRegistry::~TypeRegistry() = default;

Result<void> TypeRegistry::add(TypeInfo info)
{
    if (!info.parent.empty() && !find(info.parent)) {
        return Error(Errc::NotFound,
                     "type '" + info.name + "': parent type '" + info.parent + "' is unknown");
    }
    std::string name = info.name;
    if (!impl_->types.try_emplace(std::move(name), std::move(info)).second)
        return Error(Errc::Exists, "type '" + info.name + "' exists already");
    return {};
}

const TypeInfo* TypeRegistry::find(std::string_view name) const noexcept
{
    const auto it = impl_->types.find(name);
    return it == impl_->types.end() ? nullptr : &it->second;
}

bool TypeRegistry::is_a(std::string_view name, std::string_view ancestor) const noexcept
{
    const TypeInfo* type = find(name);
    if (type && ancestor == "user-creatable")
        return user_creatable_object(*type);
    for (; type; type = type->parent.empty() ? nullptr : find(type->parent)) {
        if (type->name == ancestor)
            return true;
    }
    return false;
}

bool TypeRegistry::user_creatable_object(const TypeInfo& type) const noexcept
{
    if (type.abstract_type || !type.user_creatable)
        return false;
    for (const std::string_view other : {"device", "machine", "accel"}) {
        if (is_a(type.name, other))
            return false;
    }
    return true;
}

std::vector<const TypeInfo*> TypeRegistry::list(std::string_view implements,
                                                bool with_abstract) const
{
    std::vector<const TypeInfo*> found;
    for (const auto& [name, type] : impl_->types) {
        if ((with_abstract || !type.abstract_type) &&
            (implements.empty() || is_a(name, implements)))
            found.push_back(&type);
    }
    return found;
}

std::vector<const Property*> TypeRegistry::properties(std::string_view name) const
{
    const TypeInfo* type = find(name);
    if (!type)
        return {};
    std::vector<const Property*> all;
    if (!type->parent.empty())
        all = properties(type->parent);
    for (const Property& property : type->properties)
        all.push_back(&property);
    return all;
}

Result<std::unique_ptr<Object>> TypeRegistry::create(std::string_view name) const
{
    const TypeInfo* type = find(name);
    if (!type)
        return Error(Errc::NotFound, "invalid object type: " + std::string(name));
    if (type->abstract_type || !type->create)
        return Error(Errc::InvalidArgument, "object type '" + std::string(name) + "' is abstract");
    std::unique_ptr<Object> object = type->create();
    GW_TRY(adopt(*object, name));
    for (const Property* property : properties(name)) {
        if (property->default_value && property->set) {
            GW_TRY(with_context(property->set(*object, property->default_value()),
                                "default of " + type->name + "." + property->name));
        }
    }
    return object;
}

Result<void> TypeRegistry::adopt(Object& object, std::string_view name) const
{
    const TypeInfo* type = find(name);
    if (!type)
        return Error(Errc::NotFound, "invalid object type: " + std::string(name));
    object.set_type(*this, *type);
    return {};
}

Object* TypeRegistry::root() const noexcept
{
    return impl_->root;
}

void TypeRegistry::set_root(Object* root) noexcept
{
    impl_->root = root;
}

}  // namespace godwit::system
