// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/json_parser.h"

#include "util/excerpt.h"
#include "util/json.h"
#include "util/utf8.h"

#include <charconv>
#include <cstdlib>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <unordered_set>

namespace godwit {

namespace {

Error parse_error(std::string_view what)
{
    return Error(Errc::BadFormat, fmt::format("JSON parse error, {}", what));
}

/// Four hexadecimal digits at the start of `text`, or -1.
int hex4(std::string_view text)
{
    unsigned value = 0;
    if (text.size() < 4)
        return -1;
    const auto [end, status] = std::from_chars(text.data(), text.data() + 4, value, 16);
    return status == std::errc() && end == text.data() + 4 ? static_cast<int>(value) : -1;
}

/// Resolves the escapes of one string token.
class StringReader {
public:
    /// `token` with its quotes.
    explicit StringReader(std::string_view token)
        : token_(token), rest_(token.substr(1, token.size() - 2))
    {}

    Result<std::string> read()
    {
        std::string out;
        out.reserve(rest_.size());
        while (!rest_.empty()) {
            if (rest_.front() == '\\') {
                GW_TRY(escape(out));
                continue;
            }
            const auto length = utf8_sequence(rest_);
            if (length == 0)
                return parse_error("invalid UTF-8 sequence in string");
            out += rest_.substr(0, length);
            rest_.remove_prefix(length);
        }
        return out;
    }

private:
    Result<void> escape(std::string& out)
    {
        static constexpr std::string_view kNames = "\"'\\/bfnrt";
        static constexpr std::string_view kValues = "\"'\\/\b\f\n\r\t";
        if (rest_.size() >= 2 && rest_[1] == 'u')
            return unicode(out);
        const auto which = rest_.size() < 2 ? std::string_view::npos : kNames.find(rest_[1]);
        if (which == std::string_view::npos)
            return parse_error("invalid escape sequence in string");
        out += kValues[which];
        rest_.remove_prefix(2);
        return {};
    }

    /// \uXXXX, or a surrogate pair of them.
    Result<void> unicode(std::string& out)
    {
        const std::size_t start = static_cast<std::size_t>(rest_.data() - token_.data());
        std::size_t used = 6;
        int code = hex4(rest_.substr(2));
        if (code >= 0xd800 && code <= 0xdbff && rest_.substr(6, 2) == "\\u") {
            const int low = hex4(rest_.substr(8));
            if (low >= 0xdc00 && low <= 0xdfff) {
                used = 12;
                code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
            }
        }
        if (code < 0 || !is_unicode(static_cast<std::uint32_t>(code)))
            return parse_error(
                fmt::format("{} is not a valid Unicode character", token_.substr(start, used)));
        append_utf8(out, static_cast<std::uint32_t>(code));
        rest_.remove_prefix(used);
        return {};
    }

    std::string_view token_;
    std::string_view rest_;
};

class Parser {
public:
    Parser(std::span<const JsonToken> tokens, std::string_view text) : tokens_(tokens), text_(text)
    {}

    Result<Json> value()
    {
        const JsonToken* token = next();
        if (!token)
            return parse_error("expecting value");
        const std::string_view text = text_.substr(token->offset, token->length);
        switch (token->kind) {
        case JsonTokenKind::LeftBrace:
            return object();
        case JsonTokenKind::LeftBracket:
            return array();
        case JsonTokenKind::String:
            return Json(GW_TRY(StringReader(text).read()));
        case JsonTokenKind::Integer:
        case JsonTokenKind::Float:
            return number(text, token->kind);
        case JsonTokenKind::Keyword:
            return keyword(text);
        default:
            return parse_error("expecting value");
        }
    }

private:
    const JsonToken* next() { return at_ < tokens_.size() ? &tokens_[at_++] : nullptr; }
    bool accept(JsonTokenKind kind)
    {
        if (at_ >= tokens_.size() || tokens_[at_].kind != kind)
            return false;
        ++at_;
        return true;
    }

    Result<Json> object()
    {
        Json out = Json::object();
        if (accept(JsonTokenKind::RightBrace))
            return out;
        auto& members = *out.get_ptr<Json::object_t*>();
        std::unordered_set<std::string> seen;
        do {
            Json key = GW_TRY(value());
            auto* name = key.get_ptr<Json::string_t*>();
            if (!name)
                return parse_error("key is not a string in object");
            if (!accept(JsonTokenKind::Colon))
                return parse_error("missing : in object pair");
            Json member = GW_TRY(value());
            if (!seen.insert(*name).second)
                return parse_error("duplicate key");
            // Appends without ordered_map's own search, which is linear in the members.
            members.push_back({std::move(*name), std::move(member)});
        } while (accept(JsonTokenKind::Comma));
        if (!accept(JsonTokenKind::RightBrace))
            return parse_error("expected separator in dict");
        return out;
    }

    Result<Json> array()
    {
        Json out = Json::array();
        if (accept(JsonTokenKind::RightBracket))
            return out;
        do {
            out.push_back(GW_TRY(value()));
        } while (accept(JsonTokenKind::Comma));
        if (!accept(JsonTokenKind::RightBracket))
            return parse_error("expected separator in list");
        return out;
    }

    /// Integers that fit 64 bits stay exact; others become floating point, as in QEMU.
    static Json number(std::string_view text, JsonTokenKind kind)
    {
        if (kind == JsonTokenKind::Integer) {
            const char* const end = text.data() + text.size();
            if (std::uint64_t value = 0; std::from_chars(text.data(), end, value).ec == std::errc())
                return value;
            if (std::int64_t value = 0; std::from_chars(text.data(), end, value).ec == std::errc())
                return value;
        }
        return std::strtod(std::string(text).c_str(), nullptr);
    }

    static Result<Json> keyword(std::string_view text)
    {
        if (text == "true")
            return Json(true);
        if (text == "false")
            return Json(false);
        if (text == "null")
            return Json(nullptr);
        return parse_error(fmt::format("invalid keyword '{}'", excerpt(text)));
    }

    std::span<const JsonToken> tokens_;
    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace

Result<Json> parse_json_tokens(std::span<const JsonToken> tokens, std::string_view text)
{
    return Parser(tokens, text).value();
}

}  // namespace godwit
