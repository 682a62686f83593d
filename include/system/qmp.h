// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The QMP commands of qapi/system.json.
#pragma once

#include <memory>

namespace godwit::qapi {
class SystemCommands;
}

namespace godwit::system {

class CommandLine;
class Vm;

/// Both outlive what is made. `line` answers query-command-line-options.
std::unique_ptr<qapi::SystemCommands> make_system_commands(Vm& vm, const CommandLine& line);

}  // namespace godwit::system
