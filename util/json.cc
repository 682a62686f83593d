// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A JSON reader of our own: nlohmann's throws, knows no single quotes and words its errors
// otherwise than QEMU's clients expect.
#include "util/json.h"

#include "util/excerpt.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <fmt/core.h>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

namespace godwit {

namespace {

constexpr std::size_t kMaxQuoted = 64;  // bytes of a stray token that an error repeats

bool is_space(char c) noexcept
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool is_digit(char c) noexcept
{
    return c >= '0' && c <= '9';
}

void append_utf8(std::string& to, std::uint32_t code)
{
    if (code == 0) {
        to += "\xc0\x80";  // as QEMU: no zero inside what may become a C string
    } else if (code < 0x80) {
        to += static_cast<char>(code);
    } else if (code < 0x800) {
        to += static_cast<char>(0xc0 | (code >> 6));
        to += static_cast<char>(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        to += static_cast<char>(0xe0 | (code >> 12));
        to += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
        to += static_cast<char>(0x80 | (code & 0x3f));
    } else {
        to += static_cast<char>(0xf0 | (code >> 18));
        to += static_cast<char>(0x80 | ((code >> 12) & 0x3f));
        to += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
        to += static_cast<char>(0x80 | (code & 0x3f));
    }
}

// How many bytes at the start of `text` make one character; 0 if they make none.
std::size_t utf8_length(std::string_view text) noexcept
{
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned first = byte(0);
    if (first < 0x80)
        return 1;
    if (first == 0xc0)
        return text.size() >= 2 && byte(1) == 0x80 ? 2 : 0;
    std::size_t length = 0;
    std::uint32_t least = 0;
    std::uint32_t code = 0;
    if (first >= 0xc2 && first < 0xe0) {
        length = 2, least = 0x80, code = first & 0x1f;
    } else if (first >= 0xe0 && first < 0xf0) {
        length = 3, least = 0x800, code = first & 0x0f;
    } else if (first >= 0xf0 && first < 0xf5) {
        length = 4, least = 0x10000, code = first & 0x07;
    }
    if (length == 0 || text.size() < length)
        return 0;
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80)
            return 0;
        code = (code << 6) | (byte(i) & 0x3f);
    }
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    return code >= least && code <= 0x10ffff && !surrogate ? length : 0;
}

class Parser {
public:
    explicit Parser(std::string_view text) noexcept : text_(text) {}

    Result<Json> document()
    {
        skip_space();
        if (at_end())
            return Error(Errc::BadFormat, "Expecting a JSON value");
        Json value = GW_TRY(this->value());
        skip_space();
        if (!at_end())
            return Error(Errc::BadFormat, "Expecting at most one JSON value");
        return value;
    }

private:
    static Error fail(std::string_view what)
    {
        return Error(Errc::BadFormat, fmt::format("JSON parse error, {}", what));
    }
    // What stands from `start` up to and with the byte where we are does not belong there.
    Error stray(std::size_t start) const
    {
        const std::size_t end = std::min(at_ + 1, text_.size());
        const std::string token = excerpt(text_.substr(start, end - start), kMaxQuoted);
        return fail(fmt::format("stray '{}'", token));
    }
    bool at_end() const noexcept { return at_ == text_.size(); }
    char here() const noexcept { return text_[at_]; }
    bool is(char c) const noexcept { return !at_end() && here() == c; }
    void skip_space() noexcept
    {
        while (!at_end() && is_space(here()))
            ++at_;
    }

    Result<Json> value()
    {
        if (at_end())
            return fail("premature EOI");
        const char c = here();
        if (c == '{' || c == '[') {
            if (depth_ == kMaxJsonDepth)
                return Error(Errc::BadFormat, "JSON nesting depth limit exceeded");
            ++depth_;
            Result<Json> nested = c == '{' ? object() : array();
            --depth_;
            return nested;
        }
        if (c == '"' || c == '\'')
            return Json(GW_TRY(string()));
        if (c == '-' || is_digit(c))
            return number();
        if (c >= 'a' && c <= 'z')
            return keyword();
        if (c == '}' || c == ']' || c == ',' || c == ':')
            return fail("expecting value");
        return stray(at_);
    }

    Result<Json> object()
    {
        Json result = Json::object();
        auto& members = result.get_ref<Json::object_t&>();
        std::unordered_set<std::string> many;  // the keys, once there are too many to look through
        ++at_;
        skip_space();
        if (is('}')) {
            ++at_;
            return result;
        }
        for (;;) {
            auto [key, member] = GW_TRY(pair());
            if (is_duplicate(members, many, key))
                return fail("duplicate key");
            members.emplace_back(std::move(key), std::move(member));
            skip_space();
            if (is('}')) {
                ++at_;
                return result;
            }
            if (!is(','))
                return GW_TRY(separator("expected separator in dict"));
            ++at_;
            skip_space();
        }
    }

    Result<std::pair<std::string, Json>> pair()
    {
        const std::size_t start = at_;
        Json key = GW_TRY(value());
        if (!key.is_string()) {
            at_ = start;
            return fail("key is not a string in object");
        }
        skip_space();
        if (at_end())
            return fail("premature EOI");
        if (!is(':'))
            return fail("missing : in object pair");
        ++at_;
        skip_space();
        Json member = GW_TRY(value());
        return std::pair(std::move(key.get_ref<std::string&>()), std::move(member));
    }

