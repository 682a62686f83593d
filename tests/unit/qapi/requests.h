// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Readers for the arguments of some commands that have every kind of type among them.
#pragma once

#include "util/json_fwd.h"
#include "util/result.h"

#include <functional>
#include <map>
#include <string>

namespace godwit::qapi {

/// Reads arguments and gives them back as they are written.
using Reader = std::function<Result<Json>(const Json& arguments)>;

/// By command.
const std::map<std::string, Reader>& request_readers();

/// error_texts.json: objects with `command`, `arguments` and `error`.
Json error_texts();

}  // namespace godwit::qapi
