// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/hmp_runner.h"

#include "monitor/hmp_parse.h"
#include "system/vm.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fmt/format.h>

namespace godwit::monitor {

namespace {

using system::HmpCommand;
using system::HmpContext;
using system::HmpTable;

std::string one_line_help(const HmpCommand& command, bool info)
{
    return fmt::format("{}{} {} -- {}\n", info ? "info " : "", command.name, command.params,
                       command.help);
}

/// Words that begin with `start`.
std::vector<std::string> matching(std::vector<std::string> words, std::string_view start)
{
    std::erase_if(words, [&](const std::string& word) { return !word.starts_with(start); });
    std::ranges::sort(words);
    const auto twice = std::ranges::unique(words);
    words.erase(twice.begin(), twice.end());
    return words;
}

std::vector<std::string> names(const std::vector<const HmpCommand*>& commands)
{
    std::vector<std::string> out;
    for (const HmpCommand* command : commands) {
        std::string_view rest = command->name;
        while (!rest.empty()) {
            const auto name = rest.substr(0, rest.find('|'));
            out.emplace_back(name);
            rest.remove_prefix(std::min(rest.size(), name.size() + 1));
        }
    }
    return out;
}

std::vector<std::string_view> split_words(std::string_view line)
{
    std::vector<std::string_view> words;
    std::size_t at = 0;
    while (true) {
        at = line.find_first_not_of(" \t", at);
        if (at == std::string_view::npos)
            break;
        const auto end = std::min(line.find_first_of(" \t", at), line.size());
        words.push_back(line.substr(at, end - at));
        at = end;
    }
    if (line.empty() || line.back() == ' ' || line.back() == '\t')
        words.emplace_back();
    return words;
}

std::string lines_of(const Error& error)
{
    return error.message() + "\n" + (error.hint().empty() ? "" : error.hint() + "\n");
}

}  // namespace

std::string with_cr(std::string_view text)
{
    std::string out;
    out.reserve(text.size() + 16);
    for (const char c : text) {
        if (c == '\n')
            out += '\r';
        out += c;
    }
    return out;
}

std::string run_hmp_line(const HmpTable& table, HmpContext& context, std::string_view line)
{
    const auto registers = [&](std::string_view name) { return cpu_register(context, name); };
    auto parsed = parse_hmp_line(table, line, registers);
    if (!parsed)
        return with_cr(lines_of(parsed.error()));
    if (!parsed->command)
        return {};
    system::HmpOutput out;
    if (auto done = parsed->command->run(context, parsed->args, out); !done) {
        out.print("Error: " + lines_of(done.error()));
    }
    return with_cr(out.text());
}

std::vector<std::string> complete_hmp_line(const HmpTable& table, HmpContext& context,
                                           std::string_view line)
{
    const auto words = split_words(line);
    const std::string_view last = words.back();
    if (words.size() == 1)
        return matching(names(table.list()), last);
    const std::string_view first = words[0];
    const bool help = first == "help" || first == "?";
    if (words.size() == 2 && help)
        return matching(names(table.list()), last);
    if (words.size() == (help ? 3u : 2u) && (first == "info" || words[1] == "info"))
        return matching(names(table.list_info()), last);
    const std::size_t skip = first == "info" ? 2 : 1;
    const HmpCommand* command = skip == 2 ? table.find_info(words[1]) : table.find(first);
    if (!command || !command->complete)
        return {};
    // Flags do not count as arguments.
    std::size_t index = 0;
    for (std::size_t i = skip; i + 1 < words.size(); ++i)
        index += words[i].starts_with('-') ? 0 : 1;
    return matching(command->complete(context, index, last), last);
}

std::string hmp_help(const HmpTable& table, std::string_view name)
{
    std::string out;
    const std::string_view first = name.substr(0, name.find(' '));
    const auto rest_at = name.find_first_not_of(' ', std::min(name.size(), first.size()));
    const std::string_view rest = rest_at == std::string_view::npos ? "" : name.substr(rest_at);
    if (first == "info") {
        for (const HmpCommand* command : table.list_info())
            if (!command->hidden && (rest.empty() || command->name == rest))
                out += one_line_help(*command, true);
        return out.empty() ? fmt::format("unknown command: 'info {}'\n", rest) : out;
    }
    if (!first.empty()) {
        const HmpCommand* command = table.find(first);
        return command ? one_line_help(*command, false)
                       : fmt::format("unknown command: '{}'\n", name);
    }
    for (const HmpCommand* command : table.list())
        if (!command->hidden)
            out += one_line_help(*command, false);
    return out;
}

std::optional<std::uint64_t> cpu_register(const HmpContext& context, std::string_view name)
{
    const auto& cpus = context.vm.vcpus();
    if (context.cpu_index >= cpus.size())
        return std::nullopt;
    std::string wanted(name);
    std::ranges::transform(wanted, wanted.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    if (wanted == "PC")
        wanted = "RIP";
    const std::string text = cpus[context.cpu_index]->describe_registers();
    for (const std::string& candidate : {wanted, "R" + wanted.substr(wanted.empty() ? 0 : 1),
                                         "E" + wanted.substr(wanted.empty() ? 0 : 1)}) {
        const auto at = text.find(candidate + "=");
        if (at == std::string::npos ||
            (at > 0 && std::isalnum(static_cast<unsigned char>(text[at - 1]))))
            continue;
        std::uint64_t value = 0;
        const char* const start = text.data() + at + candidate.size() + 1;
        if (std::from_chars(start, text.data() + text.size(), value, 16).ec != std::errc())
            continue;
        return wanted.starts_with('E') && !candidate.starts_with('E') ? value & 0xffffffff : value;
    }
    return std::nullopt;
}

}  // namespace godwit::monitor
