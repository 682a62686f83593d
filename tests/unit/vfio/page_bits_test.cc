// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/page_bits.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace godwit::hw::vfio {
namespace {

using Runs = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

Runs runs_of(const PageBits& bits)
{
    Runs found;
    bits.for_each_run(
        [&](std::uint64_t at, std::uint64_t length) { found.emplace_back(at, length); });
    return found;
}

PageBits made(std::uint64_t pages, std::uint64_t page_size = 4096)
{
    Result<PageBits> bits = PageBits::create(pages * page_size, page_size);
    EXPECT_TRUE(bits) << bits.error().message();
    return std::move(*bits);
}

TEST(PageBits, RefusesPagesAndLengthsThatDoNotFit)
{
    EXPECT_FALSE(PageBits::create(4096, 0));
    EXPECT_FALSE(PageBits::create(4096, 3000));
    EXPECT_FALSE(PageBits::create(0, 4096));
    EXPECT_FALSE(PageBits::create(4097, 4096));
    EXPECT_TRUE(PageBits::create(std::uint64_t{2} << 20, std::uint64_t{2} << 20));
}

TEST(PageBits, CountsWholeWords)
{
    EXPECT_EQ(made(1).bytes(), 8U);
    EXPECT_EQ(made(64).bytes(), 8U);
    EXPECT_EQ(made(65).bytes(), 16U);
}

TEST(PageBits, RunsJoinAcrossWordsAndStopAtTheEnd)
{
    PageBits bits = made(200, 65536);
    for (std::uint64_t page : {0U, 1U, 63U, 64U, 65U, 128U, 199U})
        bits.set(page);
    EXPECT_EQ(bits.count(), 7U);
    EXPECT_EQ(
        runs_of(bits),
        (Runs{
            {0, 2 * 65536}, {63 * 65536, 3 * 65536}, {128 * 65536, 65536}, {199 * 65536, 65536}}));
}

TEST(PageBits, BitsPastTheEndAreIgnored)
{
    PageBits bits = made(70);
    bits.set_all();
    EXPECT_EQ(bits.count(), 70U);
    EXPECT_EQ(runs_of(bits), (Runs{{0, 70 * 4096}}));
    bits.clear();
    EXPECT_EQ(bits.count(), 0U);
    EXPECT_TRUE(runs_of(bits).empty());
    bits.words()[1] = ~std::uint64_t{0} << 6;  // only bits past page 69
    EXPECT_TRUE(runs_of(bits).empty());
}

TEST(PageBits, AlternatingPagesAreOneRunEach)
{
    PageBits bits = made(130);
    for (std::uint64_t page = 0; page < 130; page += 2)
        bits.set(page);
    EXPECT_EQ(runs_of(bits).size(), 65U);
}

}  // namespace
}  // namespace godwit::hw::vfio
