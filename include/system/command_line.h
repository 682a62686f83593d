// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The command line: a table of options that each room fills, and the order in which what stood
// there takes effect.
#pragma once

#include "util/result.h"

#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::system {

/// When an option takes effect. Within a stage: in the order of the command line.
enum class Stage {
    Process,   ///< log, sandbox, daemon, plugins: before anything is made
    Settings,  ///< notes values down; machine, accelerator and memory are chosen from them
    Objects,
    Chardevs,
    Block,
    Ports,     ///< serial ports
    Monitors,  ///< from here on clients may connect
    Devices,   ///< the machine exists
    Incoming,  ///< everything exists
};

/// One option.
struct CommandLineOption {
    std::string_view name;  ///< without dashes
    std::string_view
        parameters;         ///< for help: "[type=]name[,prop[=value][,...]]"; "" = no argument
    std::string_view help;  ///< for help: lines that end in LF but for the last
    Stage stage = Stage::Settings;
    /// Errors are given the option and its argument as context.
    std::function<Result<void>(const std::string& argument)> handle;
    std::string_view alias = {};
    /// Keys of its list, for query-command-line-options: "id:string size:size share:boolean".
    std::string_view keys = {};
    bool hidden = false;  ///< not listed by -h
    /// What query-command-line-options and -readconfig call its list; empty: `name`.
    std::string_view group = {};
    std::string_view group_name() const noexcept { return group.empty() ? name : group; }
};

/// The options of one process.
///
/// Order    rooms add(); parse() once; then apply() stage by stage.
/// Threads  main thread.
/// Errors   InvalidArgument, one line: "-foo: invalid option", "-name: requires an argument",
///          "-device foo: 'foo' is not a valid device model name".
class CommandLine {
public:
    /// Texts live as long as the table: make them literals. A name that is added again replaces
    /// the older option.
    void add(CommandLineOption option);
    const CommandLineOption* find(std::string_view name) const noexcept;
    /// The option whose list (`keys`) is called `group`; null: there is none.
    const CommandLineOption* find_group(std::string_view group) const noexcept;
    const std::vector<CommandLineOption>& options() const noexcept { return options_; }

    /// Reads the words behind the program's name; nothing takes effect yet. A word without a dash
    /// is the argument of the option "hda".
    Result<void> parse(std::span<const char* const> words);
    /// Another option as if it had stood at the end.
    Result<void> append(std::string_view name, std::string argument);
    /// For a handler: another option as if it had stood behind the one being handled and those
    /// inserted by it before. `origin` stands in its errors instead of "-name argument".
    /// Errors   NotFound: there is no such option, or it takes no argument.
    Result<void> insert(std::string_view name, std::string argument, std::string origin);

    bool has(std::string_view name) const noexcept;
    /// All arguments of `name`, in order.
    std::vector<std::string> arguments(std::string_view name) const;

    /// Runs the handlers of a stage; stops at the first error or finish().
    Result<void> apply(Stage stage);

    /// A handler did all there is to do (help, -version): nothing else takes effect and the program
    /// ends.
    void finish(int exit_status) noexcept { finished_ = exit_status; }
    std::optional<int> finished() const noexcept { return finished_; }

    /// What -h prints below the usage line.
    std::string help() const;

private:
    struct Word {
        std::size_t option;  // index into options_
        std::string argument;
        std::string origin = {};  // context of its errors; empty: option and argument
    };

    std::vector<CommandLineOption> options_;
    std::vector<Word> words_;
    std::size_t insert_at_ = 0;  // while a handler runs: where insert() puts the next word
    std::optional<int> finished_;
};

/// Writes to standard output, all of it.
void print_out(std::string_view text);

}  // namespace godwit::system
