// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Numbers as people write them on a command line.
#pragma once

#include "util/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace godwit {

/// "128M", "1.5G", "0x1000", "4096": bytes.
///
/// Suffixes b, B (bytes), k, K, M, G, T, P, E are powers of 1024. A fraction needs a suffix; it is
/// rounded to bytes. `default_unit` multiplies a number without a suffix (1 << 20 for `-m`).
/// Errors   InvalidArgument, without the name of the option: the caller adds it.
/// Source   QEMU's documentation of sizes (docs/system, "-m").
Result<std::uint64_t> parse_size(std::string_view text, std::uint64_t default_unit = 1);

/// C syntax: decimal, 0x hexadecimal, 0 octal; nothing before or after.
Result<std::uint64_t> parse_u64(std::string_view text);
Result<std::int64_t> parse_i64(std::string_view text);
Result<double> parse_double(std::string_view text);

/// on, yes, true, y; off, no, false, n.
Result<bool> parse_bool(std::string_view text);

/// "128 MiB", "1.5 GiB", "17 B": at most three digits after the point, without trailing zeros.
std::string format_size(std::uint64_t bytes);

}  // namespace godwit
