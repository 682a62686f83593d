// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/control.h"

#include <array>
#include <cerrno>
#include <sys/socket.h>

namespace godwit::vfio_user_server {

Json returned(Json value)
{
    return Json{{"return", std::move(value)}};
}

Json refused(std::string_view why)
{
    return Json{{"error", why}};
}

Result<void> ControlClient::receive()
{
    std::array<char, 4096> piece;
    const ssize_t n = ::recv(fd_.get(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (n == 0)
        return Error(Errc::Closed, "control connection closed");
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? Result<void>() : Error::from_errno("control");
    input_.append(piece.data(), static_cast<std::size_t>(n));
    if (input_.size() > kMaxLine)
        return Error(Errc::BadFormat, "a control line is too long");
    return {};
}

Result<void> ControlClient::answer(const Json& json)
{
    const std::string line = dump_json(json) + "\n";
    std::string_view rest = line;
    while (!rest.empty()) {
        const ssize_t n = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return Error::from_errno("control");
        rest.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
}

Result<void> ControlClient::run(const Execute& execute)
{
    for (;;) {
        if (!waiting_) {
            const std::size_t end = input_.find('\n');
            if (end == std::string::npos)
                return {};
            auto request = parse_json(std::string_view(input_).substr(0, end));
            input_.erase(0, end + 1);
            if (!request || !request->is_object()) {
                GW_TRY(answer(refused("the line is no JSON object")));
                continue;
            }
            waiting_ = std::move(*request);
        }
        const std::optional<Json> result = execute(*waiting_);
        if (!result)
            return {};
        waiting_.reset();
        GW_TRY(answer(*result));
    }
}

}  // namespace godwit::vfio_user_server
