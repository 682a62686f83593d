// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/exec_channel.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace godwit::io {

namespace {

// What the child is to be started with; undone by the destructor.
class SpawnPlan {
public:
    SpawnPlan() noexcept
    {
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawnattr_init(&attributes);
        sigset_t all;
        ::sigfillset(&all);
        sigset_t none;
        ::sigemptyset(&none);
        ::posix_spawnattr_setsigdefault(&attributes, &all);
        ::posix_spawnattr_setsigmask(&attributes, &none);
        ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    }
    SpawnPlan(const SpawnPlan&) = delete;
    SpawnPlan& operator=(const SpawnPlan&) = delete;
    ~SpawnPlan()
    {
        ::posix_spawn_file_actions_destroy(&actions);
        ::posix_spawnattr_destroy(&attributes);
    }
    // The child's `target` becomes `fd`, or /dev/null if there is none.
    void redirect(int fd, int target) noexcept
    {
        if (fd >= 0)
            ::posix_spawn_file_actions_adddup2(&actions, fd, target);
        else
            ::posix_spawn_file_actions_addopen(&actions, target, "/dev/null", O_RDWR, 0);
    }

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
};

struct PipeEnds {
    UniqueFd read;
    UniqueFd write;
};

// Above the standard descriptors, so that redirecting one of them cannot overwrite another's
// source.
Result<UniqueFd> lift(int fd)
{
    const UniqueFd low(fd);
    UniqueFd high(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!high)
        return Error::from_errno("dup");
    return high;
}

Result<PipeEnds> pipe_ends()
{
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) < 0)
        return Error::from_errno("pipe");
    auto read = lift(fds[0]);
    auto write = lift(fds[1]);
    return PipeEnds
    {
        GW_TRY(std::move(read))
        , GW_TRY(std::move(write))
    };
}

Result<void> verdict(int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return ok();
    if (WIFEXITED(status))
        return Error(Errc::Io, fmt::format("exited with status {}", WEXITSTATUS(status)));
    const int signal = WTERMSIG(status);
    return Error(Errc::Io, fmt::format("was terminated by signal {} ({})", signal,
                                       ::sigdescr_np(signal) ? ::sigdescr_np(signal) : "?"));
}

}  // namespace

ExecChannel::ExecChannel(UniqueFd read_end, UniqueFd write_end, std::string name, int pid,
                         UniqueFd pidfd)
    : PipeChannel(std::move(read_end), std::move(write_end), std::move(name)), pid_(pid),
      pidfd_(std::move(pidfd))
{}

Result<std::unique_ptr<ExecChannel>> ExecChannel::start(const std::vector<std::string>& args,
                                                        Mode mode)
{
    if (args.empty())
        return Error(Errc::InvalidArgument, "exec: no command");
    const std::string name = fmt::format("exec '{}'", args.back());
    PipeEnds from_child;
    PipeEnds to_child;
    if (mode != Mode::Write)
        from_child = GW_TRY(pipe_ends());
    if (mode != Mode::Read)
        to_child = GW_TRY(pipe_ends());
    SpawnPlan plan;
    plan.redirect(to_child.read.get(), STDIN_FILENO);
    plan.redirect(from_child.write.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_addclosefrom_np(&plan.actions, 3);
    std::vector<char*> argv;
    argv.reserve(args.size() + 1);
    for (const std::string& arg : args)
        argv.push_back(const_cast<char*>(arg.c_str()));
    argv.push_back(nullptr);
    pid_t pid = -1;
    const int failed =
        ::posix_spawnp(&pid, argv[0], &plan.actions, &plan.attributes, argv.data(), environ);
    if (failed != 0)
        return Error::from_errno(name, failed);
    // A kernel without pidfds costs the deadline of close(), nothing else.
    UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    std::unique_ptr<ExecChannel> channel(new ExecChannel(
        std::move(from_child.read), std::move(to_child.write), name, pid, std::move(pidfd)));
    GW_TRY(channel->make_ready());
    return channel;
}

ExecChannel::~ExecChannel()
{
    close_ends();
    kill_and_reap();
}

void ExecChannel::kill_and_reap() noexcept
{
    if (pid_ <= 0)
        return;
    ::kill(pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
}

Result<void> ExecChannel::close()
{
    close_ends();
    if (pid_ <= 0)
        return ok();
    if (pidfd_) {
        auto left = wait_for_fd(pidfd_.get(), POLLIN, patience());
        if (!left) {
            kill_and_reap();
            return std::move(left).error().context(describe());
        }
    }
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0)
        if (errno != EINTR) {
            pid_ = -1;
            return Error::from_errno("waitpid").context(describe());
        }
    pid_ = -1;
    return with_context(verdict(status), describe());
}

}  // namespace godwit::io
