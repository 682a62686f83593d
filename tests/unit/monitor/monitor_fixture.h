// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A real Vm with monitors on socket pairs, served turn by turn in the test's own thread.
#pragma once

#include "monitor/monitor.h"
#include "qapi/command_table.h"
#include "system/vm.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/log.h"
#include "util/unique_fd.h"

#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <memory>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace godwit::monitor {

/// The client's end of a socket pair whose other end is a monitor's chardev.
class Client {
public:
    Client(system::MainLoop& loop, UniqueFd fd) : loop_(loop), fd_(std::move(fd)) {}

    void send(std::string_view text)
    {
        while (!text.empty()) {
            const ssize_t n =
                ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n > 0)
                text.remove_prefix(static_cast<std::size_t>(n));
            else if (errno == EAGAIN)
                loop_.run_once(false);
            else
                FAIL() << "send: " << errno;
        }
    }

    void send_fd(std::string_view text, int fd)
    {
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
        iovec bytes{const_cast<char*>(text.data()), text.size()};
        msghdr message{};
        message.msg_iov = &bytes;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
        ASSERT_EQ(::sendmsg(fd_.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
    }

    /// Turns the loop until a whole line is there; "" after ten seconds or at the end.
    std::string line() { return until("\n"); }

    /// Everything up to and with `end`.
    std::string until(std::string_view end)
    {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (std::chrono::steady_clock::now() < deadline) {
            if (const auto at = input_.find(end); at != std::string::npos) {
                std::string out = input_.substr(0, at + end.size());
                input_.erase(0, at + end.size());
                return out;
            }
            loop_.run_once(false);
            char buffer[65536];
            const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
            if (n > 0) {
                input_.append(buffer, static_cast<std::size_t>(n));
            } else if (n == 0) {
                break;
            } else {
                pollfd waiting{fd_.get(), POLLIN, 0};
                ::poll(&waiting, 1, 1);
            }
        }
        ADD_FAILURE() << "nothing ends in '" << end << "', got: " << input_;
        return {};
    }

    /// A line that must come while nobody turns the main loop.
    std::string line_without_loop()
    {
        timeval patience{.tv_sec = 10, .tv_usec = 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        while (input_.find('\n') == std::string::npos) {
            char buffer[4096];
            const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
            if (n <= 0)
                break;
            input_.append(buffer, static_cast<std::size_t>(n));
        }
        const auto at = input_.find('\n');
        EXPECT_NE(at, std::string::npos);
        std::string out = input_.substr(0, at + 1);
        input_.erase(0, at + 1);
        return out;
    }

    Json json()
    {
        const std::string text = line();
        auto value = parse_json(text);
        EXPECT_TRUE(value) << text;
        return value ? *value : Json();
    }

    void close() { fd_.reset(); }
    const std::string& buffered() const { return input_; }

private:
    system::MainLoop& loop_;
    UniqueFd fd_;
    std::string input_;
};

class MonitorFixture : public ::testing::Test {
protected:
    void SetUp() override
    {
        auto made = system::Vm::create(log_, recorder_);
        ASSERT_TRUE(made) << made.error().message();
        vm_ = std::move(*made);
        table_.add({.name = "test-add"},
                   [](const Json& args, qapi::CommandContext&) -> Result<Json> {
                       return Json(args.value("a", 0) + args.value("b", 0));
                   });
        table_.add({.name = "test-oob", .allow_oob = true},
                   [](const Json&, qapi::CommandContext&) -> Result<Json> { return Json("oob"); });
        monitors_ = std::make_unique<MonitorSet>(*vm_, table_);
        monitors_->register_commands();
    }
    void TearDown() override
    {
        system::MachineGuardIfNeeded guard(vm_->lock());
        monitors_.reset();
    }

    /// "fd:N" of one end of a new socket pair; the other end becomes the client.
    std::pair<std::string, Client> connection()
    {
        int ends[2];
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        return {fmt::format("fd:{}", ends[1]), Client(vm_->loop(), UniqueFd(ends[0]))};
    }

    Client qmp(bool negotiate = true)
    {
        auto [device, client] = connection();
        system::MachineGuardIfNeeded guard(vm_->lock());
        auto added = monitors_->add_qmp(device, false);
        EXPECT_TRUE(added) << added.error().message();
        if (negotiate) {
            EXPECT_TRUE(client.json().contains("QMP"));
            client.send(R"({"execute":"qmp_capabilities"})");
            EXPECT_EQ(client.line(), "{\"return\": {}}\r\n");
        }
        return std::move(client);
    }

    Client hmp()
    {
        auto [device, client] = connection();
        system::MachineGuardIfNeeded guard(vm_->lock());
        auto added = monitors_->add_hmp(device);
        EXPECT_TRUE(added) << added.error().message();
        return std::move(client);
    }

    Client qtest()
    {
        auto [device, client] = connection();
        system::MachineGuardIfNeeded guard(vm_->lock());
        EXPECT_TRUE(monitors_->set_qtest_log("none"));
        auto added = monitors_->add_qtest(device);
        EXPECT_TRUE(added) << added.error().message();
        return std::move(client);
    }

    Log log_;
    FlightRecorder recorder_{64};
    qapi::CommandTable table_;
    std::unique_ptr<system::Vm> vm_;
    std::unique_ptr<MonitorSet> monitors_;
};

}  // namespace godwit::monitor
