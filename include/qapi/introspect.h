// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The schema as data, for clients that ask what we understand.
#pragma once

#include <string_view>

namespace godwit::qapi {

/// The reply of query-qmp-schema as JSON text, in the shape that QEMU documents for SchemaInfo.
/// Type names are numbers without meaning; only the shape counts.
std::string_view schema_json() noexcept;

}  // namespace godwit::qapi
