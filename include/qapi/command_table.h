// SPDX-License-Identifier: LGPL-2.1-or-later
//
// All commands by name, whatever room implements them.
#pragma once

#include "util/json_fwd.h"
#include "util/result.h"

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace godwit::qapi {

class CommandContext;

/// What the schema says about a command besides its types.
struct CommandInfo {
    std::string_view name;         ///< as on the wire
    bool allow_oob = false;        ///< may be run out of band
    bool allow_preconfig = false;  ///< may be run before the machine exists
    bool deprecated = false;
    bool unstable = false;
};

/// Commands by name. Filled by the generated register_commands() functions at start.
///
/// Threads  filled by one thread; afterwards read-only, so dispatch() may be called by several:
///          which command may run where is the command's business.
/// Errors   a name that is added twice is our bug and aborts.
class CommandTable {
public:
    using Handler = std::function<Result<Json>(const Json& arguments, CommandContext& context)>;

    CommandTable();
    CommandTable(CommandTable&&) noexcept;
    CommandTable& operator=(CommandTable&&) noexcept;
    ~CommandTable();

    /// `info.name` must outlive the table; generated names do.
    void add(const CommandInfo& info, Handler handler);

    /// Null if there is no such command.
    const CommandInfo* find(std::string_view name) const;

    /// In the order in which they were added.
    const std::vector<CommandInfo>& commands() const noexcept { return commands_; }

    /// Runs a command.
    ///
    /// @param arguments  an object; empty for none
    /// @return           what stands behind "return"; an empty object if there is nothing to say
    /// Errors  CommandNotFound; the arguments do not fit, with the texts of QEMU; the command's
    /// own.
    Result<Json> dispatch(std::string_view name, const Json& arguments,
                          CommandContext& context) const;

private:
    struct Index;
    std::vector<CommandInfo> commands_;
    std::unique_ptr<Index> index_;
};

}  // namespace godwit::qapi
