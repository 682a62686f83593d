// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/stream/description.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::migration::stream {

void DescriptionWriter::separate()
{
    if (!first_)
        out_ += ", ";
    first_ = false;
}

void DescriptionWriter::put_key(std::string_view key)
{
    separate();
    put_string(key);
    out_ += ": ";
}

void DescriptionWriter::open(char bracket)
{
    separate();
    out_ += bracket;
    first_ = true;
}

void DescriptionWriter::open(std::string_view key, char bracket)
{
    put_key(key);
    out_ += bracket;
    first_ = true;
}

void DescriptionWriter::close(char bracket)
{
    out_ += bracket;
    first_ = false;
}

void DescriptionWriter::text(std::string_view key, std::string_view value)
{
    put_key(key);
    put_string(value);
}

void DescriptionWriter::number(std::string_view key, std::uint64_t value)
{
    put_key(key);
    out_ += std::to_string(value);
}

namespace {

// Stands for itself in a JSON string.
bool plain(char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

// One code point of UTF-8; what is not UTF-8 becomes U+FFFD, one byte at a time.
char32_t decode(std::string_view& rest)
{
    const auto lead = static_cast<unsigned char>(rest[0]);
    const unsigned length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : 4;
    char32_t point = length == 1 ? lead : lead & (0x7fu >> length);
    if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || rest.size() < length) {
        rest.remove_prefix(1);
        return 0xfffd;
    }
    for (unsigned i = 1; i < length; ++i) {
        const auto next = static_cast<unsigned char>(rest[i]);
        if (next >> 6 != 2) {
            rest.remove_prefix(1);
            return 0xfffd;
        }
        point = point << 6 | (next & 0x3fu);
    }
    rest.remove_prefix(length);
    return point;
}

}  // namespace

void DescriptionWriter::put_string(std::string_view value)
{
    out_ += '"';
    while (!value.empty()) {
        const auto special = std::ranges::find_if_not(value, plain);
        const auto count = static_cast<std::size_t>(special - value.begin());
        out_ += value.substr(0, count);
        value.remove_prefix(count);
        if (value.empty())
            break;
        const char32_t point = decode(value);
        switch (point) {
        case '"':
            out_ += "\\\"";
            break;
        case '\\':
            out_ += "\\\\";
            break;
        case '\b':
            out_ += "\\b";
            break;
        case '\f':
            out_ += "\\f";
            break;
        case '\n':
            out_ += "\\n";
            break;
        case '\r':
            out_ += "\\r";
            break;
        case '\t':
            out_ += "\\t";
            break;
        default:
            if (point >= 0x20 && point < 0x7f)
                out_ += static_cast<char>(point);
            else if (point < 0x10000)
                out_ += fmt::format("\\u{:04X}", static_cast<unsigned>(point));
            else
                out_ += fmt::format("\\u{:04X}\\u{:04X}",
                                    0xd800u + ((static_cast<unsigned>(point) - 0x10000u) >> 10),
                                    0xdc00u + (static_cast<unsigned>(point) & 0x3ffu));
        }
    }
    out_ += '"';
}

}  // namespace godwit::migration::stream
