// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/synth/page_content.h"
#include "accel/synth/workload.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <numeric>
#include <vector>

namespace godwit::accel::synth {
namespace {

WorkloadSpec spec_of(Pattern pattern, std::uint64_t pages, unsigned reads = 0)
{
    WorkloadSpec spec;
    spec.start = 3 * kPageBytes;
    spec.working_set = pages * kPageBytes;
    spec.pattern = pattern;
    spec.reads = static_cast<std::uint8_t>(reads);
    spec.seed = 42;
    return spec;
}

struct Shape {
    Pattern pattern;
    std::uint64_t pages;
    unsigned vcpus;
    unsigned reads;
    unsigned hot_pages = 10;
    unsigned hot_writes = 90;
};

class WorkloadShapes : public testing::TestWithParam<Shape> {};

/// Runs access by access with a plain table of what was written, and asks the closed form for every
/// page at many moments.
TEST_P(WorkloadShapes, ClosedFormAgreesWithASimulationAtEveryMoment)
{
    const Shape shape = GetParam();
    WorkloadSpec spec = spec_of(shape.pattern, shape.pages, shape.reads);
    spec.hot_pages = static_cast<std::uint8_t>(shape.hot_pages);
    spec.hot_writes = static_cast<std::uint8_t>(shape.hot_writes);
    ASSERT_TRUE(check(spec, spec.start + spec.working_set, shape.vcpus));

    std::map<std::uint64_t, unsigned> owner;
    for (unsigned vcpu = 0; vcpu < shape.vcpus; ++vcpu) {
        const VcpuWorkload work(spec, vcpu, shape.vcpus);
        std::map<std::uint64_t, std::uint64_t> generations;
        for (std::uint64_t p = work.first_page(); p < work.first_page() + work.pages(); ++p) {
            generations[p] = 0;
            EXPECT_TRUE(owner.emplace(p, vcpu).second) << "page " << p << " has two owners";
        }
        std::uint64_t writes = 0;
        const std::uint64_t accesses = 4 * shape.pages + 17;
        for (std::uint64_t a = 0; a < accesses; ++a) {
            const Access access = work.access(a);
            ASSERT_TRUE(generations.contains(access.page)) << "access " << a;
            if (access.write) {
                ++writes;
                ++generations[access.page];
            }
            ASSERT_EQ(access.generation, generations[access.page]) << "access " << a;
            ASSERT_EQ(work.writes(a + 1), writes);
            if (a % 7 == 0 || a + 1 == accesses) {
                for (const auto& [page, generation] : generations)
                    ASSERT_EQ(work.generation(page, a + 1), generation)
                        << "page " << page << " after " << a + 1;
            }
        }
    }
    EXPECT_EQ(owner.size(), shape.pages) << "pages nobody owns";
    EXPECT_EQ(owner.begin()->first, spec.start / kPageBytes);
}

INSTANTIATE_TEST_SUITE_P(
    All, WorkloadShapes,
    testing::Values(Shape{Pattern::Sequential, 1, 1, 0}, Shape{Pattern::Sequential, 37, 1, 0},
                    Shape{Pattern::Sequential, 64, 3, 25}, Shape{Pattern::Uniform, 1, 1, 0},
                    Shape{Pattern::Uniform, 2, 2, 0}, Shape{Pattern::Uniform, 101, 1, 0},
                    Shape{Pattern::Uniform, 128, 4, 50}, Shape{Pattern::Uniform, 20, 1, 100},
                    Shape{Pattern::HotCold, 1, 1, 0}, Shape{Pattern::HotCold, 2, 1, 0},
                    Shape{Pattern::HotCold, 100, 1, 0}, Shape{Pattern::HotCold, 100, 1, 30, 20, 0},
                    Shape{Pattern::HotCold, 99, 2, 33, 99, 100},
                    Shape{Pattern::HotCold, 64, 4, 10, 1, 99}));

TEST(Permutation, IsABijectionForEverySizeUpTo200AndUndoesItself)
{
    for (std::uint64_t n = 1; n <= 200; ++n) {
        const Permutation shuffle(n);
        for (std::uint64_t key : {0ull, 1ull, 0xdeadbeefull}) {
            std::vector<bool> seen(n);
            for (std::uint64_t x = 0; x < n; ++x) {
                const std::uint64_t y = shuffle.forward(key, x);
                ASSERT_LT(y, n);
                ASSERT_FALSE(seen[y]) << "n " << n << " key " << key;
                seen[y] = true;
                ASSERT_EQ(shuffle.inverse(key, y), x);
            }
        }
    }
}

TEST(Permutation, UndoesItselfForSixteenTebibytesOfPages)
{
    const Permutation shuffle(std::uint64_t{1} << 32);
    for (std::uint64_t x = 1; x < std::uint64_t{1} << 32; x = x * 3 + 1)
        EXPECT_EQ(shuffle.inverse(7, shuffle.forward(7, x)), x);
}

TEST(Permutation, DoesNotKeepNeighboursTogether)
{
    const std::uint64_t n = 10000;
    const Permutation shuffle(n);
    unsigned neighbours = 0;
    for (std::uint64_t x = 0; x + 1 < n; ++x)
        if (shuffle.forward(5, x) + 1 == shuffle.forward(5, x + 1))
            ++neighbours;
    EXPECT_LT(neighbours, 20u);  // about 1 is expected of a random order
}

TEST(Workload, HotPagesGetTheirShareOfTheWrites)
{
    WorkloadSpec spec = spec_of(Pattern::HotCold, 1000);
    spec.hot_pages = 5;
    spec.hot_writes = 80;
    const VcpuWorkload work(spec, 0, 1);
    std::vector<std::uint64_t> writes;
    for (std::uint64_t p = work.first_page(); p < work.first_page() + work.pages(); ++p)
        writes.push_back(work.generation(p, 100000));
    std::ranges::sort(writes, std::greater{});
    EXPECT_EQ(std::accumulate(writes.begin(), writes.begin() + 50, 0ull), 80000u);
    EXPECT_EQ(std::accumulate(writes.begin() + 50, writes.end(), 0ull), 20000u);
}

TEST(Workload, WriteIndexNamesTheWriteThatMadeAPageWhatItIs)
{
    const VcpuWorkload work(spec_of(Pattern::Uniform, 50), 0, 1);
    for (std::uint64_t a = 0; a < 300; ++a) {
        const Access access = work.access(a);
        EXPECT_EQ(work.write_index(access.page, access.generation), a);
    }
}

TEST(Workload, RefusesWhatDoesNotFitAndNamesIt)
{
    const auto message = [](WorkloadSpec spec, std::uint64_t bytes, unsigned vcpus) {
        auto result = check(spec, bytes, vcpus);
        return result ? std::string("accepted") : result.error().message();
    };
    WorkloadSpec spec = spec_of(Pattern::Uniform, 8);
    EXPECT_EQ(message(spec, 11 * kPageBytes, 8), "accepted");
    EXPECT_THAT(message(spec, 11 * kPageBytes - 1, 8), testing::HasSubstr("outside of RAM"));
    EXPECT_THAT(message(spec, kPageBytes, 1), testing::HasSubstr("outside of RAM"));
    EXPECT_THAT(message(spec, 11 * kPageBytes, 9), testing::HasSubstr("less than one page"));
    spec.start = 17;
    EXPECT_THAT(message(spec, 1 << 20, 1), testing::HasSubstr("multiples of 4096"));
    spec = spec_of(Pattern::HotCold, 8);
    spec.hot_pages = 0;
    EXPECT_THAT(message(spec, 1 << 20, 1), testing::HasSubstr("hot-pages"));
    spec = spec_of(Pattern::HotCold, 8);
    spec.reads = 101;
    EXPECT_THAT(message(spec, 1 << 20, 1), testing::HasSubstr("reads"));
    spec = spec_of(Pattern::HotCold, 8);
    spec.burst_ms = 5;
    EXPECT_THAT(message(spec, 1 << 20, 1), testing::HasSubstr("burst and pause"));
}

}  // namespace
}  // namespace godwit::accel::synth
