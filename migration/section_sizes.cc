// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/section_sizes.h"

#include "util/byte_order.h"
#include "util/json.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::migration {
namespace {

// No device has more state than this.
constexpr std::uint64_t kMaxBody = std::uint64_t{1} << 30;
constexpr unsigned kMaxDepth = 32;

Error bad(std::string_view what)
{
    return Error(Errc::BadFormat, fmt::format("self-description: {}", what));
}

Result<std::uint64_t> number(const Json& object, const char* key, std::uint64_t otherwise)
{
    const auto found = object.find(key);
    if (found == object.end())
        return otherwise;
    if (!found->is_number_unsigned() || found->get<std::uint64_t>() > kMaxBody)
        return bad(fmt::format("'{}' is no size", key));
    return found->get<std::uint64_t>();
}

const Json* list(const Json& object, const char* key)
{
    const auto found = object.find(key);
    return found != object.end() && found->is_array() ? &*found : nullptr;
}

Result<std::uint64_t> body_size(const Json& described, unsigned depth)
{
    if (!described.is_object() || depth > kMaxDepth)
        return bad("a device is no object");
    std::uint64_t sum = 0;
    if (const Json* fields = list(described, "fields"))
        for (const Json& field : *fields) {
            if (!field.is_object())
                return bad("a field is no object");
            const std::uint64_t size = GW_TRY(number(field, "size", 0));
            const std::uint64_t count = GW_TRY(number(field, "array_len", 1));
            if (count != 0 && size > kMaxBody / count)
                return bad("a field is too large");
            sum += size * count;
        }
    if (const Json* parts = list(described, "subsections"))
        for (const Json& part : *parts) {
            if (!part.is_object())
                return bad("a subsection is no object");
            const auto name = part.find("vmsd_name");
            if (name == part.end() || !name->is_string())
                return bad("a subsection has no name");
            sum +=
                6 + name->get_ref<const std::string&>().size() + GW_TRY(body_size(part, depth + 1));
        }
    if (sum > kMaxBody)
        return bad("a device is too large");
    return sum;
}

}  // namespace

Result<SectionSizes> SectionSizes::from_description(std::string_view json)
{
    const Json all = Json::parse(json, nullptr, false);
    const Json* devices = all.is_object() ? list(all, "devices") : nullptr;
    if (devices == nullptr)
        return bad("it lists no devices");
    SectionSizes sizes;
    for (const Json& device : *devices) {
        const std::uint64_t body = GW_TRY(body_size(device, 0));
        const auto name = device.find("name");
        if (name == device.end() || !name->is_string())
            return bad("a device has no name");
        const std::uint64_t instance = GW_TRY(number(device, "instance_id", 0));
        sizes.sizes_[{name->get<std::string>(), static_cast<std::uint32_t>(instance)}] = body;
    }
    return sizes;
}

Result<std::uint64_t> SectionSizes::body(std::string_view idstr, std::uint32_t instance_id) const
{
    const auto found = sizes_.find({std::string(idstr), instance_id});
    if (found == sizes_.end())
        return Error(Errc::NotFound,
                     fmt::format("the self-description does not know '{}' {}", idstr, instance_id));
    return found->second;
}

bool find_description(std::span<const std::byte> rest, FoundDescription& found)
{
    // The end mark, the type byte, a length, and the text that always stands first.
    static constexpr std::string_view kText = "{\"configuration\": {";
    const std::string_view all(reinterpret_cast<const char*>(rest.data()), rest.size());
    for (std::size_t at = all.find(kText); at != std::string_view::npos;
         at = all.find(kText, at + 1)) {
        if (at < 6 || all[at - 5] != '\x06' || all[at - 6] != '\0')
            continue;
        const auto length = load_be<std::uint32_t>(rest.data() + at - 4);
        if (length > all.size() - at)
            continue;
        found = {at - 5, all.substr(at, length)};
        return true;
    }
    return false;
}

}  // namespace godwit::migration
