// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/size.h"

#include "util/excerpt.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fmt/core.h>
#include <limits>

namespace godwit {

namespace {

Error not_a(std::string_view what, std::string_view text)
{
    return Error(Errc::InvalidArgument, fmt::format("'{}' is not a {}", excerpt(text), what));
}

bool is_digit(char c) noexcept
{
    return c >= '0' && c <= '9';
}

bool is_hex(std::string_view text) noexcept
{
    return text.starts_with("0x") || text.starts_with("0X");
}

// The power of 1024 a suffix stands for; -1 if it is none.
int power_of(char suffix) noexcept
{
    constexpr std::string_view letters = "bkmgtpe";
    const char lower = suffix >= 'A' && suffix <= 'Z' ? static_cast<char>(suffix + 32) : suffix;
    const auto at = letters.find(lower);
    return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

// All of `text` as a number in `base`.
template <class T>
bool read_all(std::string_view text, int base, T& value) noexcept
{
    const char* last = text.data() + text.size();
    const auto [end, ec] = std::from_chars(text.data(), last, value, base);
    return ec == std::errc{} && end == last && !text.empty();
}

// ".25" of `unit`, rounded to the nearest whole; digits beyond the 18th do not matter any more.
std::uint64_t fraction_of(std::string_view digits, std::uint64_t unit) noexcept
{
    std::uint64_t numerator = 0;
    std::uint64_t denominator = 1;
    for (const char c : digits.substr(0, 18)) {
        numerator = numerator * 10 + static_cast<std::uint64_t>(c - '0');
        denominator *= 10;
    }
    const auto scaled = static_cast<unsigned __int128>(numerator) * unit + denominator / 2;
    return static_cast<std::uint64_t>(scaled / denominator);
}

// Splits base, digits and sign off for C syntax.
bool read_magnitude(std::string_view text, std::uint64_t& value) noexcept
{
    if (is_hex(text))
        return read_all(text.substr(2), 16, value);
    if (text.size() > 1 && text[0] == '0')
        return read_all(text.substr(1), 8, value);
    return read_all(text, 10, value);
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text, std::uint64_t default_unit)
{
    std::uint64_t whole = 0;
    if (is_hex(text)) {
        if (!read_all(text.substr(2), 16, whole) ||
            whole > std::numeric_limits<std::uint64_t>::max() / default_unit)
            return not_a("size", text);
        return whole * default_unit;
    }
    std::string_view rest = text.starts_with('+') ? text.substr(1) : text;
    std::size_t digits = 0;
    while (digits < rest.size() && is_digit(rest[digits]))
        ++digits;
    if (digits > 0 && !read_all(rest.substr(0, digits), 10, whole))
        return not_a("size", text);  // it is too large
    rest.remove_prefix(digits);
    std::string_view fraction;
    if (rest.starts_with('.')) {
        std::size_t end = 1;
        while (end < rest.size() && is_digit(rest[end]))
            ++end;
        fraction = rest.substr(1, end - 1);
        if (fraction.empty() && digits == 0)
            return not_a("size", text);
        rest.remove_prefix(end);
    } else if (digits == 0) {
        return not_a("size", text);
    }
    const int power = rest.size() == 1 ? power_of(rest[0]) : -1;
    if (!rest.empty() && power < 0)
        return not_a("size", text);
    const std::uint64_t unit = power < 0 ? default_unit : std::uint64_t{1} << (10 * power);
    if (!fraction.empty() && unit == 1)
        return not_a("size", text);  // half a byte
    const auto total = static_cast<unsigned __int128>(whole) * unit + fraction_of(fraction, unit);
    if (total > std::numeric_limits<std::uint64_t>::max())
        return not_a("size", text);
    return static_cast<std::uint64_t>(total);
}

Result<std::uint64_t> parse_u64(std::string_view text)
{
    std::uint64_t value = 0;
    if (!read_magnitude(text, value))
        return not_a("number", text);
    return value;
}

Result<std::int64_t> parse_i64(std::string_view text)
{
    const bool negative = text.starts_with('-');
    std::uint64_t magnitude = 0;
    const std::uint64_t limit =
        static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) + negative;
    if (!read_magnitude(negative ? text.substr(1) : text, magnitude) || magnitude > limit)
        return not_a("number", text);
    return static_cast<std::int64_t>(negative ? 0 - magnitude : magnitude);
}

Result<double> parse_double(std::string_view text)
{
    double value = 0;
    const char* last = text.data() + text.size();
    const auto [end, ec] = std::from_chars(text.data(), last, value);
    if (text.empty() || ec != std::errc{} || end != last || !std::isfinite(value))
        return not_a("number", text);
    return value;
}

Result<bool> parse_bool(std::string_view text)
{
    if (text == "on" || text == "yes" || text == "true" || text == "y")
        return true;
    if (text == "off" || text == "no" || text == "false" || text == "n")
        return false;
    return Error(Errc::InvalidArgument,
                 fmt::format("'{}' is neither 'on' nor 'off'", excerpt(text)));
}

std::string format_size(std::uint64_t bytes)
{
    constexpr auto units =
        std::to_array<std::string_view>({"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"});
    std::size_t power = 0;
    while (power + 1 < units.size() && bytes >> (10 * (power + 1)) != 0)
        ++power;
    const std::uint64_t unit = std::uint64_t{1} << (10 * power);
    const auto thousandths =
        static_cast<std::uint64_t>(static_cast<unsigned __int128>(bytes) * 1000 / unit);
    std::string text = fmt::format("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.'))
        text.pop_back();
    return fmt::format("{} {}", text, units[power]);
}

}  // namespace godwit
