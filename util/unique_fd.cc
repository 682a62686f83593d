// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/unique_fd.h"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace godwit {

void UniqueFd::reset(int fd) noexcept
{
    const int old = std::exchange(fd_, fd < 0 ? -1 : fd);
    if (old < 0)
        return;
    const int saved = errno;
    ::close(old);  // never retried: Linux has released the number even on EINTR
    errno = saved;
}

Result<UniqueFd> UniqueFd::dup() const
{
    return dup_of(fd_);
}

Result<UniqueFd> UniqueFd::dup_of(int fd)
{
    UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy)
        return Error::from_errno("dup");
    return copy;
}

}  // namespace godwit
