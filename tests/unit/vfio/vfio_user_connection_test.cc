// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/vfio_user_connection.h"
#include "hw/vfio/vfio_user_dma.h"
#include "tests/unit/vfio/user_server.h"
#include "util/event_fd.h"
#include "util/mapping.h"

#include <cerrno>
#include <gtest/gtest.h>

namespace godwit::hw::vfio::user {
namespace {

using namespace std::chrono_literals;
using ::testing::Test;

Result<Reply> get_info(Connection& c, DeviceInfo& into)
{
    return c.call({.command = Command::DeviceGetInfo,
                   .what = "DEVICE_GET_INFO",
                   .pieces = {},
                   .into_fixed = std::as_writable_bytes(std::span(&into, 1))});
}

TEST(VfioUserConnection, TakesWhatTheServerOffers)
{
    TestServer server;
    server.capabilities =
        R"({"capabilities":{"max_msg_fds":8,"max_data_xfer_size":32768,"pgsizes":12288}})";
    auto c = server.connect();
    ASSERT_TRUE(c) << c.error().message();
    EXPECT_EQ((*c)->agreement().max_msg_fds, 8u);
    EXPECT_EQ((*c)->agreement().max_data_xfer_size, 32768u);
    EXPECT_EQ((*c)->agreement().page_sizes, 12288u);
    EXPECT_EQ((*c)->agreement().max_dma_maps, 65535u);
}

TEST(VfioUserConnection, RefusesBadOffersNamingTheSocket)
{
    for (const char* bad :
         {R"({"capabilities":{"max_msg_fds":0}})", R"({"capabilities":{"max_msg_fds":"x"}})",
          R"({"capabilities":{"max_data_xfer_size":12}})", R"({"capabilities":{"pgsizes":4097}})",
          R"({"capabilities":7})", "[1]", "{",
          R"({"capabilities":{"twin_socket":{"supported":true,"fd_index":3}}})"}) {
        TestServer server;
        server.capabilities = bad;
        auto c = server.connect();
        ASSERT_FALSE(c) << bad;
        EXPECT_NE(c.error().message().find("VERSION: "), std::string::npos);
        EXPECT_NE(c.error().message().find("test.sock"), std::string::npos);
    }
}

TEST(VfioUserConnection, RefusesAnotherMajorVersion)
{
    TestServer server;
    server.on(Command::Version, [](TestServer& s, Message& m) {
        s.answer_version(m, "{}", {.major = 1, .minor = 0});
    });
    auto c = server.connect();
    ASSERT_FALSE(c);
    EXPECT_EQ(c.error().message(), "VERSION: the server speaks version 1.0, this client 0.2 "
                                   "(socket test.sock)");
}

TEST(VfioUserConnection, AnErrorOfTheServerIsTheErrno)
{
    TestServer server;
    server.on(Command::DeviceGetInfo, [](TestServer& s, Message& m) {
        // Some servers add a payload to it.
        s.answer(m, std::as_bytes(std::span("0123456789")), {}, ENOTTY);
    });
    auto c = server.connect().value();
    DeviceInfo info;
    for (int i = 0; i < 2; ++i) {
        auto answer = get_info(*c, info);
        ASSERT_FALSE(answer);
        EXPECT_EQ(answer.error().os_errno(), ENOTTY);
        EXPECT_EQ(answer.error().message(), "DEVICE_GET_INFO: the server refuses: Inappropriate "
                                            "ioctl for device (socket test.sock)");
    }
}

TEST(VfioUserConnection, AShortAnswerIsAnErrorAndTheNextRequestWorks)
{
    TestServer server;
    server.on(Command::DeviceGetInfo, [n = 0](TestServer& s, Message& m) mutable {
        const DeviceInfo info{.num_regions = 9};
        s.answer(m, std::as_bytes(std::span(&info, 1)).first(n++ == 0 ? 4 : sizeof info));
    });
    auto c = server.connect().value();
    DeviceInfo info;
    auto answer = get_info(*c, info);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code(), Errc::BadFormat);
    ASSERT_TRUE(get_info(*c, info));
    EXPECT_EQ(info.num_regions, 9u);
}

TEST(VfioUserConnection, NonsenseBreaksTheConnectionAndIsToldOnce)
{
    struct Case {
        const char* what;
        std::function<void(TestServer&, Message&)> act;
    };
    const std::vector<Case> cases{
        {"unknown id",
         [](TestServer& s, Message& m) {
             m.header.id = static_cast<std::uint16_t>(m.header.id + 9);
             s.answer(m);
         }},
        {"huge",
         [](TestServer& s, Message& m) {
             Header h = m.header;
             h.flags = kTypeReply;
             h.size = 0x7fffffff;
             s.send(h, {});
         }},
        {"less than a header",
         [](TestServer& s, Message& m) {
             Header h = m.header;
             h.flags = kTypeReply;
             h.size = 3;
             s.send(h, {});
         }},
        {"other command",
         [](TestServer& s, Message& m) {
             m.header.command = 2;
             s.answer_with(m, DeviceInfo{});
         }},
        {"unknown type",
         [](TestServer& s, Message& m) {
             Header h = m.header;
             h.flags = 7;
             h.size = sizeof h;
             s.send(h, {});
         }},
        {"half a message",
         [](TestServer& s, Message& m) {
             Header h = m.header;
             h.flags = kTypeReply;
             h.size = sizeof h + sizeof(DeviceInfo);
             s.send(h, {});
             s.close();
         }},
        {"closed", [](TestServer& s, Message&) { s.close(); }},
    };
    for (const Case& one : cases) {
        TestServer server;
        server.on(Command::DeviceGetInfo, one.act);
        std::atomic<int> told{0};
        EventFd heard = EventFd::create().value();
        auto c = server
                     .connect({.on_broken =
                                   [&](const Error&) {
                                       ++told;
                                       heard.signal();
                                   }})
                     .value();
        DeviceInfo info;
        auto answer = get_info(*c, info);
        ASSERT_FALSE(answer) << one.what;
        EXPECT_NE(answer.error().code(), Errc::TimedOut) << one.what;
        auto again = get_info(*c, info);
        ASSERT_FALSE(again) << one.what;
        EXPECT_TRUE(heard.wait(5000));
        EXPECT_TRUE(c->broken());
        c.reset();
        EXPECT_EQ(told, 1) << one.what;
    }
}

TEST(VfioUserConnection, AHangTimesOutOnceAndEndsWithTheNextWord)
{
    TestServer server;
    EventFd go = EventFd::create().value();
    server.on(Command::DeviceGetInfo, [&, n = 0](TestServer& s, Message& m) mutable {
        if (n++ == 0)
            go.wait(10000);
        s.answer_with(m, DeviceInfo{.num_irqs = static_cast<std::uint32_t>(n)});
    });
    auto c = server.connect({.patience = 30ms}).value();
    DeviceInfo info;
    auto answer = get_info(*c, info);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().message(),
              "DEVICE_GET_INFO: no answer within 30 ms (socket test.sock)");
    // Not another wait.
    answer = get_info(*c, info);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().message(), "DEVICE_GET_INFO: the server still does not answer "
                                        "DEVICE_GET_INFO (socket test.sock)");
    go.signal();
    // Somebody who has to know asks all the same, and gets his own answer.
    ASSERT_TRUE(c->call({.command = Command::DeviceGetInfo,
                         .what = "DEVICE_GET_INFO",
                         .pieces = {},
                         .into_fixed = std::as_writable_bytes(std::span(&info, 1)),
                         .patience = 5000ms,
                         .even_if_stalled = true}));
    EXPECT_EQ(info.num_irqs, 2u);
    EXPECT_TRUE(get_info(*c, info));
}

