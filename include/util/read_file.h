// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Small files that an operator names: secrets, configuration.
#pragma once

#include "util/result.h"

#include <cstddef>
#include <string>

namespace godwit {

/// The whole content of `path`, which may be a pipe.
/// Errors   "PATH: No such file or directory"; InvalidArgument if there are more than `limit`
/// bytes.
Result<std::string> read_small_file(const std::string& path, std::size_t limit = 1 << 20);

}  // namespace godwit
