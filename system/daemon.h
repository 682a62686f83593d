// SPDX-License-Identifier: LGPL-2.1-or-later
//
// -daemonize and -pidfile.
#pragma once

#include "util/result.h"
#include "util/unique_fd.h"

#include <string>

namespace godwit::system {

/// The child's half of -daemonize: tells the waiting parent how start-up went.
///
/// Life     start() forks; in the child it returns, in the parent it never does: the parent waits
/// and exits with
///          0 once up() was called, with 1 when the child ended before (its messages are already on
///          stderr).
/// Threads  before any other thread is started; up() from the main thread.
class Daemon {
public:
    /// Not a daemon: up() does nothing.
    Daemon() noexcept = default;
    static Result<Daemon> start();

    /// Start-up is complete: leaves the terminal (standard streams go to /dev/null) and lets the
    /// parent exit.
    Result<void> up();

private:
    explicit Daemon(UniqueFd parent) noexcept : parent_(std::move(parent)) {}
    UniqueFd parent_;
};

/// A locked file with our process id; removed when this object goes.
///
/// Errors   Busy, naming the file, when another process holds it.
class PidFile {
public:
    PidFile() noexcept = default;
    static Result<PidFile> create(const std::string& path);
    PidFile(PidFile&& other) noexcept = default;
    PidFile& operator=(PidFile&& other) noexcept = default;
    ~PidFile();

private:
    PidFile(std::string path, UniqueFd fd) noexcept : path_(std::move(path)), fd_(std::move(fd)) {}
    std::string path_;
    UniqueFd fd_;
};

}  // namespace godwit::system
