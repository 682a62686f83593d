// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/printable.h"

#include "util/utf8.h"

#include <fmt/format.h>

namespace godwit::migration {
namespace {

// Bytes of the character that `text` begins with; 0 if it is none to show.
std::size_t character(std::string_view text)
{
    const auto lead = static_cast<unsigned char>(text[0]);
    constexpr unsigned char kModifiedZero = 0xc0;
    return lead < 0x20 || lead == 0x7f || lead == kModifiedZero ? 0 : utf8_sequence(text);
}

}  // namespace

std::string printable(std::string_view text, std::size_t limit)
{
    std::string out;
    while (!text.empty()) {
        const std::size_t length = character(text);
        const std::string piece =
            length == 0 ? fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]))
                        : std::string(text.substr(0, length));
        if (piece.size() > limit - out.size())
            break;
        out += piece;
        text.remove_prefix(length == 0 ? 1 : length);
    }
    return out;
}

}  // namespace godwit::migration
