// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/qtest/libqtest/growing_file.h"

#include "tests/qtest/libqtest/temp_dir.h"

#include <algorithm>
#include <poll.h>

namespace godwit::qtest {

std::string GrowingFile::rest() const
{
    const std::string all = read_file(path_);
    return all.substr(std::min(taken_, all.size()));
}

void GrowingFile::skip()
{
    taken_ += rest().size();
}

std::optional<std::string> GrowingFile::until(std::string_view text, const Deadline& deadline)
{
    while (true) {
        std::string found = rest();
        if (const auto at = found.find(text); at != std::string::npos) {
            found.resize(at + text.size());
            taken_ += found.size();
            return found;
        }
        if (deadline.passed())
            return std::nullopt;
        // A file cannot be polled for.
        ::poll(nullptr, 0, 5);
    }
}

}  // namespace godwit::qtest
