// SPDX-License-Identifier: LGPL-2.1-or-later
//
// raw-chain: how fast bytes travel when nothing but read() and write() touches them.
//
//   raw-chain chain BYTES BUFFER   the way that a vfio-user device's state takes in a move: a
//   process
//                                  that has it, a UNIX socket, a process, TCP over loopback, a
//                                  process, a UNIX socket, and a process that keeps it
//   raw-chain hop BYTES BUFFER     TCP over loopback alone, between two processes
//
// The first process sends from BYTES of memory and the last one fills as much, both populated
// before; those between have one buffer each. Prints the seconds from the first write to the last
// byte's arrival.
#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <netinet/in.h>
#include <span>
#include <string_view>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr int kSocketBuffer = 4 << 20;  // as large as the devices' and ours together

void need(bool good, const char* what)
{
    if (good)
        return;
    std::perror(what);
    std::_Exit(1);
}

/// Two ends; the others of a pair are closed by the end of a process.
struct Ends {
    int out = -1;
    int in = -1;
};

Ends unix_socket()
{
    int fds[2];
    need(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair");
    for (const int fd : fds) {
        ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
        ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof kSocketBuffer);
    }
    return {fds[0], fds[1]};
}

Ends tcp_socket()
{
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    need(::bind(listener, any, size) == 0 && ::listen(listener, 1) == 0, "listen");
    need(::getsockname(listener, any, &size) == 0, "getsockname");
    Ends ends{.out = ::socket(AF_INET, SOCK_STREAM, 0)};
    need(::connect(ends.out, any, size) == 0, "connect");
    ends.in = ::accept(listener, nullptr, nullptr);
    need(ends.in >= 0, "accept");
    ::close(listener);
    return ends;
}

std::span<char> memory(std::size_t bytes)
{
    void* const place =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(place != MAP_FAILED, "mmap");
    std::memset(place, 1, bytes);
    return {static_cast<char*>(place), bytes};
}

void put(int fd, std::span<const char> bytes)
{
    while (!bytes.empty()) {
        const ssize_t n = ::write(fd, bytes.data(), bytes.size());
        need(n > 0, "write");
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
}

std::size_t get(int fd, std::span<char> bytes)
{
    const ssize_t n = ::read(fd, bytes.data(), bytes.size());
    need(n > 0, "read");
    return static_cast<std::size_t>(n);
}

template <class F>
void process(F work)
{
    const pid_t child = ::fork();
    need(child >= 0, "fork");
    if (child != 0)
        return;
    work();
    std::_Exit(0);
}

void relay(int in, int out, std::size_t bytes, std::size_t buffer_bytes)
{
    const std::span<char> buffer = memory(buffer_bytes);
    for (std::size_t done = 0; done < bytes;) {
        const std::size_t n = get(in, buffer);
        put(out, buffer.first(n));
        done += n;
    }
}

double seconds(bool chain, std::size_t bytes, std::size_t buffer)
{
    const Ends control = unix_socket();
    const Ends first = chain ? unix_socket() : tcp_socket();
    const Ends middle = chain ? tcp_socket() : Ends{};
    const Ends last = chain ? unix_socket() : first;
    process([&] {
        const std::span<char> state = memory(bytes);
        char go = 'r';
        put(control.in, {&go, 1});
        get(control.in, {&go, 1});
        for (std::size_t at = 0; at < bytes; at += buffer)
            put(first.out, state.subspan(at, std::min(buffer, bytes - at)));
    });
    if (chain) {
        process([&] { relay(first.in, middle.out, bytes, buffer); });
        process([&] { relay(middle.in, last.out, bytes, buffer); });
    }
    process([&] {
        const std::span<char> state = memory(bytes);
        char ready = 'r';
        put(control.in, {&ready, 1});
        for (std::size_t at = 0; at < bytes;)
            at += get(last.in, state.subspan(at, std::min(buffer, bytes - at)));
        put(last.in, {&ready, 1});
    });
    char byte = 0;
    for (int ready = 0; ready < 2; ++ready)
        get(control.out, {&byte, 1});
    const auto began = std::chrono::steady_clock::now();
    put(control.out, {&byte, 1});
    get(last.out, {&byte, 1});
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    while (::wait(nullptr) > 0) {
    }
    return took.count();
}

}  // namespace

int main(int argc, char** argv)
{
    const std::string_view way = argc == 4 ? argv[1] : "";
    const std::size_t bytes = argc == 4 ? std::strtoull(argv[2], nullptr, 0) : 0;
    const std::size_t buffer = argc == 4 ? std::strtoull(argv[3], nullptr, 0) : 0;
    if ((way != "chain" && way != "hop") || bytes == 0 || buffer == 0) {
        std::fprintf(stderr, "usage: raw-chain chain|hop BYTES BUFFER\n");
        return 2;
    }
    std::printf("%.6f\n", seconds(way == "chain", bytes, buffer));
    return 0;
}
