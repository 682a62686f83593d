// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The tokens of a QMP message, between the stream that frames it and the parser that reads it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace godwit::monitor {

enum class TokenKind : std::uint8_t {
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Colon,
    Comma,
    Integer,
    Float,
    Keyword,
    String,  ///< with its quotes, escapes not yet resolved
};

/// One token: `length` bytes at `offset` of the message's text.
struct Token {
    TokenKind kind;
    std::uint32_t offset;
    std::uint32_t length;
};

/// The tokens of one message and the text they point into.
struct TokenList {
    std::span<const Token> tokens;
    std::string_view text;

    std::string_view text_of(const Token& token) const
    {
        return text.substr(token.offset, token.length);
    }
};

}  // namespace godwit::monitor
