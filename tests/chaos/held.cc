// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/chaos/held.h"

#include <arpa/inet.h>
#include <csignal>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace godwit::chaos {
namespace {

const std::vector<std::string> kGuest = {"-machine", "none",   "-m",
                                         "64M",      "-accel", "synth,working-set=32M"};

}  // namespace

BusyPort::BusyPort()
    : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      guest_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_.get(), any, size), 0);
    EXPECT_EQ(::listen(listener_.get(), 0), 0);
    EXPECT_EQ(::getsockname(listener_.get(), any, &size), 0);
    EXPECT_EQ(::connect(guest_.get(), any, size), 0);
    uri_ = fmt::format("tcp:127.0.0.1:{}", ::ntohs(address.sin_port));
}

std::unique_ptr<qtest::Vmm> Held::make_source(bool oob)
{
    qtest::Vmm::Options options = kOwnAccel;
    options.oob = oob;
    auto source = std::make_unique<qtest::Vmm>(kGuest, options);
    qtest::prepare(*source);
    return source;
}

Held::Held(const std::string& status, std::unique_ptr<qtest::Vmm> source)
    : source_(std::move(source))
{
    if (!source_)
        source_ = make_source();
    source_idle_ = idle_source(source_->process().pid());
    if (status == "setup") {
        source_->qmp().execute("migrate", {{"uri", port_.uri()}});
        qtest::wait_migration(*source_, "setup");
        return;
    }
    start();
    if (status == "active")
        source_->qmp().execute("migrate-set-parameters", {{"max-bandwidth", 1 << 16}});
    if (status == "pre-switchover" || status == "device")
        qtest::enable(*source_, {"pause-before-switchover"});
    source_->qmp().execute("migrate", {{"uri", relay_->uri()}});
    if (status == "device") {
        qtest::wait_migration(*source_, "pre-switchover");
        target_->process().kill(SIGSTOP);
        source_->qmp().execute("migrate-continue", {{"state", "pre-switchover"}});
    }
    qtest::wait_migration(*source_, status);
}

void Held::start()
{
    target_ = std::make_unique<qtest::Vmm>(incoming(kGuest), kOwnAccel);
    qtest::prepare(*target_);
    target_idle_ = belongings_of(target_->process().pid());
    target_idle_.descriptors += 1;  // that by which the attempt is cancelled stays with its error
    relay_ = std::make_unique<Relay>(Relay::Plan{});
    expect_at(*target_, relay_->target());
}

Held::~Held()
{
    if (!target_ || target_->process().poll())
        return;
    target_->process().kill(SIGKILL);
    target_->wait_exit();
}

void Held::kill_peer()
{
    if (!target_)
        return port_.close();
    target_->process().kill(SIGKILL);
    target_->wait_exit();
}

void Held::lose_peer()
{
    relay_->hold();
    target_->process().kill(SIGKILL);
    target_->wait_exit();
}

}  // namespace godwit::chaos
