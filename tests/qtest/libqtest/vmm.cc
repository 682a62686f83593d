// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/qtest/libqtest/vmm.h"

#include "util/json.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <iostream>
#include <unistd.h>

namespace godwit::qtest {

Vmm::Vmm(std::vector<std::string> args, Options options) : options_(std::move(options))
{
    if (options_.qmp)
        qmp_listener_ = std::make_unique<Listener>(dir_.file("qmp"));
    if (options_.qtest)
        qtest_listener_ = std::make_unique<Listener>(dir_.file("qtest"));
    process_ = std::make_unique<Process>(Process::Options{.argv = command_line(args),
                                                          .stderr_file = dir_.file("stderr"),
                                                          .stdout_file = dir_.file("stdout"),
                                                          .keep_fds = options_.keep_fds,
                                                          .environment = options_.environment});
    connect();
}

Vmm::~Vmm()
{
    if (!started_ || process_->poll())
        return;
    if (::testing::Test::HasFailure() && qmp_.open() && options_.program.empty())
        std::cerr << "The last events: "
                  << dump_json_pretty(qmp_.reply_to("x-query-trace", {{"limit", 64}})) << '\n';
    if (const auto status = quit()) {
        EXPECT_EQ(status->code, 0) << to_string(*status) << story();
    }
}

std::vector<std::string> Vmm::command_line(const std::vector<std::string>& args) const
{
    std::vector<std::string> out = {options_.program.empty() ? binary() : options_.program};
    if (qtest_listener_)
        out.insert(out.end(),
                   {"-qtest", "unix:" + qtest_listener_->path(), "-qtest-log", "/dev/null"});
    if (qmp_listener_)
        out.insert(out.end(), {"-chardev", "socket,path=" + qmp_listener_->path() + ",id=char0",
                               "-mon", "chardev=char0,mode=control"});
    out.insert(out.end(), {"-display", "none"});
    if (!options_.defaults)
        out.emplace_back("-nodefaults");
    if (!options_.accel.empty() && std::ranges::find(args, "-accel") == args.end())
        out.insert(out.end(), {"-accel", options_.accel});
    out.insert(out.end(), args.begin(), args.end());
    return out;
}

void Vmm::connect()
{
    const Deadline deadline;
    const auto gone = [this] { return process_->poll().has_value(); };
    const auto story_of = [this] { return story(); };
    if (qtest_listener_)
        qtest_ = QtestClient(qtest_listener_->accept(deadline, gone));
    if (qmp_listener_)
        qmp_ = QmpClient(qmp_listener_->accept(deadline, gone));
    qtest_.set_story(story_of);
    qmp_.set_story(story_of);
    if ((qtest_listener_ && !qtest_.open()) || (qmp_listener_ && !qmp_.open())) {
        ADD_FAILURE() << "the program did not connect" << story();
        return;
    }
    started_ = true;
    if (qmp_listener_ && options_.negotiate)
        qmp_.handshake(options_.oob);
    if (qtest_listener_)
        qtest_.ok("endianness");
}

std::optional<ExitStatus> Vmm::quit()
{
    if (!process_->poll() && qmp_.open())
        qmp_.send("quit");
    else
        process_->kill(SIGTERM);
    return process_->wait();
}

void Vmm::wait_status(std::string_view status)
{
    const Deadline deadline;
    while (!deadline.passed()) {
        if (qmp_.execute("query-status")["status"] == status)
            return;
        qmp_.wait_activity(Deadline(std::chrono::milliseconds(100)));
    }
    ADD_FAILURE() << "the guest did not become " << status << story();
}

std::string Vmm::story() const
{
    std::string out = "\n  command:";
    for (const std::string& word : process_->argv())
        out += " " + word;
    if (const auto status = process_->poll())
        out += "\n  ended: " + to_string(*status);
    return out + "\n  stderr: " + process_->stderr_text();
}

namespace {

std::uint64_t mix(std::uint64_t value)
{
    value ^= value >> 33;
    value *= 0xff51afd7ed558ccdu;
    value ^= value >> 33;
    return value;
}

}  // namespace

std::vector<std::byte> pattern(std::uint64_t address, std::uint64_t length, std::uint64_t seed)
{
    std::vector<std::byte> out(length);
    for (std::uint64_t i = 0; i < length; ++i) {
        const std::uint64_t at = address + i;
        out[i] = static_cast<std::byte>(mix(seed + at / 8) >> (at % 8 * 8));
    }
    return out;
}

void fill_pattern(QtestClient& qtest, std::uint64_t address, std::uint64_t length,
                  std::uint64_t seed)
{
    qtest.write(address, pattern(address, length, seed));
}

void check_pattern(QtestClient& qtest, std::uint64_t address, std::uint64_t length,
                   std::uint64_t seed)
{
    const auto expected = pattern(address, length, seed);
    const auto found = qtest.read(address, length);
    const auto wrong = std::ranges::mismatch(expected, found);
    if (wrong.in1 != expected.end())
        ADD_FAILURE() << "guest memory differs at 0x" << std::hex
                      << address + static_cast<std::uint64_t>(wrong.in1 - expected.begin());
}

std::optional<std::string> kvm_missing()
{
    const int fd = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return std::string("/dev/kvm: ") + std::strerror(errno);
    ::close(fd);
    return std::nullopt;
}

}  // namespace godwit::qtest
