// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/signals.h"

#include "system/vm.h"
#include "util/log.h"
#include "util/unique_fd.h"

#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace godwit::system {

namespace {

sigset_t our_signals() noexcept
{
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGHUP})
        sigaddset(&set, number);
    return set;
}

std::string command_of(std::uint32_t pid)
{
    const UniqueFd fd(::open(fmt::format("/proc/{}/cmdline", pid).c_str(), O_RDONLY | O_CLOEXEC));
    std::string name(256, '\0');
    const ssize_t length = fd ? ::read(fd.get(), name.data(), name.size()) : 0;
    name.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
    name.resize(std::min(name.find('\0'), name.size()));
    return name;
}

void report(Vm& vm, const signalfd_siginfo& info)
{
    std::string text = fmt::format("terminating on signal {}", info.ssi_signo);
    if (info.ssi_pid != 0) {
        const std::string command = command_of(info.ssi_pid);
        text += fmt::format(" from pid {} ({})", info.ssi_pid,
                            command.empty() ? "<unknown process>" : command);
    }
    vm.log().error(text);
}

}  // namespace

void hold_signals() noexcept
{
    const sigset_t set = our_signals();
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
}

Result<Registration> watch_signals(Vm& vm)
{
    const sigset_t set = our_signals();
    auto fd = std::make_shared<UniqueFd>(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!*fd)
        return Error::from_errno("signalfd");
    const int number = fd->get();
    return vm.loop().watch(number, POLLIN, [&vm, fd](unsigned) {
        signalfd_siginfo info{};
        while (::read(fd->get(), &info, sizeof info) == sizeof info) {
            report(vm, info);
            vm.request_shutdown(ShutdownCause::HostSignal);
        }
    });
}

}  // namespace godwit::system
