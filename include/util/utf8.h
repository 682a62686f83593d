// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Just enough UTF-8 to check strings that come from a client.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace godwit {

/// False for surrogates, non-characters and what lies beyond U+10FFFF.
bool is_unicode(std::uint32_t code) noexcept;

/// Bytes of the valid sequence at the start of `text`; 0 if there is none. As QEMU does, C0 80 is
/// taken for U+0000.
std::size_t utf8_sequence(std::string_view text) noexcept;

/// The character of one valid sequence.
std::uint32_t decode_utf8(std::string_view sequence) noexcept;

/// Appends `code`, which is_unicode(). As QEMU does, U+0000 becomes C0 80: no zero inside what may
/// become a C string.
void append_utf8(std::string& out, std::uint32_t code);

}  // namespace godwit
