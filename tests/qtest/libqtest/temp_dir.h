// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A directory of one's own that goes with its owner.
#pragma once

#include <string>
#include <string_view>

namespace godwit::qtest {

/// Short paths, so that sockets fit in it.
class TempDir {
public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    const std::string& path() const noexcept { return path_; }
    /// A path in it; nothing is created.
    std::string file(std::string_view name) const;
    /// Writes a file and returns its path.
    std::string write(std::string_view name, std::string_view content) const;

private:
    std::string path_;
};

/// The whole file; "" if there is none.
std::string read_file(const std::string& path);

}  // namespace godwit::qtest
