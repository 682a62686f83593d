// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/utf8.h"

namespace godwit::monitor {

bool is_unicode(std::uint32_t code) noexcept
{
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    const bool non_character = (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) == 0xfffe;
    return code <= 0x10ffff && !surrogate && !non_character;
}

std::size_t utf8_sequence(std::string_view text) noexcept
{
    if (text.empty())
        return 0;
    const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    if (byte(0) < 0x80)
        return 1;
    std::size_t length = 0;
    std::uint32_t code = 0;
    std::uint32_t smallest = 0;
    if ((byte(0) & 0xe0) == 0xc0) {
        length = 2, code = byte(0) & 0x1f, smallest = 0x80;
    } else if ((byte(0) & 0xf0) == 0xe0) {
        length = 3, code = byte(0) & 0x0f, smallest = 0x800;
    } else if ((byte(0) & 0xf8) == 0xf0) {
        length = 4, code = byte(0) & 0x07, smallest = 0x10000;
    }
    if (length == 0 || text.size() < length)
        return 0;
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (byte(i) & 0x3f);
    }
    const bool modified_zero = code == 0 && length == 2;
    return (code >= smallest || modified_zero) && is_unicode(code) ? length : 0;
}

void append_utf8(std::string& out, std::uint32_t code)
{
    const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
    if (code < 0x80)
        return put(code);
    if (code < 0x800) {
        put(0xc0 | code >> 6);
    } else if (code < 0x10000) {
        put(0xe0 | code >> 12);
        put(0x80 | (code >> 6 & 0x3f));
    } else {
        put(0xf0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3f));
        put(0x80 | (code >> 6 & 0x3f));
    }
    put(0x80 | (code & 0x3f));
}

}  // namespace godwit::monitor
