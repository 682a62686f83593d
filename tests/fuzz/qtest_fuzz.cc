// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The lines of the qtest protocol, taken apart into words and numbers.
#include "monitor/qtest_words.h"
#include "tests/fuzz/fuzz.h"

using namespace godwit;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    std::string_view rest = fuzz::as_text(data, size);
    while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(rest.size(), line.size() + 1));
        const monitor::QtestWords words(line);
        for (std::size_t i = 0; i <= words.count(); ++i) {
            const auto number = words.number(i);
            const auto number_signed = words.signed_number(i);
            fuzz::require(words.word(i).has_value() == (i < words.count()),
                          "there are as many words as are counted");
            for (const Error* error : {number ? nullptr : &number.error(),
                                       number_signed ? nullptr : &number_signed.error()})
                if (error != nullptr)
                    fuzz::require_one_line(*error);
        }
    }
    return 0;
}
