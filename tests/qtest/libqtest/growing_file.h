// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A file that the program appends to: a serial port. A socket would be full after a few hundred
// single bytes that nobody reads at once, and guests that do not look at their UART lose the rest.
#pragma once

#include "tests/qtest/libqtest/deadline.h"

#include <optional>
#include <string>
#include <string_view>

namespace godwit::qtest {

class GrowingFile {
public:
    explicit GrowingFile(std::string path) : path_(std::move(path)) {}

    const std::string& path() const noexcept { return path_; }
    /// What comes next, up to and with `text`; nothing when it does not come.
    std::optional<std::string> until(std::string_view text, const Deadline& deadline = Deadline());
    /// What has come and was not taken.
    std::string rest() const;
    /// Takes all that has come.
    void skip();

private:
    std::string path_;
    std::size_t taken_ = 0;
};

}  // namespace godwit::qtest
