// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/mutator.h"

#include <algorithm>
#include <array>

namespace godwit::test {

namespace {

using namespace std::string_view_literals;

constexpr auto kWords = std::to_array<std::string_view>({
    "0"sv,        "-1"sv,    "18446744073709551616"sv,
    "0x"sv,       "1e400"sv, "9223372036854775808"sv,
    "null"sv,     "true"sv,  "{}"sv,
    "[]"sv,       "\"\""sv,  "\\ud800"sv,
    "\\u0000"sv,  "\0"sv,    "\xff"sv,
    "\xc0\x80"sv, "%s%n"sv,  ","sv,
    ",,"sv,       "="sv,     ":"sv,
    "{"sv,        "}"sv,     "["sv,
    "]"sv,        "\""sv,    "'"sv,
    "\n"sv,       " "sv,     "/"sv,
    "../"sv,      "on"sv,    "off"sv,
    "help"sv,     "?"sv,     "id="sv,
    "size=1E"sv,  "-"sv,     "--"sv,
});

}  // namespace

std::string Mutator::damage(std::string_view text)
{
    std::string out(text);
    for (std::size_t i = 0, n = 1 + below(4); i < n; ++i)
        change(out);
    return out;
}

void Mutator::change(std::string& text)
{
    const std::size_t at = below(text.size() + 1);
    const std::size_t length = std::min(below(9), text.size() - at);
    switch (below(6)) {
    case 0:
        if (at < text.size())
            text[at] = static_cast<char>(static_cast<unsigned char>(text[at]) ^ 1u << below(8));
        break;
    case 1:
        text.erase(at, length);
        break;
    case 2:
        text.insert(at, text.substr(at, length));
        break;
    case 3:
        text.insert(at, 1, static_cast<char>(below(256)));
        break;
    case 4:
        text.replace(at, length, kWords[below(kWords.size())]);
        break;
    default:
        text.insert(at, kWords[below(kWords.size())]);
    }
}

}  // namespace godwit::test