TEST(VfioUserConnection, ManyMayAskAtOnceAndGetTheirOwnAnswer)
{
    TestServer server;
    server.on(Command::RegionRead, [](TestServer& s, Message& m) {
        const auto request = m.as<RegionAccess>();
        std::vector<std::byte> answer(sizeof request + request.count,
                                      static_cast<std::byte>(request.offset));
        std::memcpy(answer.data(), &request, sizeof request);
        s.answer(m, answer);
    });
    auto c = server.connect().value();
    std::vector<NamedThread> threads;
    std::atomic<int> good{0};
    for (unsigned t = 0; t < 4; ++t)
        threads.emplace_back("asker", [&, t](const std::stop_token&) {
            for (unsigned i = 0; i < 200; ++i) {
                const RegionAccess request{t * 50 + i % 50, 0, 100};
                const iovec piece{const_cast<RegionAccess*>(&request), sizeof request};
                RegionAccess answer;
                std::array<std::byte, 100> data{};
                auto r = c->call({.command = Command::RegionRead,
                                  .what = "REGION_READ",
                                  .pieces = {&piece, 1},
                                  .into_fixed = std::as_writable_bytes(std::span(&answer, 1)),
                                  .into_rest = data});
                good += r && r->rest == 100 && data[99] == std::byte(request.offset) ? 1 : 0;
            }
        });
    threads.clear();
    EXPECT_EQ(good, 800);
}