    static bool is_duplicate(const Json::object_t& members, std::unordered_set<std::string>& many,
                             const std::string& key)
    {
        constexpr std::size_t few = 16;
        if (members.size() < few)
            return std::ranges::any_of(members, [&](const auto& m) { return m.first == key; });
        if (many.empty())
            for (const auto& member : members)
                many.insert(member.first);
        return !many.insert(key).second;
    }

    Result<Json> array()
    {
        Json result = Json::array();
        auto& items = result.get_ref<Json::array_t&>();
        ++at_;
        skip_space();
        if (is(']')) {
            ++at_;
            return result;
        }
        for (;;) {
            items.push_back(GW_TRY(value()));
            skip_space();
            if (is(']')) {
                ++at_;
                return result;
            }
            if (!is(','))
                return GW_TRY(separator("expected separator in list"));
            ++at_;
            skip_space();
        }
    }

    // Something else than a separator stands here: say so, or what is wrong with it if it is not
    // even a token. Never a value.
    Result<Json> separator(std::string_view what)
    {
        if (at_end())
            return fail("premature EOI");
        if (here() != '}' && here() != ']' && here() != ':')
            GW_TRY(value());
        return fail(what);
    }

    Result<Json> keyword()
    {
        const std::size_t start = at_;
        while (!at_end() && here() >= 'a' && here() <= 'z')
            ++at_;
        const std::string_view word = text_.substr(start, at_ - start);
        if (word == "true")
            return Json(true);
        if (word == "false")
            return Json(false);
        if (word == "null")
            return Json(nullptr);
        return fail(fmt::format("invalid keyword '{}'", word.substr(0, kMaxQuoted)));
    }

    bool skip_digits() noexcept
    {
        const std::size_t start = at_;
        while (!at_end() && is_digit(here()))
            ++at_;
        return at_ > start;
    }

    Result<Json> number()
    {
        const std::size_t start = at_;
        bool whole = true;
        if (is('-'))
            ++at_;
        if (is('0')) {
            ++at_;
            if (!at_end() && is_digit(here()))
                return stray(start);
        } else if (!skip_digits()) {
            return stray(start);
        }
        if (is('.')) {
            whole = false;
            ++at_;
            if (!skip_digits())
                return stray(start);
        }
        if (is('e') || is('E')) {
            whole = false;
            ++at_;
            if (is('+') || is('-'))
                ++at_;
            if (!skip_digits())
                return stray(start);
        }
        return number_of(text_.substr(start, at_ - start), whole);
    }

    // What no 64-bit integer can hold becomes a double, as in QEMU.
    static Json number_of(std::string_view token, bool whole)
    {
        const char* first = token.data();
        const char* last = first + token.size();
        if (std::uint64_t n = 0; whole && std::from_chars(first, last, n).ec == std::errc{})
            return Json(n);
        if (std::int64_t n = 0; whole && std::from_chars(first, last, n).ec == std::errc{})
            return Json(n);
        return Json(std::strtod(std::string(token).c_str(), nullptr));
    }

    Result<std::string> string()
    {
        const std::size_t start = at_;
        const char quote = here();
        std::string result;
        for (++at_; !at_end();) {
            const char c = here();
            if (c == quote) {
                ++at_;
                return result;
            }
            if (c == '\\') {
                ++at_;
                GW_TRY(escape(result));
                continue;
            }
            if (static_cast<unsigned char>(c) < 0x20)
                return stray(start);
            const std::size_t length = utf8_length(text_.substr(at_));
            if (length == 0)
                return fail("invalid UTF-8 sequence in string");
            result.append(text_, at_, length);
            at_ += length;
        }
        return stray(start);
    }

    Result<void> escape(std::string& to)
    {
        static constexpr std::string_view from = "\"'\\/bfnrt";
        static constexpr std::string_view is_for = "\"'\\/\b\f\n\r\t";
        if (at_end())
            return fail("premature EOI");
        const char c = text_[at_++];
        if (const auto i = from.find(c); i != std::string_view::npos) {
            to += is_for[i];
            return ok();
        }
        if (c != 'u')
            return fail("invalid escape sequence in string");
        std::uint32_t code = GW_TRY(four_digits());
        if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_).starts_with("\\u")) {
            at_ += 2;
            const std::uint32_t low = GW_TRY(four_digits());
            if (low < 0xdc00 || low >= 0xe000)
                return fail(
                    fmt::format("\\u{:04x}\\u{:04x} is not a valid Unicode character", code, low));
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        const bool nonchar = (code & 0xfffe) == 0xfffe || (code >= 0xfdd0 && code < 0xfdf0);
        if ((code >= 0xd800 && code < 0xe000) || nonchar)
            return fail(fmt::format("\\u{:04x} is not a valid Unicode character", code));
        append_utf8(to, code);
        return ok();
    }

    Result<std::uint32_t> four_digits()
    {
        std::uint32_t code = 0;
        const std::string_view digits = text_.substr(at_, 4);
        const auto [end, ec] =
            std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
        if (digits.size() < 4 || ec != std::errc{} || end != digits.data() + 4)
            return fail("invalid escape sequence in string");
        at_ += 4;
        return code;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::size_t depth_ = 0;
};

}  // namespace

Result<Json> parse_json(std::string_view text)
{
    return Parser(text).document();
}

std::string dump_json(const Json& value)
{
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string dump_json_pretty(const Json& value)
{
    return value.dump(4, ' ', false, Json::error_handler_t::replace);
}

}  // namespace godwit
