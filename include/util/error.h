// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What can go wrong because of the operator, the peer, the guest or the disk.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace godwit {

/// The code is for programs, the message for people.
///
/// The three names that QMP knows as error classes besides GenericError are here as well, so that a
/// command body can choose its class: CommandNotFound, DeviceNotFound, DeviceNotActive.
enum class Errc {
    InvalidArgument,  ///< the caller's words are wrong: option, argument, property, range
    NotFound,         ///< the named thing does not exist
    Exists,           ///< the named thing exists already
    BadState,         ///< legal, but not now
    Busy,             ///< somebody else holds it
    Unsupported,      ///< known, but this build, host or device cannot do it
    PermissionDenied,
    OutOfMemory,
    Io,         ///< the operating system said no; os_errno() tells why
    Closed,     ///< the peer closed in good order, or the channel was shut down
    Truncated,  ///< the peer closed in the middle of something
    Cancelled,  ///< somebody on our side asked to stop
    TimedOut,
    BadFormat,  ///< what arrived does not follow its format
    CommandNotFound,
    DeviceNotFound,
    DeviceNotActive,
    Internal,  ///< our own inconsistency that is not worth an abort
};

/// "BadState", for logs and tests.
std::string_view errc_name(Errc code) noexcept;

/// A failure with its story: a code, an optional errno, a one-line message, an optional hint.
///
/// Shape    a message is one line: control characters in it, from whatever text it repeats, are
///          shown as \x0a.
/// Errors   is one. Each layer adds one context(); whoever stops the error logs it, once.
/// Threads  a value; no sharing.
class [[nodiscard]] Error {
public:
    Error(Errc code, std::string message, int os_errno = 0);

    /// Takes errno: "what: No such file or directory". The code follows from errno.
    static Error from_errno(std::string_view what);
    /// The same for an errno that was returned rather than stored (positive).
    static Error from_errno(std::string_view what, int os_errno);

    Errc code() const noexcept { return code_; }
    int os_errno() const noexcept { return os_errno_; }
    const std::string& message() const noexcept { return message_; }
    /// A second sentence with advice for a person; printed on its own line, never part of
    /// message().
    const std::string& hint() const noexcept { return hint_; }

    /// "where: message".
    Error&& context(std::string_view where) &&;
    Error&& with_hint(std::string hint) &&;
    Error&& with_code(Errc code) &&;

    /// Lets a function that returns a Result<T> say `return Error(...)`.
    template <class T>
    operator std::expected<T, Error>() &&
    {
        return std::unexpected<Error>(std::move(*this));
    }
    template <class T>
    operator std::expected<T, Error>() const&
    {
        return std::unexpected<Error>(*this);
    }

private:
    Errc code_;
    int os_errno_ = 0;
    std::string message_;
    std::string hint_;
};

}  // namespace godwit