class VfioUserMemory : public Test {
protected:
    Mapping bytes_ = Mapping::anonymous(0x4000).value();
    std::vector<std::pair<std::byte*, std::size_t>> written_;

    std::unique_ptr<VfioUserDma> dma(std::shared_ptr<Connection> c)
    {
        return std::make_unique<VfioUserDma>(
            std::move(c), [this](std::byte* at, std::size_t n) { written_.emplace_back(at, n); });
    }
};

struct Question {
    Command command;
    DmaAccess access;
    std::vector<std::byte> data;
};

TEST_F(VfioUserMemory, TheServerReadsAndWritesWindowsByMessage)
{
    TestServer server;
    server.on(Command::DmaMap, [](TestServer& s, Message& m) { s.answer(m); });
    server.on(Command::DmaUnmap,
              [](TestServer& s, Message& m) { s.answer_with(m, m.as<DmaUnmap>()); });
    Question question;
    Message answer;
    server.on(Command::DeviceGetInfo, [&](TestServer& s, Message& m) {
        std::vector<std::byte> payload(sizeof(DmaAccess) + question.data.size());
        std::memcpy(payload.data(), &question.access, sizeof(DmaAccess));
        std::ranges::copy(question.data, payload.begin() + sizeof(DmaAccess));
        answer = s.ask(static_cast<std::uint16_t>(question.command), payload);
        s.answer_with(m, DeviceInfo{});
    });
    const std::shared_ptr<Connection> c = server.connect().value();
    auto memory = dma(c);
    DeviceInfo info;
    // Two windows side by side, the second one read-only.
    ASSERT_TRUE(memory->map({.iova = 0x1000, .size = 0x1000, .host = bytes_.data()}));
    ASSERT_TRUE(memory->map(
        {.iova = 0x2000, .size = 0x1000, .host = bytes_.data() + 0x2000, .writable = false}));
    bytes_.data()[0xfff] = std::byte{0xaa};
    bytes_.data()[0x2000] = std::byte{0xbb};

    question = {Command::DmaRead, {0x1fff, 2}, {}};
    ASSERT_TRUE(get_info(*c, info));
    EXPECT_EQ(answer.header.flags, kTypeReply);
    ASSERT_EQ(answer.payload.size(), sizeof(DmaAccess) + 2);
    EXPECT_EQ(answer.payload[16], std::byte{0xaa});
    EXPECT_EQ(answer.payload[17], std::byte{0xbb});

    question = {Command::DmaWrite, {0x1010, 3}, {std::byte{1}, std::byte{2}, std::byte{3}}};
    ASSERT_TRUE(get_info(*c, info));
    EXPECT_EQ(answer.header.flags, kTypeReply);
    EXPECT_EQ(answer.as<DmaAccess>().count, 3u);
    EXPECT_EQ(bytes_.data()[0x12], std::byte{3});
    ASSERT_EQ(written_.size(), 1u);
    EXPECT_EQ(written_[0].first, bytes_.data() + 0x10);

    const auto refused = [&](Question q, int error) {
        question = std::move(q);
        ASSERT_TRUE(get_info(*c, info));
        EXPECT_EQ(answer.header.flags, kTypeReply | kError);
        EXPECT_EQ(answer.header.error, static_cast<std::uint32_t>(error));
    };
    refused({Command::DmaRead, {0x3000, 1}, {}}, EFAULT);
    refused({Command::DmaRead, {0x2fff, 2}, {}}, EFAULT);
    refused({Command::DmaRead, {0, 1}, {}}, EFAULT);
    refused({Command::DmaRead, {UINT64_MAX, 2}, {}}, EFAULT);
    refused({Command::DmaRead, {0x1000, UINT64_MAX}, {}}, EINVAL);
    // Nothing of a write that does not fit as a whole.
    refused({Command::DmaWrite, {0x1fff, 2}, {std::byte{9}, std::byte{9}}}, EFAULT);
    EXPECT_EQ(bytes_.data()[0xfff], std::byte{0xaa});
    refused({Command::DmaWrite, {0x1000, 5}, {std::byte{9}}}, EINVAL);
    refused({static_cast<Command>(15), {0, 0}, {}}, ENOTSUP);

    ASSERT_TRUE(memory->unmap(0x1000, 0x1000));
    refused({Command::DmaRead, {0x1000, 1}, {}}, EFAULT);
    EXPECT_EQ(written_.size(), 1u);
}

