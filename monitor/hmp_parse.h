// SPDX-License-Identifier: LGPL-2.1-or-later
//
// From a line of the human monitor to a command and its arguments.
#pragma once

#include "system/hmp.h"
#include "util/result.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::monitor {

/// The value of "$name" in an expression; nothing if there is no such register.
using RegisterLookup = std::function<std::optional<std::uint64_t>(std::string_view name)>;

/// Reads an expression of C operators (+ - * / % & | ^ ~ << >> and brackets), numbers and
/// registers at the start of `text` and takes it away. Arithmetic is modulo 2^64.
///
/// Errors   InvalidArgument: "unexpected end of expression", "invalid char 'f' in expression",
///          "division by zero", "unknown register".
Result<std::int64_t> take_expression(std::string_view& text, const RegisterLookup& registers);

/// Reads one word, which may stand in double quotes with \n \r \\ \' \" in it, and takes it away.
/// Nothing if there is none.
/// Errors   InvalidArgument: "unterminated string", "unsupported escape code: '\x'".
Result<std::optional<std::string>> take_word(std::string_view& text);

/// A line that was understood.
struct HmpLine {
    const system::HmpCommand* command = nullptr;
    system::HmpArgs args;
};

/// Finds the command and reads its arguments.
///
/// @return  a null command for an empty line
/// Errors   the text to print, lines end in LF: "unknown command: 'x'",
///          "migrate: string expected\nTry \"help migrate\" for more information"
Result<HmpLine> parse_hmp_line(const system::HmpTable& table, std::string_view line,
                               const RegisterLookup& registers);

/// One entry of HmpCommand::args: "size:o?".
struct HmpParam {
    std::string_view name;
    char type = 's';  ///< '-' for a flag
    char flag = 0;    ///< its letter
    bool flag_takes_word = false;
    bool optional = false;
};
std::vector<HmpParam> hmp_params(std::string_view args);

}  // namespace godwit::monitor
