// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The name of the JSON type, for headers that only pass it on.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace godwit {

/// A JSON value. Members keep the order in which they were inserted or parsed.
using Json = nlohmann::ordered_json;

}  // namespace godwit
