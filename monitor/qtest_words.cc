// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/qtest_words.h"

#include <charconv>
#include <fmt/format.h>

namespace godwit::monitor {

QtestWords::QtestWords(std::string_view line)
{
    if (line.ends_with('\r'))
        line.remove_suffix(1);
    while (true) {
        const auto start = line.find_first_not_of(' ');
        if (start == std::string_view::npos)
            return;
        line.remove_prefix(start);
        const auto end = line.find(' ');
        words_.push_back(line.substr(0, end));
        if (end == std::string_view::npos)
            return;
        line.remove_prefix(end);
    }
}

Error QtestWords::bad(std::size_t index, std::string_view what) const
{
    return Error(Errc::InvalidArgument,
                 fmt::format("{}: argument {} {}", command().substr(0, 32), index + 1, what));
}

Result<std::string_view> QtestWords::word(std::size_t index) const
{
    if (index >= count())
        return bad(index, "is missing");
    return words_[index + 1];
}

Result<std::uint64_t> QtestWords::number(std::size_t index) const
{
    std::string_view text = GW_TRY(word(index));
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+'))
        text.remove_prefix(1);
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text[0] == '0') {
        base = 8;
    }
    std::uint64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, status] = std::from_chars(text.data(), end, value, base);
    if (status == std::errc::result_out_of_range)
        return bad(index, "is too large");
    if (status != std::errc() || stop != end)
        return bad(index, "is not a number");
    return negative ? 0 - value : value;
}

Result<std::int64_t> QtestWords::signed_number(std::size_t index) const
{
    return static_cast<std::int64_t>(GW_TRY(number(index)));
}

}  // namespace godwit::monitor
