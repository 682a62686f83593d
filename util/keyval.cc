// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Dotted keys as nested JSON.
#include "util/excerpt.h"
#include "util/json.h"
#include "util/option_list.h"

#include <algorithm>
#include <charconv>
#include <fmt/core.h>

namespace godwit {

namespace {

constexpr std::size_t kMaxName = 127;  // as QEMU

bool is_letter(char c) noexcept
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_digit(char c) noexcept
{
    return c >= '0' && c <= '9';
}

bool is_number(std::string_view part) noexcept
{
    return !part.empty() && std::ranges::all_of(part, is_digit);
}

bool is_name(std::string_view part) noexcept
{
    if (part.starts_with("__"))  // a downstream name, "__RFQDN_name"; its dots split it like any
        part.remove_prefix(2);
    return !part.empty() && is_letter(part[0]) && std::ranges::all_of(part, [](char c) {
        return is_letter(c) || is_digit(c) || c == '-' || c == '_';
    });
}

Error invalid(std::string_view key)
{
    return Error(Errc::InvalidArgument, fmt::format("Invalid parameter '{}'", excerpt(key)));
}

Error inconsistent(std::string_view key)
{
    return Error(Errc::InvalidArgument,
                 fmt::format("Parameters '{}.*' used inconsistently", excerpt(key)));
}

Result<std::vector<std::string_view>> split_key(std::string_view key)
{
    std::vector<std::string_view> parts;
    for (std::size_t start = 0; start <= key.size();) {
        const std::size_t dot = std::min(key.find('.', start), key.size());
        const std::string_view part = key.substr(start, dot - start);
        const bool fits = part.size() <= kMaxName && parts.size() < kMaxOptionDepth;
        if (!fits || !(is_name(part) || (!parts.empty() && is_number(part))))
            return invalid(key);
        parts.push_back(part);
        start = dot + 1;
    }
    return parts;
}

// Puts `value` where `key` says; objects in between come into being.
Result<void> insert(Json& root, std::string_view key, std::string value)
{
    const std::vector<std::string_view> parts = GW_TRY(split_key(key));
    Json* node = &root;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
        Json& next = (*node)[std::string(parts[i])];
        if (next.is_null())
            next = Json::object();
        if (!next.is_object()) {
            const auto length = static_cast<std::size_t>(parts[i].data() - key.data());
            return inconsistent(key.substr(0, length + parts[i].size()));
        }
        node = &next;
    }
    Json& leaf = (*node)[std::string(parts.back())];
    if (leaf.is_object())
        return inconsistent(key);
    leaf = std::move(value);
    return ok();
}

Result<Json> list_of(Json& object, const std::string& key)
{
    auto& members = object.get_ref<Json::object_t&>();
    std::vector<Json*> items(members.size());
    for (auto& [index, value] : members) {
        std::size_t at = 0;
        const auto ec = std::from_chars(index.data(), index.data() + index.size(), at).ec;
        if (ec != std::errc{} || at >= items.size())
            continue;  // leaves a hole further down
        if (items[at] != nullptr)
            return inconsistent(key);  // "0" and "00"
        items[at] = &value;
    }
    Json list = Json::array();
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (items[i] == nullptr)
            return Error(Errc::InvalidArgument,
                         fmt::format("Parameter '{}.{}' missing", excerpt(key), i));
        list.push_back(std::move(*items[i]));
    }
    return list;
}

// Turns every object whose keys are numbers into a list. At most kMaxOptionDepth levels.
Result<void> make_lists(Json& node, const std::string& key)
{
    auto& members = node.get_ref<Json::object_t&>();
    std::size_t numbers = 0;
    for (auto& [name, value] : members) {
        numbers += is_number(name);
        if (value.is_object())
            GW_TRY(make_lists(value, key.empty() ? name : fmt::format("{}.{}", key, name)));
    }
    if (numbers == 0)
        return ok();
    if (numbers != members.size())
        return inconsistent(key);
    Json list = GW_TRY(list_of(node, key));
    node = std::move(list);
    return ok();
}

bool is_help(const Option& option) noexcept
{
    return option.bare && (option.key == "help" || option.key == "?");
}

}  // namespace

Result<Json> parse_keyval(std::string_view text, std::string_view implied_key, bool& help)
{
    help = false;
    if (text.starts_with('{'))
        return parse_json(text);
    if (text == "help" || text == "?") {
        help = true;
        return Json(Json::object());
    }
    const OptionList list = GW_TRY(OptionList::parse(text, implied_key));
    Json root = Json::object();
    for (const Option& option : list.all()) {
        if (is_help(option)) {
            help = true;
            continue;
        }
        const bool first = &option == &list.all().front();
        if (first && option.value.empty() && text.starts_with(','))
            return invalid("");
        if (option.bare) {
            const std::string word = (option.value == "off" ? "no" : "") + option.key;
            if (word.empty())
                return invalid("");
            return Error(Errc::InvalidArgument,
                         fmt::format("Expected '=' after parameter '{}'", excerpt(word)));
        }
        GW_TRY(insert(root, option.key, option.value));
    }
    GW_TRY(make_lists(root, ""));
    return root;
}

Result<Json> parse_keyval(std::string_view text, std::string_view implied_key)
{
    bool help = false;
    return parse_keyval(text, implied_key, help);
}

Result<Json> OptionList::to_json() const
{
    Json root = Json::object();
    for (const Option& option : options_)
        GW_TRY(insert(root, option.key, option.value));
    GW_TRY(make_lists(root, ""));
    return root;
}

}  // namespace godwit
