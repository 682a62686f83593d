// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/json_writer.h"

#include "util/json.h"
#include "util/utf8.h"

#include <cmath>
#include <fmt/format.h>
#include <iterator>

namespace godwit::monitor {

namespace {

class Writer {
public:
    Writer(std::string& out, bool pretty) : out_(out), pretty_(pretty) {}

    void value(const Json& json)
    {
        switch (json.type()) {
        case Json::value_t::object:
            return object(*json.get_ptr<const Json::object_t*>());
        case Json::value_t::array:
            return array(*json.get_ptr<const Json::array_t*>());
        case Json::value_t::string:
            return string(*json.get_ptr<const Json::string_t*>());
        case Json::value_t::boolean:
            out_ += *json.get_ptr<const bool*>() ? "true" : "false";
            return;
        case Json::value_t::number_integer:
            return print(*json.get_ptr<const Json::number_integer_t*>());
        case Json::value_t::number_unsigned:
            return print(*json.get_ptr<const Json::number_unsigned_t*>());
        case Json::value_t::number_float:
            return number(*json.get_ptr<const Json::number_float_t*>());
        default:
            out_ += "null";
        }
    }

private:
    template <class T>
    void print(T number)
    {
        fmt::format_to(std::back_inserter(out_), "{}", number);
    }

    void number(double number)
    {
        if (std::isfinite(number))
            print(number);
        else
            out_ += "null";
    }

    void object(const Json::object_t& members)
    {
        open('{');
        for (auto it = members.begin(); it != members.end(); ++it) {
            separate(it == members.begin());
            string(it->first);
            out_ += ": ";
            value(it->second);
        }
        close('}', members.empty());
    }

    void array(const Json::array_t& items)
    {
        open('[');
        for (auto it = items.begin(); it != items.end(); ++it) {
            separate(it == items.begin());
            value(*it);
        }
        close(']', items.empty());
    }

    void open(char bracket)
    {
        out_ += bracket;
        ++level_;
    }

    void separate(bool first)
    {
        if (!first)
            out_ += pretty_ ? "," : ", ";
        if (pretty_)
            new_line();
    }

    void close(char bracket, bool empty)
    {
        --level_;
        if (pretty_ && !empty)
            new_line();
        out_ += bracket;
    }

    void new_line()
    {
        out_ += '\n';
        out_.append(level_ * 4, ' ');
    }

    void string(std::string_view text)
    {
        out_ += '"';
        while (!text.empty()) {
            const std::size_t plain = plain_length(text);
            out_ += text.substr(0, plain);
            text.remove_prefix(plain);
            if (!text.empty())
                text.remove_prefix(special(text));
        }
        out_ += '"';
    }

    static std::size_t plain_length(std::string_view text)
    {
        std::size_t length = 0;
        while (length < text.size()) {
            const auto byte = static_cast<unsigned char>(text[length]);
            if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\')
                break;
            ++length;
        }
        return length;
    }

    /// Writes the character at the start of `text` and answers how many bytes it has.
    std::size_t special(std::string_view text)
    {
        static constexpr std::string_view kValues = "\"\\\b\f\n\r\t";
        static constexpr std::string_view kNames = "\"\\bfnrt";
        if (const auto which = kValues.find(text[0]); which != std::string_view::npos) {
            out_ += '\\';
            out_ += kNames[which];
            return 1;
        }
        const std::size_t length = utf8_sequence(text);
        if (length == 0) {
            out_ += "\\uFFFD";
            return 1;
        }
        const std::uint32_t code = decode_utf8(text.substr(0, length));
        auto to = std::back_inserter(out_);
        if (code < 0x10000)
            fmt::format_to(to, "\\u{:04X}", code);
        else
            fmt::format_to(to, "\\u{:04X}\\u{:04X}", 0xd800 + ((code - 0x10000) >> 10),
                           0xdc00 + ((code - 0x10000) & 0x3ff));
        return length;
    }

    std::string& out_;
    bool pretty_;
    std::size_t level_ = 0;
};

}  // namespace

void write_json(std::string& out, const Json& value, bool pretty)
{
    Writer(out, pretty).value(value);
}

}  // namespace godwit::monitor
