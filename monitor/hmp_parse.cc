// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/hmp_parse.h"

#include "util/size.h"

#include <algorithm>
#include <cctype>
#include <fmt/format.h>
#include <limits>
#include <span>

namespace godwit::monitor {

namespace {

using system::HmpArgs;
using system::HmpCommand;

Error bad(std::string text)
{
    return Error(Errc::InvalidArgument, std::move(text));
}

bool is_space(char c)
{
    return std::isspace(static_cast<unsigned char>(c)) != 0;
}

void skip_space(std::string_view& text)
{
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
}

/// Everything up to the next white space.
std::string_view peek_word(std::string_view text)
{
    return text.substr(
        0, static_cast<std::size_t>(std::ranges::find_if(text, is_space) - text.begin()));
}

/// The name of a command ends at a blank, or where its format begins: "x/8xw".
std::string_view take_name(std::string_view& text)
{
    skip_space(text);
    const std::string_view name = text.substr(0, text.find_first_of("/ \t\r\n\v\f"));
    text.remove_prefix(name.size());
    return name;
}

std::string_view take_plain_word(std::string_view& text)
{
    skip_space(text);
    const std::string_view word = peek_word(text);
    text.remove_prefix(word.size());
    return word;
}

std::optional<std::string> optional_string(std::string_view text)
{
    return std::string(text);
}

/// The last number of "/8xw": what was not said is empty.
struct Format {
    std::int64_t count = 1;
    std::optional<char> format;
    std::optional<char> size;
};

Result<Format> take_format(std::string_view& text)
{
    Format out;
    skip_space(text);
    if (!text.starts_with('/'))
        return out;
    text.remove_prefix(1);
    if (!text.empty() && std::isdigit(static_cast<unsigned char>(text.front()))) {
        out.count = 0;
        while (!text.empty() && std::isdigit(static_cast<unsigned char>(text.front()))) {
            out.count = std::min<std::int64_t>(out.count * 10 + (text.front() - '0'), 1 << 24);
            text.remove_prefix(1);
        }
    }
    while (!text.empty() && !is_space(text.front())) {
        const char c = text.front();
        if (std::string_view("oduxic").contains(c))
            out.format = c;
        else if (std::string_view("bhwg").contains(c))
            out.size = c;
        else
            return bad(fmt::format("invalid char in format: '{}'", c));
        text.remove_prefix(1);
    }
    return out;
}

class ArgReader {
public:
    ArgReader(const HmpCommand& command, std::string_view text, const RegisterLookup& registers)
        : command_(command), text_(text), registers_(registers)
    {}

    Result<HmpArgs> read()
    {
        const auto params = hmp_params(command_.args);
        for (auto it = params.begin(); it != params.end(); ++it) {
            if (it->type == '-') {
                const auto first = it;
                while (it + 1 != params.end() && (it + 1)->type == '-')
                    ++it;
                GW_TRY(flags({first, it + 1}));
            } else {
                GW_TRY(one(*it));
            }
        }
        skip_space(text_);
        if (!text_.empty())
            return named("extraneous characters at the end of line");
        return std::move(args_);
    }

private:
    Error named(std::string_view what) const
    {
        return bad(fmt::format("{}: {}", command_.name, what));
    }

    /// Flags that stand next to each other in the declaration may come in any order.
    Result<void> flags(std::span<const HmpParam> known)
    {
        while (true) {
            skip_space(text_);
            if (!text_.starts_with('-') || text_.size() < 2 || is_space(text_[1]))
                return {};
            const std::string_view word = peek_word(text_);
            for (const char letter : word.substr(1)) {
                const auto param = std::ranges::find(known, letter, &HmpParam::flag);
                if (param == known.end()) {
                    // "-5" may be a number for what follows.
                    if (std::isdigit(static_cast<unsigned char>(letter)))
                        return {};
                    return named(fmt::format("unsupported option -{}", letter));
                }
                if (!param->flag_takes_word)
                    args_.set(std::string(param->name), true);
            }
            const char last = word.back();
            text_.remove_prefix(word.size());
            const auto param = std::ranges::find(known, last, &HmpParam::flag);
            if (param != known.end() && param->flag_takes_word)
                GW_TRY(word_into(*param));
        }
    }

    Result<void> word_into(const HmpParam& param)
    {
        auto word = take_word(text_);
        if (!word)
            return bad(word.error().message());
        if (*word)
            args_.set(std::string(param.name), std::move(**word));
        else if (!param.optional)
            return named(param.type == 'F'   ? "filename expected"
                         : param.type == 'B' ? "block device name expected"
                                             : "string expected");
        return {};
    }

    Result<void> one(const HmpParam& param)
    {
        switch (param.type) {
        case 'F':
        case 'B':
        case 's':
            return word_into(param);
        case 'S':
            return rest(param);
        case 'O':
            return options(param);
        case '/':
            return format(param);
        case 'i':
        case 'l':
        case 'M':
            return number(param);
        case 'o':
            return size(param);
        case 'b':
            return on_off(param);
        case '=':
            return own_name(param);
        default:
            return named(fmt::format("unknown argument type '{}'", param.type));
        }
    }

    Result<void> rest(const HmpParam& param)
    {
        skip_space(text_);
        while (!text_.empty() && is_space(text_.back()))
            text_.remove_suffix(1);
        if (text_.empty() && !param.optional)
            return named("string expected");
        if (!text_.empty())
            args_.set(std::string(param.name), std::string(text_));
        text_ = {};
        return {};
    }

