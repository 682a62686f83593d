// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/read_file.h"

#include "util/unique_fd.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace godwit {

Result<std::string> read_small_file(const std::string& path, std::size_t limit)
{
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd)
        return Error::from_errno(path);
    std::string content;
    std::array<char, 4096> buffer;
    for (;;) {
        const ssize_t length = ::read(fd.get(), buffer.data(), buffer.size());
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return Error::from_errno(path);
        if (length == 0)
            return content;
        content.append(buffer.data(), static_cast<std::size_t>(length));
        if (content.size() > limit)
            return Error(Errc::InvalidArgument,
                         fmt::format("{}: larger than {} bytes", path, limit));
    }
}

}  // namespace godwit
