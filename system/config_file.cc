// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/config_file.h"

#include <fmt/format.h>

namespace godwit::system {

namespace {

constexpr std::string_view kBlanks = " \t\r";

std::string_view trim(std::string_view text)
{
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == text.npos)
        return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

/// `[group]` or `[group "id"]`.
Result<ConfigSection> parse_section(std::string_view line)
{
    const Error wrong(Errc::InvalidArgument,
                      fmt::format("expected [group] or [group \"id\"], not '{}'", line));
    if (!line.ends_with(']'))
        return wrong;
    const std::string_view inside = trim(line.substr(1, line.size() - 2));
    ConfigSection section;
    section.group = inside.substr(0, inside.find_first_of(" \t\""));
    if (section.group.empty())
        return wrong;
    const std::string_view id = trim(inside.substr(section.group.size()));
    if (id.empty())
        return section;
    if (id.size() < 3 || !id.starts_with('"') || id.find('"', 1) != id.size() - 1)
        return wrong;
    section.options.set("id", id.substr(1, id.size() - 2));
    return section;
}

/// `key = "value"`.
Result<void> parse_value(std::string_view line, OptionList& into)
{
    const std::size_t equals = line.find('=');
    const std::string_view key = trim(line.substr(0, equals));
    const std::string_view value =
        equals == line.npos ? std::string_view() : trim(line.substr(equals + 1));
    const std::size_t end = value.find('"', 1);
    if (key.empty() || !value.starts_with('"') || end == value.npos) {
        return Error(Errc::InvalidArgument,
                     fmt::format("expected key = \"value\", not '{}'", line));
    }
    into.set(key, value.substr(1, end - 1));
    return {};
}

}  // namespace

Result<std::vector<ConfigSection>> parse_config(std::string_view text)
{
    std::vector<ConfigSection> sections;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = trim(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.empty() || line.starts_with('#'))
            continue;
        const std::string where = std::to_string(number);
        if (line.starts_with('[')) {
            sections.push_back(GW_TRY(with_context(parse_section(line), where)));
            sections.back().line = number;
        } else if (sections.empty()) {
            return Error(Errc::InvalidArgument, where + ": no group defined");
        } else {
            GW_TRY(with_context(parse_value(line, sections.back().options), where));
        }
    }
    return sections;
}

}  // namespace godwit::system
