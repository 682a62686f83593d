// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The schema type 'any': a JSON value that passes through as it is.
#pragma once

#include "util/json_fwd.h"

#include <memory>

namespace godwit::qapi {

/// A JSON value that is never changed. Holds it by pointer, so that generated headers need not see
/// the JSON library; copies share it.
///
/// Threads  a value; copies may be read by several threads.
class Any {
public:
    /// null.
    Any();
    explicit Any(Json value);

    /// Valid as long as this Any or a copy of it lives.
    const Json& json() const noexcept { return *value_; }

private:
    std::shared_ptr<const Json> value_;
};

}  // namespace godwit::qapi
