// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A whole move over a link that is slower than its two ends: the guest does not stand still while
// pages that were sent before wait in our queue.
#include "io/listener.h"
#include "io/socket.h"
#include "tests/unit/migration/test_machine.h"

#include <algorithm>
#include <chrono>
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <thread>
#include <vector>

namespace godwit::migration {
namespace {

constexpr std::uint64_t kRam = 16 << 20;
constexpr std::uint64_t kBytesPerSecond = 40 << 20;
constexpr int kReceiveBuffer = 64 << 10;
// Far above what such a link holds, far below what a socket queues.
constexpr int kShort = 512 << 10;

/// What one socket has, goes to one end of a memory channel at kBytesPerSecond, and back as it
/// comes.
class SlowLink {
public:
    SlowLink(io::ChannelPtr near, io::ChannelPtr far)
        : near_(std::move(near)), far_(std::move(far)), there_([this] { carry(); }),
          back_([this] { pass(*far_, *near_); })
    {}
    ~SlowLink()
    {
        there_.join();
        back_.join();
    }

private:
    void carry()
    {
        using namespace std::chrono;
        std::vector<std::byte> piece(32 << 10);
        auto free_at = steady_clock::now();
        for (;;) {
            const auto got = near_->read_some(piece);
            if (!got || *got == 0)
                break;
            // The wire is busy with it for so long.
            free_at = std::max(free_at, steady_clock::now()) +
                      nanoseconds(*got * 1'000'000'000 / kBytesPerSecond);
            std::this_thread::sleep_until(free_at);
            if (!far_->write_all(std::span(piece).first(*got)))
                break;
        }
        (void)far_->shutdown(io::Shutdown::Write);
    }
    static void pass(io::Channel& from, io::Channel& to)
    {
        std::vector<std::byte> piece(4096);
        for (;;) {
            const auto got = from.read_some(piece);
            if (!got || *got == 0 || !to.write_all(std::span(piece).first(*got)))
                break;
        }
        (void)to.shutdown(io::Shutdown::Write);
    }

    io::ChannelPtr near_;
    io::ChannelPtr far_;
    std::thread there_;
    std::thread back_;
};

TEST(Drain, TheQueueIsShortWhenTheGuestStops)
{
    TestMachine a(kRam);
    TestMachine b(kRam);
    std::memset(a.ram->host(), 0x5a, kRam);
    for (std::uint64_t page = 0; page < kRam / system::kPageSize; ++page)
        a.write(page, page + 1);
    a.set({.max_bandwidth = 0});

    const auto listener =
        io::Listener::create(io::InetAddress{.host = "127.0.0.1", .port = "0"}).value();
    ASSERT_EQ(::setsockopt(listener->poll_fds()[0], SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer,
                           sizeof kReceiveBuffer),
              0);
    auto source = io::connect_socket(listener->addresses()[0]).value();
    const int fd = source->fd();
    auto [left, right] = io::make_memory_channels(32 << 10).value();
    SlowLink link(listener->accept().value(), std::move(left));

    // The last look at the dirty log comes right behind the stop, before the last pages are sent.
    std::atomic<int> waiting{-1};
    std::atomic<int> most{0};
    a.dirty.on_sync = [&](bool last) {
        int bytes = 0;
        ASSERT_EQ(::ioctl(fd, SIOCOUTQ, &bytes), 0);
        most = std::max(most.load(), bytes);
        if (last)
            waiting = bytes;
    };
    a.start_guest();
    ASSERT_TRUE(b.expect_from(std::move(right)));
    ASSERT_TRUE(a.migrate_to(std::move(source)));
    EXPECT_EQ(a.wait_for_end(), Status::Completed) << a.error();
    EXPECT_EQ(b.wait_for_end(), Status::Completed) << b.error();
    EXPECT_GE(waiting, 0);
    EXPECT_LT(waiting, kShort);
    EXPECT_EQ(b.word(kRam / system::kPageSize - 1), kRam / system::kPageSize);
    RecordProperty("most", most);
    RecordProperty("at the stop", waiting);
}

}  // namespace
}  // namespace godwit::migration
