// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/property.h"

#include "util/json.h"
#include "util/size.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>

namespace godwit::system {

namespace {

using detail::PropertyKind;

struct KindInfo {
    std::string_view name;        // in qom-list
    std::string_view range_name;  // in a range error
    bool is_signed = false;
    std::int64_t min = 0;
    std::uint64_t max = 0;
};

template <class T>
constexpr KindInfo int_kind(std::string_view name, std::string_view range_name)
{
    return {name, range_name, std::is_signed_v<T>,
            static_cast<std::int64_t>(std::numeric_limits<T>::min()),
            static_cast<std::uint64_t>(std::numeric_limits<T>::max())};
}

constexpr auto kKinds = std::to_array<KindInfo>({
    {.name = "bool"},
    int_kind<std::uint8_t>("uint8", "uint8_t"),
    int_kind<std::uint16_t>("uint16", "uint16_t"),
    int_kind<std::uint32_t>("uint32", "uint32_t"),
    int_kind<std::uint64_t>("uint64", "uint64"),
    int_kind<std::int8_t>("int8", "int8_t"),
    int_kind<std::int16_t>("int16", "int16_t"),
    int_kind<std::int32_t>("int32", "int32_t"),
    int_kind<std::int64_t>("int64", "int64"),
    int_kind<std::uint64_t>("size", "uint64"),
    {.name = "str"},
});

const KindInfo& info_of(PropertyKind kind)
{
    return kKinds[static_cast<std::size_t>(kind)];
}

Error expects(std::string_view name, std::string_view what)
{
    return Error(Errc::InvalidArgument,
                 "Parameter '" + std::string(name) + "' expects " + std::string(what));
}

Error wrong_type(std::string_view name, std::string_view what)
{
    return Error(Errc::InvalidArgument, "Invalid parameter type for '" + std::string(name) +
                                            "', expected: " + std::string(what));
}

Json read_member(PropertyKind kind, const void* at)
{
    switch (kind) {
    case PropertyKind::Bool:
        return *static_cast<const bool*>(at);
    case PropertyKind::U8:
        return *static_cast<const std::uint8_t*>(at);
    case PropertyKind::U16:
        return *static_cast<const std::uint16_t*>(at);
    case PropertyKind::U32:
        return *static_cast<const std::uint32_t*>(at);
    case PropertyKind::U64:
    case PropertyKind::Size:
        return *static_cast<const std::uint64_t*>(at);
    case PropertyKind::I8:
        return *static_cast<const std::int8_t*>(at);
    case PropertyKind::I16:
        return *static_cast<const std::int16_t*>(at);
    case PropertyKind::I32:
        return *static_cast<const std::int32_t*>(at);
    case PropertyKind::I64:
        return *static_cast<const std::int64_t*>(at);
    case PropertyKind::Str:
        break;
    }
    return *static_cast<const std::string*>(at);
}

/// Two's complement carries signed values too; the range was checked.
void store_integer(PropertyKind kind, void* at, std::uint64_t value)
{
    switch (kind) {
    case PropertyKind::U8:
    case PropertyKind::I8:
        *static_cast<std::uint8_t*>(at) = static_cast<std::uint8_t>(value);
        break;
    case PropertyKind::U16:
    case PropertyKind::I16:
        *static_cast<std::uint16_t*>(at) = static_cast<std::uint16_t>(value);
        break;
    case PropertyKind::U32:
    case PropertyKind::I32:
        *static_cast<std::uint32_t*>(at) = static_cast<std::uint32_t>(value);
        break;
    default:
        *static_cast<std::uint64_t*>(at) = value;
    }
}

Result<void> write_integer(PropertyKind kind, std::string_view name, void* at, const Json& value)
{
    const KindInfo& info = info_of(kind);
    if (!value.is_number_integer())
        return expects(name, info.is_signed ? "int64" : "uint64");
    const bool negative = !value.is_number_unsigned() && value.get<std::int64_t>() < 0;
    const bool fits =
        negative ? value.get<std::int64_t>() >= info.min : value.get<std::uint64_t>() <= info.max;
    if (!fits)
        return expects(name, info.range_name);
    store_integer(kind, at, value.get<std::uint64_t>());
    return {};
}

Result<void> write_member(PropertyKind kind, std::string_view name, void* at, const Json& value)
{
    if (kind == PropertyKind::Bool) {
        if (!value.is_boolean())
            return wrong_type(name, "boolean");
        *static_cast<bool*>(at) = value.get<bool>();
        return {};
    }
    if (kind == PropertyKind::Str) {
        if (!value.is_string())
            return wrong_type(name, "string");
        *static_cast<std::string*>(at) = value.get<std::string>();
        return {};
    }
    return write_integer(kind, name, at, value);
}

std::function<Json()> preset_function(PropertyDefault preset)
{
    if (std::holds_alternative<std::monostate>(preset))
        return {};
    return [preset = std::move(preset)] {
        return std::visit(
            [](const auto& value) -> Json {
                if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::monostate>)
                    return nullptr;
                else
                    return value;
            },
            preset);
    };
}

}  // namespace

