// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/transfer.h"

#include <gtest/gtest.h>

namespace godwit::vfio_user_server {
namespace {

constexpr std::uint64_t kBytes = 40 * kStatePage;

std::vector<std::byte> read_some(Saver& saver, std::size_t max)
{
    std::vector<std::span<const std::byte>> pieces;
    const std::size_t n = saver.read(max, pieces);
    std::vector<std::byte> bytes;
    for (const auto& piece : pieces)
        bytes.insert(bytes.end(), piece.begin(), piece.end());
    EXPECT_EQ(bytes.size(), n);
    return bytes;
}

void read_all(Saver& saver, std::size_t max, std::vector<std::byte>& into)
{
    for (;;) {
        const auto some = read_some(saver, max);
        into.insert(into.end(), some.begin(), some.end());
        if (some.size() < max)
            return;
    }
}

std::vector<std::byte> registers()
{
    return {std::byte{1}, std::byte{2}, std::byte{3}};
}

std::vector<std::byte> whole_stream(BulkState& state)
{
    Saver saver(state);
    saver.stop(registers());
    std::vector<std::byte> bytes;
    read_all(saver, 1 << 20, bytes);
    return bytes;
}

TEST(Transfer, PagesThatChangeDuringPreCopyArriveInTheirLastForm)
{
    BulkState source = BulkState::create(kBytes, 5).value();
    Saver saver(source);
    EXPECT_EQ(saver.initial_bytes(), kBytes + sizeof(Record) + 8);
    std::vector<std::byte> stream;
    for (std::size_t turn = 0; turn < 200; ++turn) {
        const auto some = read_some(saver, 1000 + turn);
        stream.insert(stream.end(), some.begin(), some.end());
        if (saver.page_changes(turn * 7 % 40))
            source.rewrite(turn * 7 % 40);
    }
    EXPECT_EQ(saver.initial_bytes(), 0u);
    saver.stop(registers());
    const std::uint64_t left = saver.remaining_bytes(registers().size());
    const std::size_t before = stream.size();
    read_all(saver, 4096, stream);
    EXPECT_EQ(saver.dirty_bytes(), 0u);
    EXPECT_GE(left + 40 * sizeof(Record), stream.size() - before);

    BulkState target = BulkState::create(kBytes, 9).value();
    Loader loader(target, true);
    for (std::size_t at = 0; at < stream.size(); at += 777)
        ASSERT_TRUE(loader.feed(
            std::span(stream).subspan(at, std::min<std::size_t>(777, stream.size() - at))));
    EXPECT_EQ(loader.finish().value(), registers());
    EXPECT_EQ(target.fingerprint(), source.fingerprint());
    for (std::size_t n = 0; n < 40; ++n)
        EXPECT_TRUE(target.page_right(n)) << n;
}

TEST(Transfer, TruncatedAnywhereIsNotAccepted)
{
    BulkState source = BulkState::create(2 * kStatePage, 5).value();
    const auto stream = whole_stream(source);
    for (std::size_t length = 0; length < stream.size(); length += length < 64 ? 1 : 61) {
        BulkState target = BulkState::create(2 * kStatePage, 9).value();
        Loader loader(target, true);
        ASSERT_TRUE(loader.feed(std::span(stream).first(length)));
        EXPECT_FALSE(loader.finish()) << length;
    }
}

TEST(Transfer, AWrongByteAnywhereIsFound)
{
    BulkState source = BulkState::create(2 * kStatePage, 5).value();
    const auto good = whole_stream(source);
    for (std::size_t at = 0; at < good.size(); at += at < 64 ? 1 : 61) {
        auto stream = good;
        stream[at] ^= std::byte{0x40};
        BulkState target = BulkState::create(2 * kStatePage, 9).value();
        Loader loader(target, true);
        const bool fed = loader.feed(stream).has_value();
        EXPECT_FALSE(fed && loader.finish()) << at;
    }
}

TEST(Transfer, DataBehindTheEndIsRefused)
{
    BulkState source = BulkState::create(kStatePage, 5).value();
    auto stream = whole_stream(source);
    stream.push_back(std::byte{0});
    BulkState target = BulkState::create(kStatePage, 9).value();
    EXPECT_FALSE(Loader(target, true).feed(stream));
}

TEST(Transfer, AnotherSizeOfStateIsRefusedByItsBeginning)
{
    BulkState source = BulkState::create(kStatePage, 5).value();
    BulkState target = BulkState::create(2 * kStatePage, 9).value();
    Loader loader(target, true);
    const auto fed = loader.feed(whole_stream(source));
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().message(),
              "device state, byte 16: has 4096 bytes of state, this device 8192");
}

}  // namespace
}  // namespace godwit::vfio_user_server
