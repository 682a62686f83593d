// SPDX-License-Identifier: LGPL-2.1-or-later
#include "qapi/command_table.h"

#include "util/json.h"

#include <cstdlib>
#include <fmt/format.h>
#include <unordered_map>
#include <utility>

namespace godwit::qapi {

struct CommandTable::Index {
    struct Entry {
        CommandInfo info;
        Handler handler;
    };
    std::unordered_map<std::string_view, Entry> entries;
};

CommandTable::CommandTable() : index_(std::make_unique<Index>()) {}
CommandTable::CommandTable(CommandTable&&) noexcept = default;
CommandTable& CommandTable::operator=(CommandTable&&) noexcept = default;
CommandTable::~CommandTable() = default;

void CommandTable::add(const CommandInfo& info, Handler handler)
{
    const bool added =
        index_->entries.emplace(info.name, Index::Entry{info, std::move(handler)}).second;
    if (!added)
        std::abort();
    commands_.push_back(info);
}

const CommandInfo* CommandTable::find(std::string_view name) const
{
    const auto found = index_->entries.find(name);
    return found == index_->entries.end() ? nullptr : &found->second.info;
}

Result<Json> CommandTable::dispatch(std::string_view name, const Json& arguments,
                                    CommandContext& context) const
{
    const auto found = index_->entries.find(name);
    if (found == index_->entries.end())
        return Error(Errc::CommandNotFound, fmt::format("The command {} has not been found", name));
    return found->second.handler(arguments, context);
}

}  // namespace godwit::qapi
