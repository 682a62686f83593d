// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Patterns with * and ?, as in `-trace migration_*`.
#pragma once

#include <string_view>

namespace godwit {

/// Whether `text` as a whole matches `pattern`: * is any run of characters, ? any one of them.
/// Takes at most pattern times text steps.
bool glob_match(std::string_view pattern, std::string_view text) noexcept;

}  // namespace godwit