    /// An option list is one word, missing or not: its reader says what is missing in it.
    Result<void> options(const HmpParam& param)
    {
        auto word = take_word(text_);
        if (!word)
            return bad(word.error().message());
        args_.set(std::string(param.name), word->value_or(std::string()));
        return {};
    }

    Result<void> format(const HmpParam&)
    {
        const Format got = GW_TRY(take_format(text_));
        args_.set("count", got.count);
        if (got.format)
            args_.set("format", std::string(1, *got.format));
        if (got.size)
            args_.set("size", std::string(1, *got.size));
        return {};
    }

    Result<void> number(const HmpParam& param)
    {
        skip_space(text_);
        if (param.optional && text_.empty())
            return {};
        std::int64_t value = GW_TRY(take_expression(text_, registers_));
        constexpr std::int64_t kMax32 = std::numeric_limits<std::uint32_t>::max();
        if (param.type == 'i' && (value > kMax32 || value < -kMax32 / 2 - 1))
            return bad("integer is for 32-bit values");
        if (param.type == 'M') {
            if (value < 0)
                return bad("enter a positive value");
            if (value > (std::numeric_limits<std::int64_t>::max() >> 20))
                return named("value is too large");
            value <<= 20;
        }
        args_.set(std::string(param.name), value);
        return {};
    }

    Result<void> size(const HmpParam& param)
    {
        const std::string_view word = take_plain_word(text_);
        if (word.empty() && param.optional)
            return {};
        const auto bytes = parse_size(word, 1 << 20);
        if (!bytes || *bytes > std::numeric_limits<std::int64_t>::max())
            return bad("invalid size");
        args_.set(std::string(param.name), static_cast<std::int64_t>(*bytes));
        return {};
    }

    Result<void> on_off(const HmpParam& param)
    {
        const std::string_view word = take_plain_word(text_);
        if (word.empty() && param.optional)
            return {};
        if (word != "on" && word != "off")
            return bad("Expected 'on' or 'off'");
        args_.set(std::string(param.name), word == "on");
        return {};
    }

    /// Another word is left for what follows.
    Result<void> own_name(const HmpParam& param)
    {
        skip_space(text_);
        if (peek_word(text_) == param.name) {
            (void)take_plain_word(text_);
            args_.set(std::string(param.name), true);
        }
        return {};
    }

    const HmpCommand& command_;
    std::string_view text_;
    const RegisterLookup& registers_;
    HmpArgs args_;
};

}  // namespace

Result<std::optional<std::string>> take_word(std::string_view& text)
{
    skip_space(text);
    if (text.empty())
        return std::optional<std::string>();
    if (text.front() != '"')
        return optional_string(take_plain_word(text));
    text.remove_prefix(1);
    std::string out;
    while (!text.empty() && text.front() != '"') {
        char c = text.front();
        text.remove_prefix(1);
        if (c == '\\') {
            const char escape = text.empty() ? '\0' : text.front();
            static constexpr std::string_view kNames = "nr\\'\"";
            static constexpr std::string_view kValues = "\n\r\\'\"";
            const auto which = kNames.find(escape);
            if (text.empty())
                break;
            if (which == std::string_view::npos)
                return bad(fmt::format("unsupported escape code: '\\{}'", escape));
            c = kValues[which];
            text.remove_prefix(1);
        }
        out += c;
    }
    if (text.empty())
        return bad("unterminated string");
    text.remove_prefix(1);
    return std::optional<std::string>(std::move(out));
}

std::vector<HmpParam> hmp_params(std::string_view args)
{
    std::vector<HmpParam> out;
    while (!args.empty()) {
        const std::string_view item = args.substr(0, args.find(','));
        args.remove_prefix(std::min(args.size(), item.size() + 1));
        const auto colon = item.find(':');
        HmpParam param{.name = item.substr(0, colon)};
        const std::string_view type = item.substr(colon + 1);
        param.optional = type.ends_with('?');
        param.type = type.empty() ? 's' : type[0];
        if (param.type == '-') {
            param.flag = type.size() > 1 ? type[1] : '\0';
            param.flag_takes_word = type.size() > 2 && type[2] == 's';
        }
        out.push_back(param);
    }
    return out;
}

Result<HmpLine> parse_hmp_line(const system::HmpTable& table, std::string_view line,
                               const RegisterLookup& registers)
{
    const std::string_view name = take_name(line);
    if (name.empty() && line.empty())
        return HmpLine{};
    HmpLine out{.command = table.find(name), .args = {}};
    std::string called(name);
    if (!out.command)
        return bad(fmt::format("unknown command: '{}'", name));
    // "info" alone is a command of its own: it lists its topics.
    std::string_view after = line;
    const std::string_view topic = take_name(after);
    if (name == "info" && !topic.empty()) {
        called = fmt::format("info {}", topic);
        out.command = table.find_info(topic);
        line = after;
        if (!out.command)
            return bad(fmt::format("unknown command: '{}'", called));
    }
    auto args = ArgReader(*out.command, line, registers).read();
    if (!args)
        return bad(args.error().message())
            .with_hint(fmt::format("Try \"help {}\" for more information", called));
    out.args = std::move(*args);
    return out;
}

}  // namespace godwit::monitor