namespace detail {

Property make_property(std::string name, PropertyKind kind, void* (*member)(Object&),
                       PropertyDefault preset, std::string description)
{
    Property property{.name = name,
                      .type = std::string(info_of(kind).name),
                      .description = std::move(description),
                      .get = {},
                      .set = {},
                      .default_value = preset_function(std::move(preset)),
                      .values = {}};
    property.get = [kind, member](const Object& object) -> Result<Json> {
        return read_member(kind, member(const_cast<Object&>(object)));
    };
    property.set = [kind, member, name = std::move(name)](Object& object, const Json& value) {
        return write_member(kind, name, member(object), value);
    };
    return property;
}

Property make_enum_property(std::string name, std::string type,
                            std::span<const std::string_view> names,
                            std::size_t (*get)(const Object&), void (*set)(Object&, std::size_t),
                            PropertyDefault preset, std::string description)
{
    Property property{.name = name,
                      .type = std::move(type),
                      .description = std::move(description),
                      .get = {},
                      .set = {},
                      .default_value = preset_function(std::move(preset)),
                      .values = {names.begin(), names.end()}};
    property.get = [names, get](const Object& object) -> Result<Json> {
        const std::size_t index = get(object);
        return index < names.size() ? Json(std::string(names[index])) : Json(nullptr);
    };
    property.set = [names, set, name = std::move(name)](Object& object,
                                                        const Json& value) -> Result<void> {
        if (!value.is_string())
            return wrong_type(name, "string");
        const auto& word = value.get_ref<const std::string&>();
        const auto it = std::ranges::find(names, word);
        if (it == names.end()) {
            return Error(Errc::InvalidArgument,
                         "Parameter '" + name + "' does not accept value '" + word + "'");
        }
        set(object, static_cast<std::size_t>(it - names.begin()));
        return {};
    };
    return property;
}

Property make_link_property(std::string name, std::string type, Object* (*get)(const Object&),
                            bool (*set)(Object&, Object*), std::string description)
{
    Property property{.name = name,
                      .type = type,
                      .description = std::move(description),
                      .get = {},
                      .set = {},
                      .default_value = {},
                      .values = {}};
    property.get = [get](const Object& object) -> Result<Json> {
        const Object* target = get(object);
        return Json(target ? target->path() : "");
    };
    property.set = [set, name = std::move(name),
                    type = std::move(type)](Object& object, const Json& value) -> Result<void> {
        if (!value.is_string())
            return wrong_type(name, "string");
        const auto& path = value.get_ref<const std::string&>();
        Object* target = nullptr;
        if (!path.empty()) {
            Object* root = object.types().root();
            target = root ? root->resolve(path) : nullptr;
            if (!target)
                return Error(Errc::DeviceNotFound, "Device '" + path + "' not found");
        }
        if (!set(object, target)) {
            return Error(Errc::InvalidArgument,
                         "Invalid parameter type for '" + name +
                             "', expected: " + type.substr(5, type.size() - 6));
        }
        return {};
    };
    return property;
}

}  // namespace detail

Property readonly_property(std::string name, std::string type,
                           std::function<Result<Json>(const Object&)> get, std::string description)
{
    return {.name = std::move(name),
            .type = std::move(type),
            .description = std::move(description),
            .get = std::move(get),
            .set = {},
            .default_value = {},
            .values = {}};
}

/// Command-line words for a property of `type`, as its setter wants them.
static Result<Json> convert_text(const Property& property, std::string_view text)
{
    const std::string_view type = property.type;
    if (type == "bool") {
        if (auto value = parse_bool(text))
            return *value;
        return expects(property.name, "'on' or 'off'");
    }
    if (type == "size") {
        if (auto value = parse_size(text))
            return *value;
        return expects(property.name, "a size value");
    }
    if (type.starts_with("uint") || type.starts_with("int")) {
        if (auto value = parse_u64(text))
            return *value;
        if (auto value = parse_i64(text))
            return *value;
        return expects(property.name, "integer");
    }
    if (type == "number" || type == "double") {
        if (auto value = parse_double(text))
            return *value;
        return expects(property.name, "number");
    }
    return std::string(text);
}

Result<void> Object::set_property_text(std::string_view name, std::string_view text)
{
    const Property* property = find_property(name);
    if (!property)
        return set_property(name, Json());
    const Json value = GW_TRY(convert_text(*property, text));
    return set_property(name, value);
}

Result<void> check_identifier(std::string_view id, std::string_view parameter)
{
    const auto letter = [](unsigned char c) { return std::isalpha(c) != 0; };
    const auto inside = [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
    };
    if (!id.empty() && letter(static_cast<unsigned char>(id[0])) && std::ranges::all_of(id, inside))
        return {};
    return expects(parameter, "an identifier")
        .with_hint(
            "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.");
}

}  // namespace godwit::system
