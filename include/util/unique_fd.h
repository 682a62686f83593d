// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The owner of a file descriptor.
#pragma once

#include "util/result.h"

#include <utility>

namespace godwit {

/// Owns one file descriptor or none, and closes it.
///
/// Threads  a value; no sharing. The descriptor itself may be used by any thread while it is owned.
class UniqueFd {
public:
    UniqueFd() noexcept = default;
    /// Takes `fd` over; a negative one is none.
    explicit UniqueFd(int fd) noexcept : fd_(fd < 0 ? -1 : fd) {}
    UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
    UniqueFd& operator=(UniqueFd&& other) noexcept
    {
        if (this != &other)
            reset(other.release());
        return *this;
    }
    UniqueFd(const UniqueFd&) = delete;
    UniqueFd& operator=(const UniqueFd&) = delete;
    ~UniqueFd() { reset(); }

    /// Borrowed; -1 if none.
    int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }

    /// Hands the descriptor to the caller, who closes it.
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
    /// Closes what is owned and takes `fd` over. errno is kept.
    void reset(int fd = -1) noexcept;

    /// A second descriptor for the same open file, closed on exec.
    Result<UniqueFd> dup() const;
    static Result<UniqueFd> dup_of(int fd);

private:
    int fd_ = -1;
};

}  // namespace godwit
