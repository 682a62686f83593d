// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/option_list.h"

#include "util/excerpt.h"
#include "util/size.h"

#include <algorithm>
#include <fmt/core.h>

namespace godwit {

namespace {

constexpr std::string_view kSizeHint =
    "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
    "and exabytes, respectively.";

Error expects(std::string_view key, std::string_view what)
{
    return Error(Errc::InvalidArgument,
                 fmt::format("Parameter '{}' expects {}", excerpt(key), what));
}

// Takes a value off the front of `text`: up to a single comma, which goes too.
std::string take_value(std::string_view& text)
{
    std::string value;
    while (!text.empty()) {
        if (text[0] == ',') {
            text.remove_prefix(1);
            if (!text.starts_with(','))
                return value;
        }
        value += text[0];
        text.remove_prefix(1);
    }
    return value;
}

// Takes "key", "nokey" or "key=value" off the front of `text`.
Option take_option(std::string_view& text, std::string_view implied_key)
{
    const std::size_t stop = text.find_first_of("=,");
    if (stop != std::string_view::npos && text[stop] == '=') {
        std::string key(text.substr(0, stop));
        text.remove_prefix(stop + 1);
        return {std::move(key), take_value(text)};
    }
    if (!implied_key.empty())
        return {std::string(implied_key), take_value(text)};
    std::string key(text.substr(0, stop));
    text.remove_prefix(stop == std::string_view::npos ? text.size() : stop + 1);
    if (key.size() > 2 && key.starts_with("no"))
        return {key.substr(2), "off", true};
    return {std::move(key), "on", true};
}

}  // namespace

Result<OptionList> OptionList::parse(std::string_view text, std::string_view implied_key)
{
    OptionList list;
    while (!text.empty()) {
        if (list.options_.size() == kMaxOptions)
            return Error(Errc::InvalidArgument, fmt::format("More than {} options", kMaxOptions));
        list.options_.push_back(take_option(text, list.options_.empty() ? implied_key : ""));
    }
    return list;
}

const std::string* OptionList::find(std::string_view key) const noexcept
{
    for (auto option = options_.rbegin(); option != options_.rend(); ++option)
        if (option->key == key)
            return &option->value;
    return nullptr;
}

std::vector<std::string> OptionList::find_all(std::string_view key) const
{
    std::vector<std::string> values;
    for (const Option& option : options_)
        if (option.key == key)
            values.push_back(option.value);
    return values;
}

std::vector<std::string> OptionList::deprecations() const
{
    std::vector<std::string> lines;
    for (const Option& option : options_) {
        if (!option.bare || option.key == "help" || option.key == "?")
            continue;
        const std::string key = excerpt(option.key);
        lines.push_back(
            fmt::format("short-form boolean option '{}{}' deprecated, please use {}={} instead",
                        option.value == "off" ? "no" : "", key, key, option.value));
    }
    return lines;
}

bool OptionList::wants_help() const noexcept
{
    return std::ranges::any_of(options_, [](const Option& option) {
        return option.bare && (option.key == "help" || option.key == "?");
    });
}

std::string OptionList::get_string(std::string_view key, std::string_view otherwise) const
{
    const std::string* value = find(key);
    return value != nullptr ? *value : std::string(otherwise);
}

Result<std::string> OptionList::require_string(std::string_view key) const
{
    const std::string* value = find(key);
    if (value == nullptr)
        return Error(Errc::InvalidArgument, fmt::format("Parameter '{}' is missing", excerpt(key)));
    return *value;
}

Result<bool> OptionList::get_bool(std::string_view key, bool otherwise) const
{
    const std::string* value = find(key);
    if (value == nullptr)
        return otherwise;
    const Result<bool> parsed = parse_bool(*value);
    if (!parsed)
        return expects(key, "'on' or 'off'");
    return *parsed;
}

Result<std::uint64_t> OptionList::get_u64(std::string_view key, std::uint64_t otherwise) const
{
    const std::string* value = find(key);
    if (value == nullptr)
        return otherwise;
    const Result<std::uint64_t> parsed = parse_u64(*value);
    if (!parsed)
        return expects(key, "a number");
    return *parsed;
}

Result<std::uint64_t> OptionList::get_size(std::string_view key, std::uint64_t otherwise,
                                           std::uint64_t default_unit) const
{
    const std::string* value = find(key);
    if (value == nullptr)
        return otherwise;
    const Result<std::uint64_t> parsed = parse_size(*value, default_unit);
    if (!parsed)
        return expects(key, "a non-negative number below 2^64").with_hint(std::string(kSizeHint));
    return *parsed;
}

void OptionList::set(std::string_view key, std::string_view value)
{
    options_.push_back({std::string(key), std::string(value)});
}

std::optional<std::string> OptionList::take(std::string_view key)
{
    std::optional<std::string> last;
    std::erase_if(options_, [&](Option& option) {
        if (option.key != key)
            return false;
        last = std::move(option.value);
        return true;
    });
    return last;
}

Result<void> OptionList::only(std::initializer_list<std::string_view> known) const
{
    for (const Option& option : options_)
        if (std::ranges::find(known, option.key) == known.end())
            return Error(Errc::InvalidArgument,
                         fmt::format("Invalid parameter '{}'", excerpt(option.key)));
    return ok();
}

std::string OptionList::to_string() const
{
    std::string text;
    for (const Option& option : options_) {
        if (!text.empty())
            text += ',';
        text += fmt::format("{}={}", option.key, escape_option_value(option.value));
    }
    return text;
}

std::string escape_option_value(std::string_view value)
{
    std::string text;
    for (const char c : value) {
        text += c;
        if (c == ',')
            text += c;
    }
    return text;
}

}  // namespace godwit
