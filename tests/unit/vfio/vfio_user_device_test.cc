// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The calls of a device, as they are on the socket.
#include "hw/vfio/vfio_user_device.h"
#include "tests/unit/vfio/user_server.h"
#include "util/event_fd.h"

#include <cerrno>
#include <gtest/gtest.h>
#include <optional>

namespace godwit::hw::vfio::user {
namespace {

class VfioUserDeviceTest : public ::testing::Test {
protected:
    VfioUserDevice& device()
    {
        if (!device_)
            device_ = std::make_unique<VfioUserDevice>(
                std::shared_ptr<Connection>(server_.connect().value()));
        return *device_;
    }
    /// Answers DEVICE_FEATURE with `payload` behind the head.
    void on_feature(std::function<void(std::uint32_t flags, Message&, std::vector<std::byte>&)> how)
    {
        server_.on(Command::DeviceFeature, [how](TestServer& s, Message& m) {
            std::vector<std::byte> answer(m.payload.begin(), m.payload.begin() + 8);
            how(m.as<AbiFeature>().flags, m, answer);
            if (answer.empty())
                s.refuse(m, EINVAL);
            else
                s.answer(m, answer);
        });
    }
    template <class T>
    static void append(std::vector<std::byte>& to, const T& value)
    {
        const auto raw = std::as_bytes(std::span(&value, 1));
        to.insert(to.end(), raw.begin(), raw.end());
    }

