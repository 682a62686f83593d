// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/excerpt.h"

#include <fmt/core.h>

namespace godwit {

std::string excerpt(std::string_view text, std::size_t limit)
{
    std::string shown;
    for (const char c : text.substr(0, limit)) {
        const auto byte = static_cast<unsigned char>(c);
        shown += byte < 0x20 || byte == 0x7f ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
    }
    return shown;
}

}  // namespace godwit
