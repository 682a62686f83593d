// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/populated_pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace godwit::system {
namespace {

constexpr std::uint64_t kPages = 4096;

class PopulatedPagesSuite : public testing::TestWithParam<bool> {
protected:
    RamBlock* block(RamSource source, bool huge = false)
    {
        auto made = memory_.create({.id = "ram",
                                    .used_length = kPages * kPageSize,
                                    .source = source,
                                    .shared = source != RamSource::Anonymous,
                                    .huge_page_advice = huge});
        EXPECT_TRUE(made) << made.error().message();
        return made.value_or(nullptr);
    }
    PopulatedPages pages() const
    {
        PopulatedPages pages = PopulatedPages::open();
        if (GetParam())
            pages.force_fallback();
        return pages;
    }
    static void touch(RamBlock& block, std::uint64_t page)
    {
        block.host()[page * kPageSize + 7] = std::byte{1};
    }

private:
    GuestMemory memory_;
};

INSTANTIATE_TEST_SUITE_P(ScanAndPagemap, PopulatedPagesSuite, testing::Bool());

TEST_P(PopulatedPagesSuite, AnUntouchedBlockHasNone)
{
    RamBlock* ram = block(RamSource::Anonymous);
    ASSERT_NE(ram, nullptr);
    EXPECT_TRUE(pages().runs(*ram).empty());
}

TEST_P(PopulatedPagesSuite, ExactlyTheTouchedPagesAreFound)
{
    RamBlock* ram = block(RamSource::Anonymous);
    ASSERT_NE(ram, nullptr);
    for (const std::uint64_t page : {0ul, 5ul, 6ul, 1000ul, kPages - 1})
        touch(*ram, page);
    EXPECT_EQ(pages().runs(*ram),
              (std::vector<PageRun>{{0, 1}, {5, 2}, {1000, 1}, {kPages - 1, 1}}));
}

TEST_P(PopulatedPagesSuite, OnlyWhatWasAskedForIsLookedAt)
{
    for (const RamSource source : {RamSource::Anonymous, RamSource::Memfd}) {
        GuestMemory memory;
        auto ram = memory.create({.id = "ram",
                                  .used_length = kPages * kPageSize,
                                  .source = source,
                                  .shared = source == RamSource::Memfd,
                                  .huge_page_advice = false});
        ASSERT_TRUE(ram);
        for (const std::uint64_t page : {3ul, 10ul, 11ul, 19ul, 20ul, 30ul})
            touch(**ram, page);
        const std::vector<PageRun> expected{{10, 2}, {19, 1}};
        EXPECT_EQ(pages().runs(**ram, {4, 16}), expected);
    }
}

TEST_P(PopulatedPagesSuite, AskingTouchesNothing)
{
    RamBlock* ram = block(RamSource::Anonymous);
    ASSERT_NE(ram, nullptr);
    touch(*ram, 9);
    (void)pages().runs(*ram);
    EXPECT_EQ(pages().runs(*ram), (std::vector<PageRun>{{9, 1}}));
}

TEST_P(PopulatedPagesSuite, APageReadButNeverWrittenNeedNotTravelWhereTheKernelKnows)
{
    if (GetParam() || !PopulatedPages::open().uses_scan())
        GTEST_SKIP() << "only PAGEMAP_SCAN tells the kernel's shared zero page";
    RamBlock* ram = block(RamSource::Anonymous);
    ASSERT_NE(ram, nullptr);
    const std::byte read = *const_cast<volatile std::byte*>(ram->host() + 3 * kPageSize);
    EXPECT_EQ(read, std::byte{0});
    EXPECT_TRUE(pages().runs(*ram).empty());
}

TEST_P(PopulatedPagesSuite, WhatAnotherMappingWroteIsFound)
{
    RamBlock* ram = block(RamSource::Memfd);
    ASSERT_NE(ram, nullptr);
    const char byte = 1;
    ASSERT_EQ(::pwrite(ram->fd(), &byte, 1, 77 * kPageSize), 1);
    touch(*ram, 2);
    EXPECT_EQ(pages().runs(*ram), (std::vector<PageRun>{{2, 1}, {77, 1}}));
}

TEST_P(PopulatedPagesSuite, DiscardedPagesAreGone)
{
    RamBlock* ram = block(RamSource::Anonymous);
    ASSERT_NE(ram, nullptr);
    touch(*ram, 1);
    touch(*ram, 2);
    ASSERT_TRUE(ram->discard(kPageSize, kPageSize));
    EXPECT_EQ(pages().runs(*ram), (std::vector<PageRun>{{2, 1}}));
}

TEST(MergeRuns, JoinsWhatTouchesOrOverlaps)
{
    EXPECT_EQ(merge_runs({{0, 2}, {10, 5}}, {{2, 1}, {12, 10}, {30, 1}}),
              (std::vector<PageRun>{{0, 3}, {10, 12}, {30, 1}}));
    EXPECT_TRUE(merge_runs({}, {}).empty());
    EXPECT_EQ(merge_runs({{0, 100}}, {{5, 1}}), (std::vector<PageRun>{{0, 100}}));
}

}  // namespace
}  // namespace godwit::system
