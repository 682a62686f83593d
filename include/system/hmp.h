// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The human monitor's commands, as data. Any room adds its own to the table; the monitor room reads
// lines, parses them by the table and prints what comes out.
#pragma once

#include "util/json_fwd.h"
#include "util/result.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace godwit::qapi {
class CommandContext;
class CommandTable;
}  // namespace godwit::qapi

namespace godwit::system {

class Vm;

/// The parsed arguments of one line, by the names in HmpCommand::args.
class HmpArgs {
public:
    using Value = std::variant<std::string, std::int64_t, bool>;

    void set(std::string name, Value value) { values_.insert_or_assign(std::move(name), value); }
    bool has(std::string_view name) const { return values_.contains(name); }
    /// A flag (or 'b'): false when absent.
    bool flag(std::string_view name) const;
    /// "" when absent.
    const std::string& text(std::string_view name) const;
    std::int64_t number(std::string_view name, std::int64_t when_absent = 0) const;

private:
    std::map<std::string, Value, std::less<>> values_;
};

/// Collects what a command prints. Lines end in LF here; the monitor makes CR LF of it.
class HmpOutput {
public:
    void print(std::string_view text) { text_ += text; }
    const std::string& text() const noexcept { return text_; }
    std::string take() noexcept { return std::move(text_); }

private:
    std::string text_;
};

/// What a command may use. A command that does what a QMP command does, calls that one.
struct HmpContext {
    Vm& vm;
    const qapi::CommandTable& commands;
    qapi::CommandContext& caller;           ///< descriptors of the connection
    unsigned& cpu_index;                    ///< the choice of the `cpu` command
    std::vector<std::string> history = {};  ///< lines entered on this connection
    /// A command that goes on sets this: a monitor with a prompt calls it every 100 ms, with the
    /// machine lock, prints what it says, and prompts again when it answers false. Whoever has no
    /// prompt to keep back (human-monitor-command) drops it.
    std::function<bool(HmpOutput&)> goes_on = {};

    /// Runs a QMP command. Errors are the command's.
    Result<Json> qmp(std::string_view command, const Json& arguments) const;
    Result<Json> qmp(std::string_view command) const;
};

/// One command, or one `info` topic.
struct HmpCommand {
    /// "stop|s": the name and its aliases.
    std::string name;
    /// What follows: "detach:-d,resume:-r,uri:s,count:i?". After the colon:
    ///   s  a word, "quoted" or not    F  a file name    B  a device or block name
    ///   S  the rest of the line       O  an option list, as text
    ///   i  32-bit number or expression   l  64-bit       M  a number in MiB, suffix allowed
    ///   o  a size in bytes, suffix allowed (k, M, G, T)  b  on|off
    ///   /  a format "/8xw", given as numbers "count", "format", "size" (as text of the character)
    ///   -x a flag; -xs a flag that takes a word
    ///   =  the argument's own name as a word, or nothing: a flag behind the others
    /// and ? behind the letter: optional.
    std::string args;
    std::string params;  ///< for help: "[-d] [-r] uri"
    std::string help;    ///< for help, one line or more
    /// An error is printed as "Error: MESSAGE".
    std::function<Result<void>(HmpContext&, const HmpArgs&, HmpOutput&)> run;
    /// Words that may stand as argument `index` (from 0); empty: nothing is offered.
    std::function<std::vector<std::string>(HmpContext&, std::size_t index, std::string_view start)>
        complete;
    bool hidden = false;  ///< not listed by help
};

/// All commands of one monitor set.
///
/// Threads  filled before use, or with the machine lock.
/// Errors   a name that is added again replaces the older command: a room may refine one.
class HmpTable {
public:
    void add(HmpCommand command);
    /// `info NAME`.
    void add_info(HmpCommand command);
    const HmpCommand* find(std::string_view name) const noexcept;
    const HmpCommand* find_info(std::string_view name) const noexcept;
    /// Sorted by name.
    std::vector<const HmpCommand*> list() const;
    std::vector<const HmpCommand*> list_info() const;

private:
    std::vector<HmpCommand> commands_;
    std::vector<HmpCommand> infos_;
};

}  // namespace godwit::system
