// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The QMP commands of qapi/accel.json.
#pragma once

#include <memory>

namespace godwit::qapi {
class AccelCommands;
}
namespace godwit::system {
class Vm;
}

namespace godwit::accel {

/// `vm` outlives what is made.
std::unique_ptr<qapi::AccelCommands> make_accel_commands(system::Vm& vm);

}  // namespace godwit::accel
