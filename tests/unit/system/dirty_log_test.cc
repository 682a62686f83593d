// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/dirty_log.h"

#include <array>
#include <atomic>
#include <gtest/gtest.h>
#include <random>
#include <set>
#include <thread>

namespace godwit::system {
namespace {

DirtyBitmap bitmap_of(std::uint64_t pages)
{
    auto bitmap = DirtyBitmap::create(pages);
    EXPECT_TRUE(bitmap);
    return std::move(*bitmap);
}

TEST(DirtyBitmap, StartsCleanAndKnowsItsLength)
{
    DirtyBitmap bitmap = bitmap_of(130);
    EXPECT_EQ(bitmap.page_count(), 130u);
    EXPECT_EQ(bitmap.count(), 0u);
    std::vector<PageRun> runs;
    EXPECT_EQ(bitmap.take({0, 130}, runs), 0u);
    EXPECT_TRUE(runs.empty());
}

TEST(DirtyBitmap, RunsJoinAcrossWordsAndComeLowestFirst)
{
    DirtyBitmap bitmap = bitmap_of(300);
    bitmap.mark(PageRun{60, 140});
    bitmap.mark(299);
    bitmap.mark(0);
    std::vector<PageRun> runs;
    EXPECT_EQ(bitmap.take({0, 300}, runs), 142u);
    EXPECT_EQ(runs, (std::vector<PageRun>{{0, 1}, {60, 140}, {299, 1}}));
    EXPECT_EQ(bitmap.count(), 0u);
}

TEST(DirtyBitmap, TakeLeavesWhatIsOutsideTheRange)
{
    DirtyBitmap bitmap = bitmap_of(256);
    bitmap.mark_all();
    std::vector<PageRun> runs;
    EXPECT_EQ(bitmap.take({10, 100}, runs), 100u);
    EXPECT_EQ(runs, (std::vector<PageRun>{{10, 100}}));
    EXPECT_TRUE(bitmap.test(9));
    EXPECT_FALSE(bitmap.test(10));
    EXPECT_FALSE(bitmap.test(109));
    EXPECT_TRUE(bitmap.test(110));
    EXPECT_EQ(bitmap.count(), 156u);
}

TEST(DirtyBitmap, KernelWordsAreOredInAndBitsPastTheEndIgnored)
{
    DirtyBitmap bitmap = bitmap_of(70);
    bitmap.mark(1);
    const std::array<std::uint64_t, 3> words{0x8000000000000001, ~std::uint64_t{0}, 1};
    bitmap.mark_words(0, words.data(), words.size());
    EXPECT_EQ(bitmap.count(), 3u + 6u);
    EXPECT_TRUE(bitmap.test(63));
    EXPECT_TRUE(bitmap.test(69));
    std::array<std::uint64_t, 2> into{2, 0};
    EXPECT_EQ(bitmap.take_into({0, 70}, into.data()), 9u);
    EXPECT_EQ(into[0], 0x8000000000000003u);
    EXPECT_EQ(into[1], 0x3fu);
}

TEST(DirtyBitmap, RandomMarksEqualAModel)
{
    std::mt19937 random(1);
    DirtyBitmap bitmap = bitmap_of(1000);
    std::set<PageIndex> model;
    for (int round = 0; round < 2000; ++round) {
        const PageIndex first = random() % 1000;
        const std::uint64_t count = random() % (1000 - first + 1);
        if (random() % 3 != 0) {
            bitmap.mark(PageRun{first, count});
            for (std::uint64_t i = 0; i < count; ++i)
                model.insert(first + i);
            continue;
        }
        std::vector<PageRun> runs;
        const std::uint64_t taken = bitmap.take({first, count}, runs);
        std::uint64_t sum = 0;
        for (const PageRun& run : runs) {
            sum += run.count;
            for (std::uint64_t i = 0; i < run.count; ++i)
                ASSERT_EQ(model.erase(run.first + i), 1u);
        }
        ASSERT_EQ(sum, taken);
        ASSERT_TRUE(model.lower_bound(first) == model.lower_bound(first + count));
    }
    EXPECT_EQ(bitmap.count(), model.size());
}

TEST(DirtyBitmapDeathTest, APagePastTheEndAborts)
{
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    DirtyBitmap bitmap = bitmap_of(10);
    EXPECT_DEATH(bitmap.mark(10), "");
    EXPECT_DEATH(bitmap.mark(PageRun{9, 2}), "");
}

// The promise of docs/developer/dirty-tracking.md: writers store and mark, a taker takes and
// copies; when all is quiet the copy equals the memory. Run it under TSan.
TEST(DirtyBitmap, NothingIsLostWhileMarkingRunsAgainstTaking)
{
    constexpr unsigned kPages = 200;
    constexpr unsigned kWriters = 3;
    constexpr unsigned kRounds = 20000;
    DirtyBitmap bitmap = bitmap_of(kPages);
    std::array<std::array<std::atomic<std::uint32_t>, kWriters>, kPages> memory{};
    std::array<std::array<std::uint32_t, kWriters>, kPages> copy{};
    std::atomic<unsigned> running{kWriters};

    const auto take_and_copy = [&] {
        std::vector<PageRun> runs;
        bitmap.take({0, kPages}, runs);
        for (const PageRun& run : runs)
            for (PageIndex page = run.first; page < run.first + run.count; ++page)
                for (unsigned writer = 0; writer < kWriters; ++writer)
                    copy[page][writer] = memory[page][writer].load(std::memory_order_relaxed);
    };
    {
        std::vector<std::jthread> writers;
        for (unsigned writer = 0; writer < kWriters; ++writer)
            writers.emplace_back([&, writer] {
                std::mt19937 random(writer);
                for (unsigned round = 1; round <= kRounds; ++round) {
                    const PageIndex page = random() % kPages;
                    memory[page][writer].store(round, std::memory_order_relaxed);
                    bitmap.mark(page);
                }
                running.fetch_sub(1);
            });
        while (running.load() != 0)
            take_and_copy();
    }
    take_and_copy();
    for (unsigned page = 0; page < kPages; ++page)
        for (unsigned writer = 0; writer < kWriters; ++writer)
            ASSERT_EQ(copy[page][writer], memory[page][writer].load()) << "page " << page;
}

TEST(DirtyLog, OnlyEnabledClientsGetMarks)
{
    auto log = DirtyLog::create(64);
    ASSERT_TRUE(log);
    (*log)->mark({1, 1});
    (*log)->enable(DirtyClient::Migration);
    (*log)->mark({2, 1});
    (*log)->enable(DirtyClient::Display);
    (*log)->mark({3, 1});
    (*log)->disable(DirtyClient::Migration);
    (*log)->mark({4, 1});
    DirtyBitmap& migration = (*log)->bitmap(DirtyClient::Migration);
    DirtyBitmap& display = (*log)->bitmap(DirtyClient::Display);
    EXPECT_FALSE(migration.test(1));
    EXPECT_TRUE(migration.test(2));
    EXPECT_TRUE(migration.test(3));
    EXPECT_FALSE(migration.test(4));
    EXPECT_FALSE(display.test(2));
    EXPECT_TRUE(display.test(3));
    EXPECT_TRUE(display.test(4));
}

TEST(DirtyLog, EnablingForgetsOldMarksAndEnablingTwiceDoesNot)
{
    auto log = DirtyLog::create(64);
    ASSERT_TRUE(log);
    (*log)->enable(DirtyClient::Migration);
    (*log)->mark({5, 1});
    (*log)->enable(DirtyClient::Migration);
    EXPECT_TRUE((*log)->bitmap(DirtyClient::Migration).test(5));
    (*log)->disable(DirtyClient::Migration);
    (*log)->enable(DirtyClient::Migration);
    EXPECT_FALSE((*log)->bitmap(DirtyClient::Migration).test(5));
}

// Switching on while others write: what enable() did not see marked, a copy made after it has.
TEST(DirtyLog, WritesAroundEnablingAreCopiedOrMarked)
{
    for (unsigned round = 0; round < 300; ++round) {
        auto log = DirtyLog::create(1);
        ASSERT_TRUE(log);
        std::atomic<std::uint32_t> page{0};
        std::atomic<bool> stop{false};
        std::jthread writer([&] {
            for (std::uint32_t value = 1; !stop.load(std::memory_order_relaxed); ++value) {
                page.store(value, std::memory_order_relaxed);
                (*log)->mark({0, 1});
            }
        });
        while (page.load() < 10)
            std::this_thread::yield();
        (*log)->enable(DirtyClient::Migration);
        std::uint32_t copy = page.load(std::memory_order_relaxed);
        stop.store(true);
        writer.join();
        std::vector<PageRun> runs;
        if ((*log)->bitmap(DirtyClient::Migration).take({0, 1}, runs) != 0)
            copy = page.load(std::memory_order_relaxed);
        ASSERT_EQ(copy, page.load());
    }
}

}  // namespace
}  // namespace godwit::system
