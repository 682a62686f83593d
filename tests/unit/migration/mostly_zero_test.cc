// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/mostly_zero.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <random>
#include <thread>

namespace godwit::migration {
namespace {

struct alignas(64) Page : std::array<std::byte, kXbzrlePage> {};

// What a destination has after the two records.
Page decoded(std::span<const std::byte> difference)
{
    Page page{};
    const auto done = xbzrle_decode(difference, page);
    EXPECT_TRUE(done) << done.error().message();
    return page;
}

void expect_mostly_zero(const Page& page)
{
    PageReader reader;
    ASSERT_EQ(reader.read(page.data()), PageContent::MostlyZero);
    EXPECT_LE(reader.difference().size(), PageReader::kMost);
    EXPECT_EQ(decoded(reader.difference()), page);
}

TEST(MostlyZero, AByteAnywhereIsFound)
{
    Page page{};
    for (std::size_t at = 0; at < page.size(); ++at) {
        page[at] = std::byte{0x80};
        ASSERT_NO_FATAL_FAILURE(expect_mostly_zero(page)) << at;
        page[at] = std::byte{0};
    }
}

TEST(MostlyZero, APageOfZerosIsOne)
{
    const Page page{};
    EXPECT_EQ(PageReader().read(page.data()), PageContent::Zero);
}

TEST(MostlyZero, AFullPageIsNot)
{
    Page page;
    page.fill(std::byte{1});
    EXPECT_EQ(PageReader().read(page.data()), PageContent::Full);
}

TEST(MostlyZero, TheWordsOfAWrittenPageTakeFewBytes)
{
    Page page{};
    page[0] = page[4092] = std::byte{1};
    page[9] = page[10] = std::byte{0x10};
    PageReader reader;
    ASSERT_EQ(reader.read(page.data()), PageContent::MostlyZero);
    // A run, eight zeros, a run, then the last word.
    EXPECT_EQ(reader.difference().size(), 2u + 1 + 2 + 2 + 3 + 1);
    EXPECT_EQ(decoded(reader.difference()), page);
}

TEST(MostlyZero, TheMostThatIsTakenFitsAndOneLineMoreDoesNot)
{
    // Runs as short as they get, in lines that are not neighbours.
    Page page{};
    const auto fill = [&](std::size_t line) {
        for (std::size_t at = line * 64 + 64 - 8; at + 8 > line * 64; at -= 8)
            page[at] = std::byte{0xff};
    };
    for (std::size_t i = 0; i < PageReader::kMostLines; ++i)
        fill(2 * i + 1);
    ASSERT_NO_FATAL_FAILURE(expect_mostly_zero(page));
    fill(2 * PageReader::kMostLines + 1);
    EXPECT_EQ(PageReader().read(page.data()), PageContent::Full);
}

TEST(MostlyZero, AnythingThatFitsComesBack)
{
    std::mt19937 random(7);
    for (int turn = 0; turn < 4000; ++turn) {
        Page page{};
        const unsigned lines = 1 + random() % PageReader::kMostLines;
        for (unsigned i = 0; i < lines; ++i) {
            const std::size_t line = random() % 64;
            for (unsigned n = 1 + random() % 40; n != 0; --n)
                page[line * 64 + random() % 64] = std::byte(random());
        }
        PageReader reader;
        const PageContent content = reader.read(page.data());
        if (content == PageContent::Full)  // not worth a look
            continue;
        ASSERT_EQ(decoded(reader.difference()), page);
    }
}

TEST(MostlyZero, AfterManyFullPagesItLooksNowAndThenOnly)
{
    Page full;
    full.fill(std::byte{1});
    std::fill_n(full.data() + 2048, 8, std::byte{0});  // worth a look, in vain
    Page sparse{};
    sparse[0] = std::byte{1};
    const Page zero{};
    PageReader reader;
    for (unsigned i = 0; i < PageReader::kTiredAfter; ++i)
        ASSERT_EQ(reader.read(full.data()), PageContent::Full);
    unsigned missed = 0;
    for (; reader.read(sparse.data()) != PageContent::MostlyZero; ++missed)
        ASSERT_EQ(reader.read(zero.data()), PageContent::Zero);
    EXPECT_LT(missed, PageReader::kTiredStep);
    for (int i = 0; i < 100; ++i)
        ASSERT_EQ(reader.read(sparse.data()), PageContent::MostlyZero);
}

// The guest goes on writing. What is read may be any mix, but it is always a valid difference.
TEST(MostlyZero, APageThatChangesMeanwhileGivesAValidDifference)
{
    static Page page;
    std::atomic<bool> stop{false};
    std::thread guest([&] {
        std::mt19937 random(3);
        while (!stop) {
            const std::size_t line = random() % 24 * 64;
            const auto value = static_cast<unsigned char>(random() % 2 * random());
            for (std::size_t i = 0; i < 64; i += 1 + random() % 16)
                std::atomic_ref(page[line + i]).store(std::byte{value}, std::memory_order_relaxed);
        }
    });
    PageReader reader;
    unsigned seen = 0;
    for (int i = 0; i < 4000; ++i) {
        if (reader.read(page.data()) != PageContent::MostlyZero)
            continue;
        ++seen;
        Page out{};
        const auto done = xbzrle_decode(reader.difference(), out);
        ASSERT_TRUE(done) << done.error().message();
        ASSERT_LE(reader.difference().size(), PageReader::kMost);
    }
    stop = true;
    guest.join();
    RecordProperty("mostly-zero", static_cast<int>(seen));
}

}  // namespace
}  // namespace godwit::migration
