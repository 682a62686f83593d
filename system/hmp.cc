// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/hmp.h"

#include "qapi/command_context.h"
#include "qapi/command_table.h"
#include "util/json.h"

#include <algorithm>

namespace godwit::system {

namespace {

/// The first of "stop|s".
std::string_view first_name(const HmpCommand& command)
{
    return std::string_view(command.name).substr(0, command.name.find('|'));
}

bool answers_to(const HmpCommand& command, std::string_view name)
{
    std::string_view names = command.name;
    while (true) {
        const auto bar = names.find('|');
        if (names.substr(0, bar) == name)
            return true;
        if (bar == std::string_view::npos)
            return false;
        names.remove_prefix(bar + 1);
    }
}

void put(std::vector<HmpCommand>& commands, HmpCommand command)
{
    const auto same = [&](const HmpCommand& other) {
        return first_name(other) == first_name(command);
    };
    std::erase_if(commands, same);
    const auto later = [](const HmpCommand& a, const HmpCommand& b) {
        return first_name(a) < first_name(b);
    };
    commands.insert(std::ranges::upper_bound(commands, command, later), std::move(command));
}

const HmpCommand* look_up(const std::vector<HmpCommand>& commands, std::string_view name)
{
    for (const HmpCommand& command : commands)
        if (answers_to(command, name))
            return &command;
    return nullptr;
}

std::vector<const HmpCommand*> pointers(const std::vector<HmpCommand>& commands)
{
    std::vector<const HmpCommand*> out;
    for (const HmpCommand& command : commands)
        out.push_back(&command);
    return out;
}

}  // namespace

bool HmpArgs::flag(std::string_view name) const
{
    const auto found = values_.find(name);
    const bool* value = found == values_.end() ? nullptr : std::get_if<bool>(&found->second);
    return value && *value;
}

const std::string& HmpArgs::text(std::string_view name) const
{
    static const std::string kNone;
    const auto found = values_.find(name);
    const auto* value = found == values_.end() ? nullptr : std::get_if<std::string>(&found->second);
    return value ? *value : kNone;
}

std::int64_t HmpArgs::number(std::string_view name, std::int64_t when_absent) const
{
    const auto found = values_.find(name);
    const auto* value =
        found == values_.end() ? nullptr : std::get_if<std::int64_t>(&found->second);
    return value ? *value : when_absent;
}

Result<Json> HmpContext::qmp(std::string_view command, const Json& arguments) const
{
    return commands.dispatch(command, arguments, caller);
}

Result<Json> HmpContext::qmp(std::string_view command) const
{
    return qmp(command, Json::object());
}

void HmpTable::add(HmpCommand command)
{
    put(commands_, std::move(command));
}

void HmpTable::add_info(HmpCommand command)
{
    put(infos_, std::move(command));
}

const HmpCommand* HmpTable::find(std::string_view name) const noexcept
{
    return look_up(commands_, name);
}

const HmpCommand* HmpTable::find_info(std::string_view name) const noexcept
{
    return look_up(infos_, name);
}

std::vector<const HmpCommand*> HmpTable::list() const
{
    return pointers(commands_);
}

std::vector<const HmpCommand*> HmpTable::list_info() const
{
    return pointers(infos_);
}

}  // namespace godwit::system
