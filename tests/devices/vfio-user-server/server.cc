// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/server.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace godwit::vfio_user_server {
namespace {

constexpr std::int64_t kMillisecond = 1000000;
constexpr int kWorkPeriodMs = 1;
constexpr std::size_t kMaxControls = 16;

/// A socket may stand where ours is to be, left behind by a server that ended badly; nothing else.
Result<void> may_replace(const std::string& path)
{
    struct stat found{};
    if (::lstat(path.c_str(), &found) == 0 && !S_ISSOCK(found.st_mode))
        return Error(Errc::InvalidArgument, fmt::format("{}: is not a socket", path));
    return {};
}

Result<UniqueFd> watch_signals()
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (::sigprocmask(SIG_BLOCK, &set, nullptr) < 0)
        return Error::from_errno("sigprocmask");
    UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC));
    if (!fd)
        return Error::from_errno("signalfd");
    return fd;
}

}  // namespace

Server::Server(ServerOptions options, std::unique_ptr<Device> device)
    : options_(std::move(options)), device_(std::move(device)),
      migration_(*device_, faults_, options_.migration)
{
    for (const Fault& fault : options_.faults)
        faults_.add(fault);
}

Server::~Server()
{
    session_.reset();
    for (const SocketName& name : names_) {
        struct stat found{};
        if (::lstat(name.path.c_str(), &found) == 0 && found.st_dev == name.device &&
            found.st_ino == name.inode)
            ::unlink(name.path.c_str());
    }
}

Result<std::unique_ptr<Server>> Server::create(ServerOptions options)
{
    auto device = GW_TRY(Device::create(options.device));
    std::unique_ptr<Server> server(new Server(std::move(options), std::move(device)));
    GW_TRY(server->listen());
    return server;
}

/// Whoever sees the socket may connect: it gets its name when it listens.
Result<UniqueFd> Server::listen_at(const std::string& path)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string unnamed = path + "~";
    if (path.empty() || unnamed.size() >= sizeof address.sun_path)
        return Error(Errc::InvalidArgument, fmt::format("{}: a socket's path has 1 to {} bytes",
                                                        path, sizeof address.sun_path - 2));
    GW_TRY(may_replace(path));
    GW_TRY(may_replace(unnamed));
    std::memcpy(address.sun_path, unnamed.c_str(), unnamed.size() + 1);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd)
        return Error::from_errno("socket");
    ::unlink(unnamed.c_str());
    struct stat made{};
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
        ::listen(fd.get(), 8) < 0 || ::lstat(unnamed.c_str(), &made) < 0 ||
        ::rename(unnamed.c_str(), path.c_str()) < 0)
        return Error::from_errno(path);
    names_.push_back({.path = path, .device = made.st_dev, .inode = made.st_ino});
    return fd;
}

Result<void> Server::listen()
{
    signals_ = GW_TRY(watch_signals());
    if (!options_.control_path.empty())
        control_listener_ = GW_TRY(listen_at(options_.control_path));
    listener_ = GW_TRY(listen_at(options_.socket_path));
    return {};
}

/// While the device has work to do it is looked at every millisecond.
int Server::poll_timeout_ms() const
{
    if (session_ && session_->walking()) {
        const std::int64_t left = migration_.wake_ns() - now_ns();
        return static_cast<int>(std::clamp<std::int64_t>(left / kMillisecond, 0, kWorkPeriodMs));
    }
    return device_->has_work() && runs(migration_.state()) ? kWorkPeriodMs : -1;
}

Result<void> Server::run()
{
    while (!quit_) {
        std::vector<pollfd> fds{
            {signals_.get(), POLLIN, 0},
            {session_ ? -1 : listener_.get(), POLLIN, 0},
            {controls_.size() < kMaxControls ? control_listener_.get() : -1, POLLIN, 0},
            {session_ ? session_->fd() : -1,
             static_cast<short>(session_ && session_->listens() ? POLLIN : 0), 0}};
        for (const auto& control : controls_)
            fds.push_back({control->fd(), POLLIN, 0});
        if (::poll(fds.data(), fds.size(), poll_timeout_ms()) < 0 && errno != EINTR)
            return Error::from_errno("poll");
        migration_.advance(now_ns());
        if (fds[0].revents != 0)
            break;
        if (fds[3].revents != 0 || (session_ && session_->walking()))
            serve_session(fds[3].revents);
        for (std::size_t i = 4; i < fds.size(); ++i)
            if (fds[i].revents != 0)
                if (auto& control = controls_[i - 4]; !control->receive())
                    control.reset();
        std::erase(controls_, nullptr);
        serve_controls();
        if (fds[1].revents != 0)
            accept_client();
        if (fds[2].revents != 0)
            if (UniqueFd fd(::accept4(control_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)); fd)
                controls_.push_back(std::make_unique<ControlClient>(std::move(fd)));
    }
    return {};
}

void Server::accept_client()
{
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd)
        return;
    session_ = std::make_unique<Session>(std::move(fd), *device_, migration_, faults_,
                                         options_.protocol, counters_);
    session_end_.clear();
}

void Server::serve_session(short events)
{
    Result<void> served;
    if (session_->walking())
        served = session_->continue_walk();
    else if ((events & POLLIN) != 0)
        served = session_->handle();
    if (served && (events & (POLLHUP | POLLERR)) != 0 && (events & POLLIN) == 0)
        served = Error(Errc::Closed, "the client closed the connection");
    if (!served)
        end_session(served.error());
}

void Server::end_session(const Error& why)
{
    session_end_ = why.message();
    if (why.code() != Errc::Closed)
        std::fprintf(stderr, "vfio-user-server: %s\n", why.message().c_str());
    session_.reset();
    quit_ |= options_.once;
}

void Server::serve_controls()
{
    for (auto& control : controls_)
        if (!control->run([this](const Json& request) { return execute(request); }))
            control.reset();
    std::erase(controls_, nullptr);
}

}  // namespace godwit::vfio_user_server
