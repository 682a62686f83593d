// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The qtest server: lines from a chardev, their answers, and the log of both.
#pragma once

#include "monitor/qtest_commands.h"
#include "system/chardev.h"
#include "util/unique_fd.h"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace godwit::monitor {

/// Where the traffic is written to, line by line: "[R +0.001234] readb 0x10", "[S +0.001240] OK
/// ...".
class QtestLog {
public:
    QtestLog() = default;  ///< silent
    /// `fd` is borrowed, or owned by `owner`.
    QtestLog(int fd, UniqueFd owner) : fd_(fd), owner_(std::move(owner)) {}
    /// "none" and "/dev/null" are silent; any other file is created or emptied.
    static Result<QtestLog> open(const std::string& path);

    bool on() const noexcept { return fd_ >= 0; }
    /// `mark` is R (received), S (sent) or I (information).
    void line(char mark, std::string_view text) noexcept;

private:
    int fd_ = -1;
    UniqueFd owner_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Serves one client of the qtest protocol on a chardev.
///
/// Threads  main loop, machine lock.
/// Errors   a line longer than kMaxLine is answered with "ERR line too long" and skipped.
class QtestServer : public std::enable_shared_from_this<QtestServer> {
public:
    static constexpr std::size_t kMaxLine = std::size_t{130} << 20;  // a write of 64 MiB fits

    QtestServer(system::Vm& vm, system::Chardev& chardev, QtestLog log,
                QtestCommands::LoadModule load_module);
    ~QtestServer();
    Result<void> start();
    void stop();

private:
    std::size_t can_receive();
    void receive(std::string_view bytes);
    void serve();
    void answer(std::string_view line);
    void send(std::string_view line);
    void wait_for_output();

    system::Vm& vm_;
    system::Chardev& chardev_;
    QtestLog log_;
    QtestCommands commands_;
    std::string input_;
    std::size_t served_ = 0;   // bytes of input_ that are done with
    std::size_t scanned_ = 0;  // bytes of input_ without a newline
    bool skipping_ = false;    // inside a line that is too long
    bool attached_ = false;
    bool held_ = false;
    bool waiting_ = false;
};

}  // namespace godwit::monitor
