// SPDX-License-Identifier: LGPL-2.1-or-later
//
// JSON values, read from text that may be hostile and written as one line.
#pragma once

#include "util/json_fwd.h"
#include "util/result.h"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace godwit {

/// Objects and arrays within each other that parse_json() accepts, as QEMU does.
inline constexpr std::size_t kMaxJsonDepth = 1024;

/// Reads one JSON value that fills `text` but for white space.
///
/// Besides RFC 8259, strings may stand in single quotes, as QEMU's clients write them.
/// Errors   BadFormat: "JSON parse error, ..." with the byte where it happened. A member that
///          occurs twice in an object is one.
Result<Json> parse_json(std::string_view text);

/// One line without white space between tokens. Bytes that are not UTF-8 become U+FFFD.
std::string dump_json(const Json& value);

/// The same over several lines, indented by four.
std::string dump_json_pretty(const Json& value);

}  // namespace godwit
