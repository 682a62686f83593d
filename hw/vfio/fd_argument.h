// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Descriptors that the user hands in with a property.
#pragma once

#include "util/result.h"
#include "util/unique_fd.h"

#include <string>

namespace godwit::system {
class Vm;
}

namespace godwit::hw::vfio {

/// A duplicate of what `text` names: the number of a descriptor this process inherited, or
/// "/dev/fdset/N".
/// Errors   InvalidArgument, "fd: 'x' is no open descriptor".
Result<UniqueFd> fd_argument(system::Vm& vm, const std::string& text);

}  // namespace godwit::hw::vfio
