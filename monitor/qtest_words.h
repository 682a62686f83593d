// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One line of the qtest protocol: a command and its words, with strict numbers.
#pragma once

#include "util/result.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace godwit::monitor {

/// The words of a line.
///
/// Shape    separated by blanks; more than one between two words makes no empty word.
/// Errors   InvalidArgument, naming the command and the argument.
class QtestWords {
public:
    /// `line` without its newline; a '\r' before that is dropped. Views into `line`.
    explicit QtestWords(std::string_view line);

    /// "" for an empty line.
    std::string_view command() const noexcept { return words_.empty() ? "" : words_[0]; }
    /// Arguments behind the command.
    std::size_t count() const noexcept { return words_.empty() ? 0 : words_.size() - 1; }

    /// Argument `index`, from 0.
    Result<std::string_view> word(std::size_t index) const;
    /// As C does it: 0x hexadecimal, 0 octal, otherwise decimal; a minus is taken modulo 2^64.
    Result<std::uint64_t> number(std::size_t index) const;
    Result<std::int64_t> signed_number(std::size_t index) const;

private:
    Error bad(std::size_t index, std::string_view what) const;

    std::vector<std::string_view> words_;
};

}  // namespace godwit::monitor
