// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Bytes as text: hexadecimal and base64.
#pragma once

#include "util/result.h"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godwit {

/// Two lower-case digits a byte.
std::string to_hex(std::span<const std::byte> bytes);
/// Errors   BadFormat: an odd number of digits, or something that is no digit.
Result<std::vector<std::byte>> from_hex(std::string_view text);

/// RFC 4648, with padding.
std::string to_base64(std::span<const std::byte> bytes);
/// White space is skipped.
/// Errors   BadFormat.
Result<std::vector<std::byte>> from_base64(std::string_view text);

}  // namespace godwit
