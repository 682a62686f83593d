// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Cuts a stream of bytes into JSON values, as QMP has them: a message ends where its braces and
// brackets close, whatever lines and reads it came in.
#pragma once

#include "util/json_fwd.h"
#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace godwit {

enum class JsonTokenKind : std::uint8_t {
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
struct JsonToken {
    JsonTokenKind kind;
    std::uint32_t offset;
    std::uint32_t length;
};

/// What one message may consist of before it is refused. QEMU's values.
struct JsonLimits {
    std::size_t token_bytes = std::size_t{64} << 20;  ///< all tokens of a message together
    std::size_t tokens = std::size_t{2} << 20;
    unsigned depth = 1024;
};

/// Push parser for JSON as QEMU's monitor takes it: RFC 8259, and strings in single quotes.
///
/// Resync   a byte that no token can contain is one error ("JSON parse error, stray '#'"); input
///          is then skipped up to a control character other than TAB, a structural character, or
///          one of the bytes FE and FF.
/// Errors   BadFormat, per message; the stream goes on. Limits: "JSON token size limit exceeded",
///          "JSON token count limit exceeded", "JSON nesting depth limit exceeded".
/// Source   QMP of QEMU 10.0, observed; docs/user/monitors.md.
class JsonStream {
public:
    /// Takes a message or the error in its place.
    using Sink = std::function<void(Result<Json> message)>;

    explicit JsonStream(JsonLimits limits = {}) : limits_(limits) {}

    /// Hands every message that completes to `sink`, in order.
    void feed(std::string_view bytes, const Sink& sink);
    /// There is no more: a number or word that stands at the end is complete.
    /// Errors   to `sink`: "JSON parse error, premature EOI" within a message.
    void finish(const Sink& sink);
    /// Forgets a message that has begun: the connection is a new one.
    void reset();
    /// True between messages.
    bool idle() const noexcept { return state_ == State::Start && tokens_.empty(); }

private:
    enum class State : std::uint8_t {
        Start,
        Recovery,
        Sign,
        Zero,
        Digits,
        Point,
        Fraction,
        Exponent,
        ExponentSign,
        ExponentDigits,
        Keyword,
        String,
        Escape,
    };

    /// What to do with a byte: take it, look at it again in the next state, or fail.
    enum class Step : std::uint8_t { Taken, Again, Stray };

    Step step(unsigned char byte, const Sink& sink);
    Step step_start(unsigned char byte, const Sink& sink);
    Step step_number(unsigned char byte, const Sink& sink);
    Step step_string(unsigned char byte, const Sink& sink);
    Step keep(State state, unsigned char byte);
    std::size_t take_plain_string(std::string_view bytes);

    void finish_token(JsonTokenKind kind, const Sink& sink);
    void finish_message(const Sink& sink);
    void fail(std::string message, const Sink& sink);
    void stray(std::string_view token, const Sink& sink);

    JsonLimits limits_;
    State state_ = State::Start;
    char quote_ = '"';
    std::string text_;             // the tokens of the message, one after the other
    std::size_t token_start_ = 0;  // in text_
    std::vector<JsonToken> tokens_;
    int braces_ = 0;
    int brackets_ = 0;
};

}  // namespace godwit
