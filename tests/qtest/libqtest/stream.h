// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A socket with lines: what the QMP and the qtest client share.
#pragma once

#include "tests/qtest/libqtest/deadline.h"
#include "util/unique_fd.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace godwit::qtest {

/// A listening UNIX socket for one connection.
class Listener {
public:
    explicit Listener(std::string path);
    const std::string& path() const noexcept { return path_; }
    /// Waits for the program to connect; empty when the deadline passed or `gone(): true`.
    template <class Gone>
    UniqueFd accept(const Deadline& deadline, Gone gone)
    {
        while (!deadline.passed() && !gone()) {
            if (wait_readable(fd_.get(), Deadline(std::chrono::milliseconds(50))))
                return take();
        }
        return UniqueFd();
    }

private:
    UniqueFd take();
    std::string path_;
    UniqueFd fd_;
};

class Stream {
public:
    Stream() = default;
    explicit Stream(UniqueFd fd) : fd_(std::move(fd)) {}

    int fd() const noexcept { return fd_.get(); }
    bool open() const noexcept { return static_cast<bool>(fd_); }
    void close() { fd_.reset(); }
    /// False when the peer is gone.
    bool send(std::string_view text);
    /// The same with descriptors beside the first byte.
    bool send_with_fds(std::string_view text, std::span<const int> fds);
    /// Without its newline; nothing at the end of the stream or of the deadline.
    std::optional<std::string> line(const Deadline& deadline = Deadline());
    /// The end of the stream was seen.
    bool ended() const noexcept { return ended_; }

private:
    bool more(const Deadline& deadline);

    UniqueFd fd_;
    std::string input_;
    std::size_t scanned_ = 0;
    bool ended_ = false;
};

}  // namespace godwit::qtest
