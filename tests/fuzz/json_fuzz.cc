// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What parse_json() accepts, it writes and reads again as the same value.
#include "tests/fuzz/fuzz.h"
#include "util/json.h"

using namespace godwit;

namespace {

// Numbers beyond a double's range become infinite, which JSON cannot say.
bool is_finite(const Json& value)
{
    if (value.is_structured()) {
        for (const Json& item : value)
            if (!is_finite(item))
                return false;
        return true;
    }
    return !value.is_number_float() || value.get<double>() - value.get<double>() == 0;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const auto value = parse_json(fuzz::as_text(data, size));
    if (!value) {
        fuzz::require_one_line(value.error());
        return 0;
    }
    const std::string text = dump_json(*value);
    const auto again = parse_json(text);
    // U+0000 is kept as C0 80, which is written as U+FFFD.
    if (is_finite(*value) && text.find("\xef\xbf\xbd") == std::string::npos)
        fuzz::require(again && *again == *value, "what is written is read again");
    return 0;
}
