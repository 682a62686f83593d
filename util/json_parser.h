// SPDX-License-Identifier: LGPL-2.1-or-later
//
// From the tokens of one message to its value, with the error texts of QEMU 10.0.
#pragma once

#include "util/json_stream.h"

#include <span>

namespace godwit {

/// Reads one value from tokens that point into `text`. Who made them has bounded the nesting, so
/// recursion is safe.
///
/// Errors   BadFormat: "JSON parse error, duplicate key", ...
Result<Json> parse_json_tokens(std::span<const JsonToken> tokens, std::string_view text);

}  // namespace godwit
