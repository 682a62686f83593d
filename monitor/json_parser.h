// SPDX-License-Identifier: LGPL-2.1-or-later
//
// From the tokens of one QMP message to its value, with the error texts of QEMU 10.0.
#pragma once

#include "monitor/json_token.h"
#include "util/json_fwd.h"
#include "util/result.h"

namespace godwit::monitor {

/// Reads one value. The stream has bounded the nesting, so recursion is safe.
///
/// Errors   BadFormat: "JSON parse error, duplicate key", ...
Result<Json> parse_tokens(const TokenList& message);

}  // namespace godwit::monitor
