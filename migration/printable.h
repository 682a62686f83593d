// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Text that came from the other side, made fit for a log, a terminal and JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace godwit::migration {

/// One line of valid UTF-8: control characters and bytes that are no UTF-8 become \xNN. What does
/// not fit into `limit` bytes is left out, whole characters at a time.
std::string printable(std::string_view text, std::size_t limit = SIZE_MAX);

}  // namespace godwit::migration
