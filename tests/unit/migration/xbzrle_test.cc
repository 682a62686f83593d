// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/xbzrle.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

namespace godwit::migration {
namespace {

using Page = std::array<std::byte, kXbzrlePage>;

std::vector<std::byte> encoded(const Page& before, const Page& now, std::size_t room = kXbzrlePage)
{
    std::vector<std::byte> out(room);
    const auto used = xbzrle_encode(before, now, out);
    EXPECT_TRUE(used);
    out.resize(used.value_or(0));
    return out;
}

std::vector<std::byte> bytes(std::initializer_list<int> values)
{
    std::vector<std::byte> out;
    for (const int value : values)
        out.push_back(std::byte(value));
    return out;
}

std::string decode_error(std::vector<std::byte> data)
{
    Page page{};
    const auto result = xbzrle_decode(data, page);
    return result ? "" : result.error().message();
}

TEST(Xbzrle, TheWorkedExampleOfTheFormat)
{
    Page before{};
    Page now{};
    now[16] = std::byte{0xac};
    now[17] = std::byte{0x57};
    EXPECT_EQ(encoded(before, now), bytes({0x10, 0x02, 0xac, 0x57}));
}

TEST(Xbzrle, NothingChangedIsNoBytes)
{
    Page page{};
    EXPECT_TRUE(encoded(page, page).empty());
}

TEST(Xbzrle, ALongRunTakesTwoBytesOfLength)
{
    Page before{};
    Page now{};
    now[kXbzrlePage - 1] = std::byte{1};
    EXPECT_EQ(encoded(before, now), bytes({0xff, 0x1f, 0x01, 0x01}));
}

TEST(Xbzrle, ADifferenceThatDoesNotFitIsToldNotWritten)
{
    Page before{};
    Page now;
    now.fill(std::byte{7});
    std::array<std::byte, kXbzrlePage> out{};
    EXPECT_FALSE(xbzrle_encode(before, now, out));
}

TEST(Xbzrle, AnyChangeComesBackExactly)
{
    std::mt19937 random(1);
    for (int round = 0; round < 2000; ++round) {
        Page before;
        for (auto& byte : before)
            byte = std::byte(random());
        Page now = before;
        for (int change = static_cast<int>(random() % 40); change > 0; --change) {
            const std::size_t at = random() % kXbzrlePage;
            const std::size_t length = std::min<std::size_t>(random() % 20, kXbzrlePage - at);
            for (std::size_t i = 0; i < length; ++i)
                now[at + i] =
                    std::byte(random() % 3 ? random() : std::to_integer<unsigned>(before[at + i]));
        }
        Page decoded = before;
        ASSERT_TRUE(xbzrle_decode(encoded(before, now, 2 * kXbzrlePage), decoded));
        ASSERT_EQ(decoded, now) << "round " << round;
    }
}

TEST(Xbzrle, MalformedRunsAreNamedByTheirByte)
{
    EXPECT_EQ(decode_error(bytes({0x80})), "xbzrle: byte 1: a run length is cut off");
    EXPECT_EQ(decode_error(bytes({0x05})), "xbzrle: byte 1: a run length is missing");
    EXPECT_EQ(decode_error(bytes({0x80, 0x80, 0x01})),
              "xbzrle: byte 1: a run length of three bytes");
    EXPECT_EQ(decode_error(bytes({0x00, 0x00})), "xbzrle: byte 2: an empty run of new bytes");
    EXPECT_EQ(decode_error(bytes({0x00, 0x01, 0xaa, 0x00, 0x01, 0xbb})),
              "xbzrle: byte 3: an empty run of unchanged bytes");
    EXPECT_EQ(decode_error(bytes({0x00, 0x02, 0xaa})),
              "xbzrle: byte 2: a run of 2 bytes with 1 left");
    EXPECT_EQ(decode_error(bytes({0xff, 0x1f, 0x02, 0xaa, 0xbb})),
              "xbzrle: byte 0: a run leaves the page");
    EXPECT_EQ(decode_error(bytes({0xff, 0x7f, 0x01, 0xaa})),
              "xbzrle: byte 0: a run leaves the page");
}

TEST(Xbzrle, RandomInputNeverLeavesThePage)
{
    std::mt19937 random(2);
    for (int round = 0; round < 20000; ++round) {
        std::vector<std::byte> data(random() % 64);
        for (auto& byte : data)
            byte = std::byte(random() % 4 ? random() % 8 : random());
        Page page{};
        (void)xbzrle_decode(data, page);  // the sanitizers watch
    }
}

TEST(XbzrleCache, KeepsAPageUntilItIsTwoPassesOld)
{
    auto cache = XbzrleCache::create(4 * kXbzrlePage);
    ASSERT_TRUE(cache);
    Page one{};
    one.fill(std::byte{1});
    Page two{};
    two.fill(std::byte{2});
    const std::uint64_t key = 0x1000;
    const std::uint64_t rival = key + 4 * kXbzrlePage;  // the same slot
    EXPECT_TRUE(cache->insert(key, one, 5));
    EXPECT_FALSE(cache->insert(rival, two, 6));
    ASSERT_NE(cache->find(key), nullptr);
    EXPECT_EQ(*cache->find(key), std::byte{1});
    EXPECT_EQ(cache->find(rival), nullptr);
    EXPECT_TRUE(cache->insert(rival, two, 7));
    EXPECT_EQ(cache->find(key), nullptr);
    EXPECT_EQ(*cache->find(rival), std::byte{2});
}

TEST(XbzrleCache, APageInUseStays)
{
    auto cache = XbzrleCache::create(kXbzrlePage);
    ASSERT_TRUE(cache);
    Page page{};
    EXPECT_TRUE(cache->insert(0, page, 1));
    cache->touch(0, 9);
    EXPECT_FALSE(cache->insert(kXbzrlePage, page, 10));
    EXPECT_TRUE(cache->insert(kXbzrlePage, page, 11));
}

TEST(XbzrleCache, SizesAreCheckedBeforeMemoryIsTaken)
{
    EXPECT_FALSE(XbzrleCache::create(0));
    EXPECT_FALSE(XbzrleCache::create(2048));
    EXPECT_FALSE(XbzrleCache::create(3 * kXbzrlePage));
}

}  // namespace
}  // namespace godwit::migration
