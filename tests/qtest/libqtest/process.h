// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The program under test as a child process.
#pragma once

#include "tests/qtest/libqtest/deadline.h"

#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace godwit::qtest {

/// How a process ended.
struct ExitStatus {
    std::optional<int> code;  ///< it exited by itself
    int signal = 0;           ///< it was killed
    bool operator==(const ExitStatus&) const = default;
};
std::string to_string(const ExitStatus& status);

/// A child with its stdout and stderr in files. Killed hard when it goes out of scope alive, or
/// when the thread that started it ends.
class Process {
public:
    struct Options {
        std::vector<std::string> argv;
        std::string stderr_file;
        std::string stdout_file;               ///< "" = /dev/null
        std::vector<int> keep_fds;             ///< inherited under the same numbers
        std::vector<std::string> environment;  ///< "NAME=value", besides ours
    };
    explicit Process(Options options);
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    pid_t pid() const noexcept { return pid_; }
    /// Nothing while it runs.
    std::optional<ExitStatus> poll();
    /// Waits for its end; nothing (and a test failure) when the deadline passed.
    std::optional<ExitStatus> wait(Deadline deadline = Deadline());
    void kill(int signal);
    std::string stderr_text() const;
    std::string stdout_text() const;
    const std::vector<std::string>& argv() const noexcept { return options_.argv; }

private:
    Options options_;
    pid_t pid_ = -1;
    std::optional<ExitStatus> ended_;
};

/// The program under test: $QTEST_QEMU_BINARY, $GODWIT_BINARY, else what the build made.
std::string binary();
/// The real QEMU to compare with; "" if there is none.
std::string reference_qemu();

/// Runs a program to its end.
struct RunResult {
    ExitStatus status;
    std::string out;
    std::string err;
};
RunResult run_to_end(std::vector<std::string> argv);

}  // namespace godwit::qtest
