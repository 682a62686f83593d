// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/error.h"

#include "util/excerpt.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace godwit {

std::string_view errc_name(Errc code) noexcept
{
    switch (code) {
    case Errc::InvalidArgument:
        return "InvalidArgument";
    case Errc::NotFound:
        return "NotFound";
    case Errc::Exists:
        return "Exists";
    case Errc::BadState:
        return "BadState";
    case Errc::Busy:
        return "Busy";
    case Errc::Unsupported:
        return "Unsupported";
    case Errc::PermissionDenied:
        return "PermissionDenied";
    case Errc::OutOfMemory:
        return "OutOfMemory";
    case Errc::Io:
        return "Io";
    case Errc::Closed:
        return "Closed";
    case Errc::Truncated:
        return "Truncated";
    case Errc::Cancelled:
        return "Cancelled";
    case Errc::TimedOut:
        return "TimedOut";
    case Errc::BadFormat:
        return "BadFormat";
    case Errc::CommandNotFound:
        return "CommandNotFound";
    case Errc::DeviceNotFound:
        return "DeviceNotFound";
    case Errc::DeviceNotActive:
        return "DeviceNotActive";
    case Errc::Internal:
        return "Internal";
    }
    return "Unknown";
}

namespace {

Errc code_of(int os_errno) noexcept
{
    switch (os_errno) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return Errc::NotFound;
    case EEXIST:
        return Errc::Exists;
    case EACCES:
    case EPERM:
        return Errc::PermissionDenied;
    case ENOMEM:
        return Errc::OutOfMemory;
    case EBUSY:
    case EADDRINUSE:
        return Errc::Busy;
    case EINVAL:
        return Errc::InvalidArgument;
    case ENOSYS:
    case EOPNOTSUPP:
        return Errc::Unsupported;
    case ECANCELED:
        return Errc::Cancelled;
    case ETIMEDOUT:
        return Errc::TimedOut;
    default:
        return Errc::Io;
    }
}

/// What was typed or sent may stand in a message; its line ends may not.
void make_one_line(std::string& message)
{
    const auto control = [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7f;
    };
    if (std::ranges::any_of(message, control))
        message = excerpt(message, message.size());
}

}  // namespace

Error::Error(Errc code, std::string message, int os_errno)
    : code_(code), os_errno_(os_errno), message_(std::move(message))
{
    make_one_line(message_);
}

Error Error::from_errno(std::string_view what)
{
    return from_errno(what, errno);
}

Error Error::from_errno(std::string_view what, int os_errno)
{
    std::string text(what);
    text += ": ";
    text += std::generic_category().message(os_errno);
    return Error(code_of(os_errno), std::move(text), os_errno);
}

Error&& Error::context(std::string_view where) &&
{
    message_.insert(0, ": ");
    message_.insert(0, where);
    make_one_line(message_);
    return std::move(*this);
}

Error&& Error::with_hint(std::string hint) &&
{
    hint_ = std::move(hint);
    return std::move(*this);
}

Error&& Error::with_code(Errc code) &&
{
    code_ = code;
    return std::move(*this);
}

}  // namespace godwit
