// SPDX-License-Identifier: LGPL-2.1-or-later
#include "qapi/any.h"

#include "util/json.h"

#include <utility>

namespace godwit::qapi {

Any::Any() : Any(Json()) {}

Any::Any(Json value) : value_(std::make_shared<const Json>(std::move(value))) {}

}  // namespace godwit::qapi
