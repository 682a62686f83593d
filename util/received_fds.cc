// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/received_fds.h"

#include <cstddef>
#include <cstring>

namespace godwit {

std::vector<UniqueFd> received_fds(const msghdr& message)
{
    std::vector<UniqueFd> fds;
    auto* const whole = const_cast<msghdr*>(&message);  // CMSG_NXTHDR() only reads
    for (const cmsghdr* c = CMSG_FIRSTHDR(whole); c != nullptr;
         c = CMSG_NXTHDR(whole, const_cast<cmsghdr*>(c))) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            fds.emplace_back(fd);
        }
    }
    return fds;
}

}  // namespace godwit
