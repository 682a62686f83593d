// SPDX-License-Identifier: LGPL-2.1-or-later
//
// JSON as QEMU's monitor writes it: ASCII only, a blank behind ':' and ','. Scripts that look for
// "running": true in the text find it.
#pragma once

#include "util/json_fwd.h"

#include <string>

namespace godwit::monitor {

/// Appends `value` to `out`: on one line, or indented by four a level if `pretty`.
///
/// Bytes that are not UTF-8 become \uFFFD; numbers that are not finite, null.
void write_json(std::string& out, const Json& value, bool pretty);

}  // namespace godwit::monitor
