// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Expressions in arguments of human commands: "$rip+0x10", "(1<<4)*2".
#include "monitor/hmp_parse.h"

#include <cctype>
#include <charconv>
#include <fmt/format.h>

namespace godwit::monitor {

namespace {

constexpr unsigned kMaxDepth = 64;

/// Recursive descent over C's binary operators, strongest last.
class Expression {
public:
    Expression(std::string_view& text, const RegisterLookup& registers)
        : text_(text), registers_(registers)
    {}

    Result<std::uint64_t> sum()
    {
        std::uint64_t value = GW_TRY(logic());
        while (const char op = take_any("+-")) {
            const std::uint64_t right = GW_TRY(logic());
            value = op == '+' ? value + right : value - right;
        }
        return value;
    }

private:
    Result<std::uint64_t> logic()
    {
        std::uint64_t value = GW_TRY(product());
        while (const char op = take_any("&|^")) {
            const std::uint64_t right = GW_TRY(product());
            value = op == '&' ? value & right : op == '|' ? value | right : value ^ right;
        }
        return value;
    }

    Result<std::uint64_t> product()
    {
        std::uint64_t value = GW_TRY(unary());
        while (const char op = take_any("*/%<>")) {
            if (op == '<' || op == '>') {
                if (!text_.starts_with(op))
                    return Error(Errc::InvalidArgument,
                                 fmt::format("invalid char '{}' in expression", op));
                text_.remove_prefix(1);
                skip();
            }
            const std::uint64_t right = GW_TRY(unary());
            if ((op == '/' || op == '%') && right == 0)
                return Error(Errc::InvalidArgument, "division by zero");
            value = apply(op, value, right);
        }
        return value;
    }

    static std::uint64_t apply(char op, std::uint64_t left, std::uint64_t right)
    {
        switch (op) {
        case '*':
            return left * right;
        case '/':
            return left / right;
        case '%':
            return left % right;
        case '<':
            return right < 64 ? left << right : 0;
        default:
            return right < 64 ? left >> right : 0;
        }
    }

    Result<std::uint64_t> unary()
    {
        skip();
        if (++depth_ > kMaxDepth)
            return Error(Errc::InvalidArgument, "expression is nested too deeply");
        Result<std::uint64_t> value = primary();
        --depth_;
        skip();
        return value;
    }

    Result<std::uint64_t> primary()
    {
        if (text_.empty())
            return Error(Errc::InvalidArgument, "unexpected end of expression");
        const char c = text_.front();
        if (c == '+' || c == '-' || c == '~') {
            text_.remove_prefix(1);
            const std::uint64_t value = GW_TRY(unary());
            return c == '+' ? value : c == '-' ? 0 - value : ~value;
        }
        if (c == '(') {
            text_.remove_prefix(1);
            const std::uint64_t value = GW_TRY(sum());
            if (!text_.starts_with(')'))
                return Error(Errc::InvalidArgument, "')' expected");
            text_.remove_prefix(1);
            return value;
        }
        if (c == '\'')
            return character();
        return c == '$' ? reg() : number();
    }

    Result<std::uint64_t> character()
    {
        if (text_.size() < 2)
            return Error(Errc::InvalidArgument, "character constant expected");
        if (text_.size() < 3 || text_[2] != '\'')
            return Error(Errc::InvalidArgument, "missing terminating ' character");
        const auto value = static_cast<unsigned char>(text_[1]);
        text_.remove_prefix(3);
        return value;
    }

    Result<std::uint64_t> reg()
    {
        text_.remove_prefix(1);
        std::size_t length = 0;
        while (length < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[length])) ||
                                         text_[length] == '_' || text_[length] == '.'))
            ++length;
        const auto value = registers_ ? registers_(text_.substr(0, length)) : std::nullopt;
        if (!value)
            return Error(Errc::InvalidArgument, "unknown register");
        text_.remove_prefix(length);
        return *value;
    }

    Result<std::uint64_t> number()
    {
        int base = 10;
        std::string_view digits = text_;
        if (digits.starts_with("0x") || digits.starts_with("0X")) {
            base = 16;
            digits.remove_prefix(2);
        } else if (digits.size() > 1 && digits[0] == '0' &&
                   std::isdigit(static_cast<unsigned char>(digits[1]))) {
            base = 8;
        }
        std::uint64_t value = 0;
        const auto [end, status] =
            std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
        if (status == std::errc::result_out_of_range)
            return Error(Errc::InvalidArgument, "number too large");
        if (status == std::errc()) {
            text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
            return value;
        }
        if (base == 16) {  // "0x" and no digit: C reads the zero and stops at the x
            text_.remove_prefix(1);
            return 0;
        }
        return Error(Errc::InvalidArgument,
                     fmt::format("invalid char '{}' in expression", text_.front()));
    }

    char take_any(std::string_view operators)
    {
        if (text_.empty() || !operators.contains(text_.front()))
            return '\0';
        const char op = text_.front();
        text_.remove_prefix(1);
        skip();
        return op;
    }

    void skip()
    {
        while (!text_.empty() && std::isspace(static_cast<unsigned char>(text_.front())))
            text_.remove_prefix(1);
    }

    std::string_view& text_;
    const RegisterLookup& registers_;
    unsigned depth_ = 0;
};

}  // namespace

Result<std::int64_t> take_expression(std::string_view& text, const RegisterLookup& registers)
{
    return static_cast<std::int64_t>(GW_TRY(Expression(text, registers).sum()));
}

}  // namespace godwit::monitor
