// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/json_parser.h"

#include "monitor/utf8.h"
#include "util/json.h"

#include <charconv>
#include <cstdlib>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <unordered_set>

namespace godwit::monitor {

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
    explicit Parser(const TokenList& message) : message_(message) {}

    Result<Json> value()
    {
        const Token* token = next();
        if (!token)
            return parse_error("expecting value");
        const std::string_view text = message_.text_of(*token);
        switch (token->kind) {
        case TokenKind::LeftBrace:
            return object();
        case TokenKind::LeftBracket:
            return array();
        case TokenKind::String:
            return Json(GW_TRY(StringReader(text).read()));
        case TokenKind::Integer:
        case TokenKind::Float:
            return number(text, token->kind);
        case TokenKind::Keyword:
            return keyword(text);
        default:
            return parse_error("expecting value");
        }
    }

private:
    const Token* next() { return at_ < message_.tokens.size() ? &message_.tokens[at_++] : nullptr; }
    bool accept(TokenKind kind)
    {
        if (at_ >= message_.tokens.size() || message_.tokens[at_].kind != kind)
            return false;
        ++at_;
        return true;
    }

    Result<Json> object()
    {
        Json out = Json::object();
        if (accept(TokenKind::RightBrace))
            return out;
        auto& members = *out.get_ptr<Json::object_t*>();
        std::unordered_set<std::string> seen;
        do {
            Json key = GW_TRY(value());
            auto* name = key.get_ptr<Json::string_t*>();
            if (!name)
                return parse_error("key is not a string in object");
            if (!accept(TokenKind::Colon))
                return parse_error("missing : in object pair");
            Json member = GW_TRY(value());
            if (!seen.insert(*name).second)
                return parse_error("duplicate key");
            // Appends without ordered_map's own search, which is linear in the members.
            members.push_back({std::move(*name), std::move(member)});
        } while (accept(TokenKind::Comma));
        if (!accept(TokenKind::RightBrace))
            return parse_error("expected separator in dict");
        return out;
    }

    Result<Json> array()
    {
        Json out = Json::array();
        if (accept(TokenKind::RightBracket))
            return out;
        do {
            out.push_back(GW_TRY(value()));
        } while (accept(TokenKind::Comma));
        if (!accept(TokenKind::RightBracket))
            return parse_error("expected separator in list");
        return out;
    }

    /// Integers that fit 64 bits stay exact; others become floating point, as in QEMU.
    static Json number(std::string_view text, TokenKind kind)
    {
        if (kind == TokenKind::Integer) {
            std::int64_t value = 0;
            const char* const end = text.data() + text.size();
            if (std::from_chars(text.data(), end, value).ec == std::errc())
                return value;
            std::uint64_t large = 0;
            if (text[0] != '-' && std::from_chars(text.data(), end, large).ec == std::errc())
                return large;
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
        return parse_error(fmt::format("invalid keyword '{}'", text));
    }

    const TokenList& message_;
    std::size_t at_ = 0;
};

}  // namespace

Result<Json> parse_tokens(const TokenList& message)
{
    return Parser(message).value();
}

}  // namespace godwit::monitor
