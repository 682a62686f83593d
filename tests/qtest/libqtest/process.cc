// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/qtest/libqtest/process.h"

#include "tests/qtest/libqtest/temp_dir.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace godwit::qtest {

namespace {

/// In the child, between fork and exec: only calls that are safe there.
[[noreturn]] void become(char* const* argv, char* const* environment, const char* out,
                         const char* err, const std::vector<int>& keep)
{
    // A test that is killed takes its programs with it.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int in_fd = ::open("/dev/null", O_RDONLY);
    const int out_fd = ::open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err_fd = ::open(err, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    ::dup2(in_fd, 0);
    ::dup2(out_fd, 1);
    ::dup2(err_fd, 2);
    for (const int fd : keep)
        ::fcntl(fd, F_SETFD, 0);
    ::signal(SIGPIPE, SIG_DFL);
    ::execvpe(argv[0], argv, environment);
    static constexpr char kText[] = "cannot execute the program under test\n";
    [[maybe_unused]] const auto n = ::write(2, kText, sizeof kText - 1);
    ::_exit(127);
}

std::vector<char*> pointers(const std::vector<std::string>& texts)
{
    std::vector<char*> out;
    for (const std::string& text : texts)
        out.push_back(const_cast<char*>(text.c_str()));
    out.push_back(nullptr);
    return out;
}

}  // namespace

std::string to_string(const ExitStatus& status)
{
    return status.code ? "exit status " + std::to_string(*status.code)
                       : "signal " + std::to_string(status.signal);
}

Process::Process(Options options) : options_(std::move(options))
{
    const auto argv = pointers(options_.argv);
    std::vector<std::string> all;
    for (char** entry = environ; *entry; ++entry)
        all.emplace_back(*entry);
    all.insert(all.end(), options_.environment.begin(), options_.environment.end());
    const auto environment = pointers(all);
    const std::string out = options_.stdout_file.empty() ? "/dev/null" : options_.stdout_file;
    pid_ = ::fork();
    if (pid_ == 0)
        become(argv.data(), environment.data(), out.c_str(), options_.stderr_file.c_str(),
               options_.keep_fds);
    if (pid_ < 0)
        ADD_FAILURE() << "fork failed";
}

Process::~Process()
{
    if (pid_ > 0 && !ended_) {
        ::kill(pid_, SIGKILL);
        int status = 0;
        ::waitpid(pid_, &status, 0);
    }
}

std::optional<ExitStatus> Process::poll()
{
    int status = 0;
    if (!ended_ && pid_ > 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) {
        ended_ = WIFEXITED(status) ? ExitStatus{.code = WEXITSTATUS(status)}
                                   : ExitStatus{.code = {}, .signal = WTERMSIG(status)};
    }
    return ended_;
}

std::optional<ExitStatus> Process::wait(Deadline deadline)
{
    const int handle = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
    if (!ended_ && handle >= 0)
        wait_readable(handle, deadline);
    if (handle >= 0)
        ::close(handle);
    if (!poll())
        ADD_FAILURE() << options_.argv.at(0) << " did not end in time; stderr:\n" << stderr_text();
    return ended_;
}

void Process::kill(int signal)
{
    if (pid_ > 0 && !poll())
        ::kill(pid_, signal);
}

std::string Process::stderr_text() const
{
    return read_file(options_.stderr_file);
}

std::string Process::stdout_text() const
{
    return read_file(options_.stdout_file);
}

std::string binary()
{
    for (const char* name : {"QTEST_QEMU_BINARY", "GODWIT_BINARY"})
        if (const char* value = std::getenv(name); value && *value)
            return value;
    return "./godwit-system-x86_64";
}

std::string reference_qemu()
{
    if (const char* value = std::getenv("GODWIT_REFERENCE_QEMU"))
        return value;
    const std::string usual = "/usr/bin/qemu-system-x86_64";
    return ::access(usual.c_str(), X_OK) == 0 ? usual : "";
}

RunResult run_to_end(std::vector<std::string> argv)
{
    const TempDir dir;
    Process process(
        {.argv = std::move(argv), .stderr_file = dir.file("err"), .stdout_file = dir.file("out")});
    const auto status = process.wait();
    return {.status = status.value_or(ExitStatus{}),
            .out = process.stdout_text(),
            .err = process.stderr_text()};
}

}  // namespace godwit::qtest
