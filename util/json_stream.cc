// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/json_stream.h"

#include "util/excerpt.h"
#include "util/json.h"
#include "util/json_parser.h"

#include <fmt/format.h>
#include <optional>
#include <utility>

namespace godwit {

namespace {

bool is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

bool is_space(unsigned char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

std::optional<JsonTokenKind> structural(unsigned char byte)
{
    switch (byte) {
    case '{':
        return JsonTokenKind::LeftBrace;
    case '}':
        return JsonTokenKind::RightBrace;
    case '[':
        return JsonTokenKind::LeftBracket;
    case ']':
        return JsonTokenKind::RightBracket;
    case ':':
        return JsonTokenKind::Colon;
    case ',':
        return JsonTokenKind::Comma;
    default:
        return std::nullopt;
    }
}

/// Bytes that neither a string nor the skipped rest of an error may contain.
bool breaks_text(unsigned char byte)
{
    return byte < 0x20 || byte >= 0xfe;
}

}  // namespace

void JsonStream::feed(std::string_view bytes, const Sink& sink)
{
    while (!bytes.empty()) {
        if (state_ == State::String)
            bytes.remove_prefix(take_plain_string(bytes));
        if (text_.size() - token_start_ > limits_.token_bytes) {
            fail("JSON token size limit exceeded", sink);
            continue;
        }
        if (bytes.empty())
            break;
        const auto byte = static_cast<unsigned char>(bytes.front());
        Step done = step(byte, sink);
        while (done == Step::Again)
            done = step(byte, sink);
        if (done == Step::Stray) {
            text_ += static_cast<char>(byte);
            stray(std::string_view(text_).substr(token_start_), sink);
        }
        bytes.remove_prefix(1);
    }
}

void JsonStream::reset()
{
    state_ = State::Start;
    text_.clear();
    tokens_.clear();
    token_start_ = 0;
    braces_ = brackets_ = 0;
    if (text_.capacity() > 1 << 20)
        text_.shrink_to_fit();
    if (tokens_.capacity() > 1 << 16)
        tokens_.shrink_to_fit();
}

JsonStream::Step JsonStream::step(unsigned char byte, const Sink& sink)
{
    switch (state_) {
    case State::Start:
        return step_start(byte, sink);
    case State::Recovery:
        if ((breaks_text(byte) && byte != '\t') || structural(byte)) {
            state_ = State::Start;
            return Step::Again;
        }
        return Step::Taken;
    case State::Keyword:
        if (byte >= 'a' && byte <= 'z')
            return keep(State::Keyword, byte);
        finish_token(JsonTokenKind::Keyword, sink);
        return Step::Again;
    case State::String:
    case State::Escape:
        return step_string(byte, sink);
    default:
        return step_number(byte, sink);
    }
}

JsonStream::Step JsonStream::step_start(unsigned char byte, const Sink& sink)
{
    token_start_ = text_.size();
    if (is_space(byte))
        return Step::Taken;
    if (const auto kind = structural(byte)) {
        text_ += static_cast<char>(byte);
        finish_token(*kind, sink);
        return Step::Taken;
    }
    if (byte == '"' || byte == '\'') {
        quote_ = static_cast<char>(byte);
        return keep(State::String, byte);
    }
    if (byte == '-')
        return keep(State::Sign, byte);
    if (byte == '0')
        return keep(State::Zero, byte);
    if (is_digit(byte))
        return keep(State::Digits, byte);
    if (byte >= 'a' && byte <= 'z')
        return keep(State::Keyword, byte);
    return Step::Stray;
}

JsonStream::Step JsonStream::step_number(unsigned char byte, const Sink& sink)
{
    const bool digit = is_digit(byte);
    const bool exponent = byte == 'e' || byte == 'E';
    switch (state_) {
    case State::Sign:
        return digit ? keep(byte == '0' ? State::Zero : State::Digits, byte) : Step::Stray;
    case State::Zero:
    case State::Digits:
        if (digit)
            return state_ == State::Digits ? keep(State::Digits, byte) : Step::Stray;
        if (byte == '.')
            return keep(State::Point, byte);
        if (exponent)
            return keep(State::Exponent, byte);
        finish_token(JsonTokenKind::Integer, sink);
        return Step::Again;
    case State::Point:
        return digit ? keep(State::Fraction, byte) : Step::Stray;
    case State::Fraction:
        if (digit || exponent)
            return keep(digit ? State::Fraction : State::Exponent, byte);
        break;
    case State::Exponent:
        if (byte == '+' || byte == '-')
            return keep(State::ExponentSign, byte);
        [[fallthrough]];
    case State::ExponentSign:
        return digit ? keep(State::ExponentDigits, byte) : Step::Stray;
    default:
        if (digit)
            return keep(State::ExponentDigits, byte);
        break;
    }
    finish_token(JsonTokenKind::Float, sink);
    return Step::Again;
}

JsonStream::Step JsonStream::step_string(unsigned char byte, const Sink& sink)
{
    if (breaks_text(byte))
        return Step::Stray;
    if (state_ == State::Escape)
        return keep(State::String, byte);
    if (byte == '\\')
        return keep(State::Escape, byte);
    text_ += static_cast<char>(byte);
    if (byte == static_cast<unsigned char>(quote_))
        finish_token(JsonTokenKind::String, sink);
    return Step::Taken;
}

/// The long way through a string: everything up to the next byte that needs a look.
std::size_t JsonStream::take_plain_string(std::string_view bytes)
{
    std::size_t length = 0;
    const std::size_t room = limits_.token_bytes + 1;  // one more than allowed is noticed
    while (length < bytes.size() && length < room) {
        const auto byte = static_cast<unsigned char>(bytes[length]);
        if (breaks_text(byte) || byte == '\\' || byte == static_cast<unsigned char>(quote_))
            break;
        ++length;
    }
    text_.append(bytes, 0, length);
    return length;
}

JsonStream::Step JsonStream::keep(State state, unsigned char byte)
{
    text_ += static_cast<char>(byte);
    state_ = state;
    return Step::Taken;
}

void JsonStream::finish_token(JsonTokenKind kind, const Sink& sink)
{
    state_ = State::Start;
    braces_ += kind == JsonTokenKind::LeftBrace ? 1 : kind == JsonTokenKind::RightBrace ? -1 : 0;
    brackets_ += kind == JsonTokenKind::LeftBracket    ? 1
                 : kind == JsonTokenKind::RightBracket ? -1
                                                       : 0;
    if (text_.size() > limits_.token_bytes)
        return fail("JSON token size limit exceeded", sink);
    if (tokens_.size() >= limits_.tokens)
        return fail("JSON token count limit exceeded", sink);
    if (braces_ + brackets_ > static_cast<int>(limits_.depth))
        return fail("JSON nesting depth limit exceeded", sink);
    tokens_.push_back({kind, static_cast<std::uint32_t>(token_start_),
                       static_cast<std::uint32_t>(text_.size() - token_start_)});
    if (braces_ < 0 || brackets_ < 0 || (braces_ == 0 && brackets_ == 0))
        finish_message(sink);
}

void JsonStream::finish_message(const Sink& sink)
{
    Result<Json> message = parse_json_tokens(tokens_, text_);
    reset();
    sink(std::move(message));
}

void JsonStream::fail(std::string message, const Sink& sink)
{
    reset();
    sink(Error(Errc::BadFormat, std::move(message)));
}

/// `token` is none; the rest of whatever it was to be is skipped.
void JsonStream::stray(std::string_view token, const Sink& sink)
{
    fail(fmt::format("JSON parse error, stray '{}'", excerpt(token)), sink);
    state_ = State::Recovery;
}

void JsonStream::finish(const Sink& sink)
{
    switch (state_) {
    case State::Start:
        break;
    case State::Recovery:
        return reset();
    case State::Keyword:
        finish_token(JsonTokenKind::Keyword, sink);
        break;
    case State::Zero:
    case State::Digits:
        finish_token(JsonTokenKind::Integer, sink);
        break;
    case State::Fraction:
    case State::ExponentDigits:
        finish_token(JsonTokenKind::Float, sink);
        break;
    default:
        stray(std::string_view(text_).substr(token_start_), sink);
        return reset();
    }
    if (!tokens_.empty())
        fail("JSON parse error, premature EOI", sink);
}

}  // namespace godwit
