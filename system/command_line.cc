// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/command_line.h"

#include <algorithm>
#include <unistd.h>

namespace godwit::system {

void CommandLine::add(CommandLineOption option)
{
    const auto it = std::ranges::find(options_, option.name, &CommandLineOption::name);
    if (it != options_.end())
        *it = std::move(option);
    else
        options_.push_back(std::move(option));
}

const CommandLineOption* CommandLine::find(std::string_view name) const noexcept
{
    const auto it = std::ranges::find_if(options_, [&](const CommandLineOption& option) {
        return option.name == name || (!option.alias.empty() && option.alias == name);
    });
    return it == options_.end() ? nullptr : &*it;
}

const CommandLineOption* CommandLine::find_group(std::string_view group) const noexcept
{
    const auto it = std::ranges::find_if(options_, [&](const CommandLineOption& option) {
        return !option.keys.empty() && option.group_name() == group;
    });
    return it == options_.end() ? nullptr : &*it;
}

Result<void> CommandLine::parse(std::span<const char* const> words)
{
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string_view word = words[i];
        if (!word.starts_with('-') || word == "-") {
            GW_TRY(append("hda", std::string(word)));
            continue;
        }
        const std::string_view name = word.substr(word.starts_with("--") ? 2 : 1);
        const CommandLineOption* option = find(name);
        if (!option)
            return Error(Errc::InvalidArgument, std::string(word) + ": invalid option");
        std::string argument;
        if (!option->parameters.empty()) {
            if (++i == words.size()) {
                return Error(Errc::InvalidArgument, std::string(word) + ": requires an argument");
            }
            argument = words[i];
        }
        words_.push_back({.option = static_cast<std::size_t>(option - options_.data()),
                          .argument = std::move(argument)});
    }
    return {};
}

Result<void> CommandLine::append(std::string_view name, std::string argument)
{
    const CommandLineOption* option = find(name);
    if (!option)
        return Error(Errc::InvalidArgument,
                     (argument.empty() ? "''" : argument) + ": invalid option");
    words_.push_back({.option = static_cast<std::size_t>(option - options_.data()),
                      .argument = std::move(argument)});
    return {};
}

Result<void> CommandLine::insert(std::string_view name, std::string argument, std::string origin)
{
    const CommandLineOption* option = find(name);
    if (!option || option->parameters.empty())
        return Error(Errc::NotFound, "there is no option -" + std::string(name));
    words_.insert(words_.begin() + static_cast<std::ptrdiff_t>(insert_at_++),
                  {.option = static_cast<std::size_t>(option - options_.data()),
                   .argument = std::move(argument),
                   .origin = std::move(origin)});
    return {};
}

bool CommandLine::has(std::string_view name) const noexcept
{
    return std::ranges::any_of(
        words_, [&](const Word& word) { return options_[word.option].name == name; });
}

std::vector<std::string> CommandLine::arguments(std::string_view name) const
{
    std::vector<std::string> found;
    for (const Word& word : words_) {
        if (options_[word.option].name == name)
            found.push_back(word.argument);
    }
    return found;
}

Result<void> CommandLine::apply(Stage stage)
{
    // By index: a handler may append and insert.
    for (std::size_t i = 0; i < words_.size() && !finished_; ++i) {
        const CommandLineOption& option = options_[words_[i].option];
        if (option.stage != stage || !option.handle)
            continue;
        const std::string argument = words_[i].argument;
        std::string where = words_[i].origin;
        if (where.empty()) {
            where = "-" + std::string(option.name);
            if (!option.parameters.empty())
                where += " " + argument;
        }
        insert_at_ = i + 1;
        GW_TRY(with_context(option.handle(argument), where));
    }
    return {};
}

std::string CommandLine::help() const
{
    std::vector<const CommandLineOption*> sorted;
    for (const CommandLineOption& option : options_) {
        if (!option.hidden)
            sorted.push_back(&option);
    }
    std::ranges::sort(sorted, {}, &CommandLineOption::name);
    std::string text;
    for (const CommandLineOption* option : sorted) {
        std::string line = "-" + std::string(option->name);
        if (!option->alias.empty())
            line += ", -" + std::string(option->alias);
        if (!option->parameters.empty())
            line += " " + std::string(option->parameters);
        text += line + "\n";
        std::string_view rest = option->help;
        while (!rest.empty()) {
            const std::size_t end = std::min(rest.find('\n'), rest.size());
            text += "                " + std::string(rest.substr(0, end)) + "\n";
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
    }
    return text;
}

void print_out(std::string_view text)
{
    while (!text.empty()) {
        const ssize_t length = ::write(STDOUT_FILENO, text.data(), text.size());
        if (length <= 0)
            return;
        text.remove_prefix(static_cast<std::size_t>(length));
    }
}

}  // namespace godwit::system
