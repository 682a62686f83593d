// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the command line and the human monitor say of the types that a user may name.
#pragma once

#include "system/object.h"

#include <string>

namespace godwit::system {

/// A line a device type that -device takes: `-device help`, `info qdm`, `device_add help`.
std::string devices_help(const TypeRegistry& types);

}  // namespace godwit::system