TEST_F(VfioUserMemory, ARefusedWindowCannotBeUsed)
{
    TestServer server;
    server.on(Command::DmaMap, [](TestServer& s, Message& m) { s.refuse(m, EEXIST); });
    const std::shared_ptr<Connection> c = server.connect().value();
    auto memory = dma(c);
    auto mapped = memory->map({.iova = 0x1000, .size = 0x1000, .host = bytes_.data()});
    ASSERT_FALSE(mapped);
    EXPECT_EQ(mapped.error().os_errno(), EEXIST);
    std::byte one{};
    EXPECT_FALSE(memory->dma_read(0x1000, {&one, 1}));
}

TEST_F(VfioUserMemory, TheTwinSocketCarriesTheServersRequests)
{
    TestServer server;
    auto twin = io::socket_pair().value();
    server.on(Command::Version, [&](TestServer& s, Message& m) {
        const int fd = twin.second->fd();
        s.answer_version(m, R"({"capabilities":{"twin_socket":{"supported":true,"fd_index":0}}})",
                         {}, {&fd, 1});
    });
    server.on(Command::DmaMap, [](TestServer& s, Message& m) { s.answer(m); });
    const std::shared_ptr<Connection> c = server.connect().value();
    auto memory = dma(c);
    bytes_.data()[7] = std::byte{0x77};
    ASSERT_TRUE(memory->map({.iova = 0, .size = 0x1000, .host = bytes_.data()}));
    struct {
        Header header{.id = 5,
                      .command = static_cast<std::uint16_t>(Command::DmaRead),
                      .size = sizeof(Header) + sizeof(DmaAccess)};
        DmaAccess access{7, 1};
    } ask;
    ASSERT_TRUE(twin.first->write_all(std::as_bytes(std::span(&ask, 1))));
    std::array<std::byte, sizeof(Header) + sizeof(DmaAccess) + 1> answer{};
    ASSERT_TRUE(twin.first->read_exact(answer));
    EXPECT_EQ(answer.back(), std::byte{0x77});
}

}  // namespace
}  // namespace godwit::hw::vfio::user
