// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/tcp.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace godwit::io {

std::optional<std::uint64_t> tcp_pipe_bytes(int fd) noexcept
{
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return std::nullopt;
    constexpr std::uint64_t kUs = 1'000'000;
    constexpr std::uint64_t kMost = std::uint64_t{1} << 40;  // bytes a second
    const std::uint64_t rate = info.tcpi_delivery_rate < kMost ? info.tcpi_delivery_rate : kMost;
    // Until there is a sample the kernel says "for ever".
    return info.tcpi_min_rtt < 60 * kUs ? rate * info.tcpi_min_rtt / kUs : 0;
}

}  // namespace godwit::io