    TestServer server_;
    std::unique_ptr<VfioUserDevice> device_;
};

TEST_F(VfioUserDeviceTest, SendsNoMoreDescriptorsThanTheServerTakes)
{
    struct Seen {
        std::uint32_t start, count;
        std::size_t fds;
        bool operator==(const Seen&) const = default;
    };
    std::vector<Seen> seen;
    server_.on(Command::DeviceSetIrqs, [&](TestServer& s, Message& m) {
        const auto set = m.as<AbiIrqSet>();
        EXPECT_EQ(set.flags, kIrqSetEventfd | kIrqSetTrigger);
        seen.push_back({set.start, set.count, m.fds.size()});
        s.answer(m);
    });
    const EventFd event = EventFd::create().value();
    const int fd = event.poll_fd();
    const std::array fds{fd, fd, fd, fd, fd, fd, -1, -1, fd};
    ASSERT_TRUE(device().set_irqs({.index = kMsixIrq, .start = 2, .count = 9, .eventfds = fds}));
    EXPECT_EQ(seen, (std::vector<Seen>{{2, 4, 4}, {6, 2, 2}, {8, 2, 0}, {10, 1, 1}}));
}

TEST_F(VfioUserDeviceTest, SplitsRegionAccessesAndChecksTheirLength)
{
    std::vector<std::uint32_t> counts;
    bool lie = false;
    server_.on(Command::RegionRead, [&](TestServer& s, Message& m) {
        auto access = m.as<RegionAccess>();
        counts.push_back(access.count);
        std::vector<std::byte> answer(sizeof access + access.count - (lie ? 1 : 0));
        std::memcpy(answer.data(), &access, sizeof access);
        s.answer(m, answer);
    });
    std::vector<std::byte> bytes(100'000);
    ASSERT_TRUE(device().region_read(0, 0, bytes));
    EXPECT_EQ(counts, (std::vector<std::uint32_t>{65536, 100'000 - 65536}));
    lie = true;
    auto short_read = device().region_read(3, 8, std::span(bytes).first(4));
    ASSERT_FALSE(short_read);
    EXPECT_EQ(short_read.error().message(), "REGION_READ of region 3 at 0x8: 3 bytes instead of 4 "
                                            "(socket test.sock)");
}

TEST_F(VfioUserDeviceTest, ReadsDataUntilItIsShort)
{
    std::uint32_t says = 0;
    server_.on(Command::MigDataRead, [&](TestServer& s, Message& m) {
        // As libvfio-user: the answer is as long as was asked, whatever is in it.
        auto head = m.as<MigData>();
        std::vector<std::byte> answer(sizeof head + head.size);
        head.size = says;
        std::memcpy(answer.data(), &head, sizeof head);
        s.answer(m, answer);
    });
    AbiMigDeviceState state;  // as it was set last
    on_feature([&state](std::uint32_t flags, Message& m, std::vector<std::byte>& answer) {
        if ((flags & kFeatureSet) != 0)
            std::memcpy(&state, m.payload.data() + sizeof(AbiFeature), sizeof state);
        append(answer, state);
    });
    std::vector<std::byte> buffer(1000);
    ASSERT_TRUE(device().set_migration_state(MigrationState::PreCopy));
    says = 1000;
    EXPECT_EQ(device().data_read(buffer)->more, DataRead::More::Yes);
    says = 7;
    EXPECT_EQ(device().data_read(buffer)->more, DataRead::More::Later);
    ASSERT_TRUE(device().set_migration_state(MigrationState::StopCopy));
    auto last = device().data_read(buffer);
    EXPECT_EQ(last->bytes, 7u);
    EXPECT_EQ(last->more, DataRead::More::End);
    says = 1001;
    auto lie = device().data_read(buffer);
    ASSERT_FALSE(lie);
    EXPECT_EQ(lie.error().message(), "MIG_DATA_READ: the answer says 1001 bytes of 1000 asked for, "
                                     "and has 1000 (socket test.sock)");
}

TEST_F(VfioUserDeviceTest, TwoReadsAreUnderWayAndEachGetsItsOwnData)
{
    std::optional<Message> first;
    const auto answer = [](TestServer& s, const Message& m, std::byte with) {
        auto head = m.as<MigData>();
        std::vector<std::byte> bytes(sizeof head + head.size, with);
        std::memcpy(bytes.data(), &head, sizeof head);
        s.answer(m, bytes);
    };
    // No answer to the first before the second has come.
    server_.on(Command::MigDataRead, [&](TestServer& s, Message& m) {
        if (!first) {
            first = std::move(m);
            return;
        }
        answer(s, *first, std::byte{1});
        answer(s, m, std::byte{2});
    });
    std::vector<std::byte> one(1000);
    std::vector<std::byte> two(500);
    auto begun = device().begin_read(one);
    auto behind = device().begin_read(two);
    ASSERT_TRUE(begun && behind);
    EXPECT_EQ((*begun)->await()->bytes, 1000u);
    EXPECT_EQ((*behind)->await()->bytes, 500u);
    EXPECT_EQ(one, std::vector<std::byte>(1000, std::byte{1}));
    EXPECT_EQ(two, std::vector<std::byte>(500, std::byte{2}));
}

TEST_F(VfioUserDeviceTest, AReadThatIsLetGoOfDisturbsNothing)
{
    server_.on(Command::MigDataRead, [](TestServer& s, Message& m) {
        auto head = m.as<MigData>();
        std::vector<std::byte> bytes(sizeof head + head.size);
        std::memcpy(bytes.data(), &head, sizeof head);
        s.answer(m, bytes);
    });
    for (int i = 0; i < 50; ++i) {
        {
            std::vector<std::byte> gone(4000);
            ASSERT_TRUE(device().begin_read(gone));
        }
        std::vector<std::byte> used(300);
        const auto got = device().data_read(used);
        ASSERT_TRUE(got);
        EXPECT_EQ(got->bytes, 300u);
    }
}

TEST_F(VfioUserDeviceTest, AWriteIsRefusedWhereItIsWaitedFor)
{
    std::vector<std::uint32_t> sizes;
    server_.on(Command::MigDataWrite, [&](TestServer& s, Message& m) {
        sizes.push_back(m.as<MigData>().size);
        if (sizes.size() == 3)
            s.refuse(m, ENOSPC);
        else
            s.answer(m);
    });
    const std::vector<std::byte> data(70'000);
    // More than one message takes: 65536 and the rest.
    auto whole = device().begin_write(data);
    ASSERT_TRUE(whole);
    auto bad = device().begin_write(std::span(data).first(10));
    ASSERT_TRUE(bad);
    EXPECT_TRUE((*whole)->await());
    const auto refused = (*bad)->await();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().os_errno(), ENOSPC);
    EXPECT_TRUE(device().data_write(std::span(data).first(20)));
    EXPECT_EQ(sizes, (std::vector<std::uint32_t>{65536, 70'000 - 65536, 10, 20}));
}

TEST_F(VfioUserDeviceTest, WhatIsUnderWayEndsWithTheConnection)
{
    server_.on(Command::MigDataRead, [n = 0](TestServer& s, Message& m) mutable {
        if (n++ == 1)
            s.close();
        (void)m;
    });
    std::vector<std::byte> one(1000);
    std::vector<std::byte> two(1000);
    auto begun = device().begin_read(one);
    auto behind = device().begin_read(two);
    ASSERT_TRUE(begun && behind);
    for (auto* read : {&*begun, &*behind}) {
        const auto got = (*read)->await();
        ASSERT_FALSE(got);
        EXPECT_EQ(got.error().code(), Errc::Closed);
    }
    EXPECT_FALSE(device().begin_read(one));
}

TEST_F(VfioUserDeviceTest, AServerWithoutAFeatureIsUnsupported)
{
    on_feature([](std::uint32_t, Message&, std::vector<std::byte>& answer) { answer.clear(); });
    EXPECT_EQ(device().migration_flags().error().code(), Errc::Unsupported);
    EXPECT_EQ(device().stop_copy_size().error().code(), Errc::Unsupported);
    EXPECT_EQ(device().precopy_info().error().code(), Errc::Unsupported);
    EXPECT_FALSE(device().log_rules()->available);
}

TEST_F(VfioUserDeviceTest, AStateThatDoesNotExistIsRefused)
{
    on_feature([](std::uint32_t, Message&, std::vector<std::byte>& answer) {
        append(answer, AbiMigDeviceState{.device_state = 8});
    });
    auto state = device().migration_state();
    ASSERT_FALSE(state);
    EXPECT_EQ(state.error().code(), Errc::BadFormat);
}

TEST_F(VfioUserDeviceTest, ReportsAreAddedToWhatIsThere)
{
    std::size_t bitmap = 16;
    on_feature([&](std::uint32_t flags, Message& m, std::vector<std::byte>& answer) {
        EXPECT_EQ(flags, kFeatureDmaLoggingReport | kFeatureGet);
        EXPECT_EQ(m.as<AbiFeature>().argsz, 8 + sizeof(LoggingReport) + 16);
        const auto request = m.as<LoggingReport>(8);
        EXPECT_EQ(request.iova, 0x100000u);
        EXPECT_EQ(request.length, 100u * 4096);
        append(answer, request);
        answer.resize(answer.size() + bitmap);
        answer[8 + sizeof request] = std::byte{0x05};
    });
    auto bits = PageBits::create(100 * 4096, 4096).value();
    bits.set(1);
    ASSERT_TRUE(device().log_report(0x100000, bits));
    EXPECT_EQ(bits.count(), 3u);
    EXPECT_TRUE(bits.test(0) && bits.test(1) && bits.test(2));
    bitmap = 8;
    auto cut = device().log_report(0x100000, bits);
    ASSERT_FALSE(cut);
    EXPECT_EQ(cut.error().code(), Errc::BadFormat);
}

TEST_F(VfioUserDeviceTest, AResetEndsInRunningAlsoWhereTheServerRefusesItWhileStopped)
{
    std::uint32_t state = static_cast<std::uint32_t>(MigrationState::StopCopy);
    unsigned resets = 0;
    server_.on(Command::DeviceReset, [&](TestServer& s, Message& m) {
        if (state != static_cast<std::uint32_t>(MigrationState::Running))
            return s.refuse(m, EINVAL);
        ++resets;
        s.answer(m);
    });
    on_feature([&](std::uint32_t flags, Message& m, std::vector<std::byte>& answer) {
        if ((flags & kFeatureMask) == kFeatureMigration)
            append(answer, std::uint64_t{5});
        else if ((flags & kFeatureSet) != 0)
            state = m.as<AbiMigDeviceState>(8).device_state;
        else
            append(answer, AbiMigDeviceState{.device_state = state});
    });
    ASSERT_TRUE(device().reset());
    EXPECT_EQ(state, static_cast<std::uint32_t>(MigrationState::Running));
    EXPECT_EQ(resets, 1u);
}

}  // namespace
}  // namespace godwit::hw::vfio::user
