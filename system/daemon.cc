// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace godwit::system {

namespace {

/// The parent's whole remaining life: one byte means up, end of file means that the child is gone.
[[noreturn]] void wait_for_child(int from_child)
{
    char byte = 0;
    ssize_t length;
    do
        length = ::read(from_child, &byte, 1);
    while (length < 0 && errno == EINTR);
    ::_exit(length == 1 ? 0 : 1);
}

}  // namespace

Result<Daemon> Daemon::start()
{
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0)
        return Error::from_errno("-daemonize: pipe");
    UniqueFd from_child(ends[0]);
    UniqueFd to_parent(ends[1]);
    const pid_t child = ::fork();
    if (child < 0)
        return Error::from_errno("-daemonize: fork");
    if (child > 0) {
        to_parent.reset();
        wait_for_child(from_child.get());
    }
    if (::setsid() < 0)
        return Error::from_errno("-daemonize: setsid");
    // A session leader could get a terminal again by opening one; its child cannot.
    const pid_t grandchild = ::fork();
    if (grandchild < 0)
        return Error::from_errno("-daemonize: fork");
    if (grandchild > 0)
        ::_exit(0);
    ::umask(027);
    return Daemon(std::move(to_parent));
}

Result<void> Daemon::up()
{
    if (!parent_)
        return ok();
    if (::chdir("/") < 0)
        return Error::from_errno("-daemonize: /");
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null)
        return Error::from_errno("-daemonize: /dev/null");
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::dup2(null.get(), stream) < 0)
            return Error::from_errno("-daemonize: dup2");
    ssize_t length;
    do
        length = ::write(parent_.get(), "+", 1);
    while (length < 0 && errno == EINTR);
    parent_.reset();
    return ok();
}

Result<PidFile> PidFile::create(const std::string& path)
{
    for (;;) {
        UniqueFd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        if (!fd)
            return Error::from_errno(fmt::format("cannot create PID file {}", path));
        struct flock lock{};
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        if (::fcntl(fd.get(), F_SETLK, &lock) < 0)
            return Error(Errc::Busy,
                         fmt::format("cannot create PID file {}: another process holds it", path),
                         errno);
        // Its last holder may have removed it between our open and our lock: then it is nobody's
        // file.
        struct stat held{};
        struct stat named{};
        if (::fstat(fd.get(), &held) < 0)
            return Error::from_errno(fmt::format("cannot create PID file {}", path));
        if (::stat(path.c_str(), &named) < 0 || named.st_ino != held.st_ino ||
            named.st_dev != held.st_dev)
            continue;
        const std::string text = fmt::format("{}\n", ::getpid());
        if (::ftruncate(fd.get(), 0) < 0 ||
            ::pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
            return Error::from_errno(fmt::format("cannot write PID file {}", path));
        std::string absolute = path;
        if (char* resolved = ::realpath(path.c_str(), nullptr)) {
            absolute = resolved;
            ::free(resolved);
        }
        return PidFile(std::move(absolute), std::move(fd));
    }
}

PidFile::~PidFile()
{
    if (fd_)
        ::unlink(path_.c_str());
}

}  // namespace godwit::system
