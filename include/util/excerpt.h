// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What of somebody else's text an error message may repeat.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace godwit {

/// The first `limit` bytes of `text`, control characters as \x1b: one line of bounded length that
/// moves no terminal's cursor.
std::string excerpt(std::string_view text, std::size_t limit = 80);

}  // namespace godwit
