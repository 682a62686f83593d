// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/utf8.h"

namespace godwit {

bool is_unicode(std::uint32_t code) noexcept
{
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    const bool non_character = (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) == 0xfffe;
    return code <= 0x10ffff && !surrogate && !non_character;
}

namespace {

unsigned char byte_at(std::string_view text, std::size_t i)
{
    return static_cast<unsigned char>(text[i]);
}

/// Length that the first byte announces; 0 if none can start with it.
std::size_t announced_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if ((first & 0xe0) == 0xc0)
        return 2;
    if ((first & 0xf0) == 0xe0)
        return 3;
    return (first & 0xf8) == 0xf0 ? 4 : 0;
}

}  // namespace

std::uint32_t decode_utf8(std::string_view sequence) noexcept
{
    static constexpr unsigned char kFirstBits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    std::uint32_t code = byte_at(sequence, 0) & kFirstBits[sequence.size()];
    for (std::size_t i = 1; i < sequence.size(); ++i)
        code = code << 6 | (byte_at(sequence, i) & 0x3f);
    return code;
}

std::size_t utf8_sequence(std::string_view text) noexcept
{
    static constexpr std::uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (text.empty())
        return 0;
    const std::size_t length = announced_length(byte_at(text, 0));
    if (length == 0 || text.size() < length)
        return 0;
    for (std::size_t i = 1; i < length; ++i)
        if ((byte_at(text, i) & 0xc0) != 0x80)
            return 0;
    const std::uint32_t code = decode_utf8(text.substr(0, length));
    const bool modified_zero = code == 0 && length == 2;
    return (code >= kSmallest[length] || modified_zero) && is_unicode(code) ? length : 0;
}

void append_utf8(std::string& out, std::uint32_t code)
{
    const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
    if (code != 0 && code < 0x80)
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

}  // namespace godwit
