// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/qtest/libqtest/stream.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace godwit::qtest {

Listener::Listener(std::string path) : path_(std::move(path))
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.size() >= sizeof address.sun_path) {
        ADD_FAILURE() << path_ << " is too long for a socket";
        return;
    }
    std::memcpy(address.sun_path, path_.data(), path_.size());
    fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::unlink(path_.c_str());
    if (::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
        ::listen(fd_.get(), 1) < 0)
        ADD_FAILURE() << "cannot listen on " << path_ << ": " << std::strerror(errno);
}

UniqueFd Listener::take()
{
    return UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

bool Stream::send(std::string_view text)
{
    while (!text.empty()) {
        const ssize_t n = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

bool Stream::send_with_fds(std::string_view text, std::span<const int> fds)
{
    constexpr std::size_t kMax = 16;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(kMax * sizeof(int))> control{};
    if (fds.size() > kMax || text.empty())
        return false;
    iovec bytes{const_cast<char*>(text.data()), text.size()};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(fds.size_bytes());
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
    }
    const ssize_t n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    return n > 0 && send(text.substr(static_cast<std::size_t>(n)));
}

std::optional<std::string> Stream::line(const Deadline& deadline)
{
    while (true) {
        if (const auto at = input_.find('\n', scanned_); at != std::string::npos) {
            std::string out = input_.substr(0, at);
            input_.erase(0, at + 1);
            scanned_ = 0;
            if (out.ends_with('\r'))
                out.pop_back();
            return out;
        }
        scanned_ = input_.size();
        if (!more(deadline))
            return std::nullopt;
    }
}

/// Reads what comes; false at the end of the stream or of the deadline.
bool Stream::more(const Deadline& deadline)
{
    if (!fd_ || ended_ || !wait_readable(fd_.get(), deadline))
        return false;
    std::array<char, 65536> buffer;
    const ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (n > 0)
        input_.append(buffer.data(), static_cast<std::size_t>(n));
    else if (n == 0 || errno != EINTR)
        ended_ = true;
    return true;
}

}  // namespace godwit::qtest
