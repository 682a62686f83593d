// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/stream/reader.h"

#include "migration/stream/writer.h"
#include "tests/unit/stream/support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace godwit::migration::stream {
namespace {

using testing::HasSubstr;

// Gives a few bytes at a time, as a slow network does.
class Dripping final : public ByteSource {
public:
    Dripping(Bytes bytes, std::size_t drop) : bytes_(std::move(bytes)), drop_(drop) {}
    Result<std::size_t> read_some(std::span<std::byte> into) override
    {
        const std::size_t n = std::min({drop_, into.size(), bytes_.size() - at_});
        std::copy_n(bytes_.begin() + static_cast<long>(at_), n, into.begin());
        at_ += n;
        return n;
    }

private:
    Bytes bytes_;
    std::size_t drop_;
    std::size_t at_ = 0;
};

Bytes counting(std::size_t size)
{
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i)
        bytes[i] = std::byte(i * 7);
    return bytes;
}

TEST(StreamReader, SeesTheSameBytesHoweverTheyArrive)
{
    const Bytes all = counting(5000);
    for (std::size_t drop : {1u, 3u, 257u, 5000u}) {
        Dripping source(all, drop);
        StreamReader in(source, 300);
        EXPECT_EQ(in.get_be32().value(), 0x00070e15u);
        EXPECT_EQ(in.peek(257).value().size(), 257u);
        EXPECT_EQ(in.position(), 4u);
        Bytes middle(4000);
        ASSERT_TRUE(in.get_bytes(middle));
        EXPECT_TRUE(std::equal(middle.begin(), middle.end(), all.begin() + 4));
        ASSERT_TRUE(in.skip(990));
        EXPECT_EQ(in.position(), 4994u);
        EXPECT_EQ(in.peek(257).value().size(), 6u) << "fewer at the end";
        EXPECT_FALSE(in.at_end().value());
        ASSERT_TRUE(in.skip(6));
        EXPECT_TRUE(in.at_end().value());
        EXPECT_THAT(in.get_u8().error().message(),
                    HasSubstr("the stream ends at byte 5000, 1 more expected"));
    }
}

TEST(StreamReader, SkippingPastTheEndIsTruncation)
{
    const Bytes few = counting(3);
    StreamReader in{std::span<const std::byte>(few), 100};
    EXPECT_EQ(in.skip(1ull << 60).error().code(), Errc::Truncated);
    StreamReader again{std::span<const std::byte>(few), 100};
    EXPECT_THAT(again.get_be64().error().message(), HasSubstr("byte 103, 5 more"));
}

class Collecting final : public ByteSink {
public:
    Result<void> write_all(std::span<const iovec> pieces) override
    {
        for (const iovec& piece : pieces) {
            const auto* from = static_cast<const std::byte*>(piece.iov_base);
            bytes.insert(bytes.end(), from, from + piece.iov_len);
        }
        ++calls;
        return ok();
    }
    Bytes bytes;
    int calls = 0;
};

TEST(StreamWriter, CountsWhatWasPutAndSendsDirectPiecesInOrder)
{
    Collecting sink;
    StreamWriter out(sink);
    out.put_be16(0x0102);
    EXPECT_EQ(sink.calls, 0) << "small values wait";
    std::array<std::byte, 3> page{std::byte{3}, std::byte{4}, std::byte{5}};
    const iovec piece{page.data(), page.size()};
    ASSERT_TRUE(out.write_direct({&piece, 1}));
    out.put_u8(6);
    EXPECT_EQ(out.position(), 6u);
    ASSERT_TRUE(out.flush_if_over(100));
    EXPECT_EQ(out.buffered(), 1u);
    ASSERT_TRUE(out.flush());
    EXPECT_EQ(out.buffered(), 0u);
    EXPECT_EQ(sink.bytes, from_hex("010203040506"));
    EXPECT_EQ(sink.calls, 2) << "what waited goes along";
}

TEST(StreamWriter, WithoutASinkKeepsEverythingUntilTaken)
{
    StreamWriter out;
    out.put_str8("abc");
    ASSERT_TRUE(out.flush());
    EXPECT_EQ(out.take(), from_hex("03616263"));
    EXPECT_EQ(out.position(), 4u);
    EXPECT_EQ(out.take(), Bytes{});
}

}  // namespace
}  // namespace godwit::migration::stream
