// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Streams that are almost right, against all devices of a q35. The long form is the fuzz target
// `incoming`.
#include "tests/support/incoming_bench.h"
#include "tests/support/stream_map.h"

#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>

namespace godwit::test {
namespace {

class HostileIncoming : public testing::Test {
protected:
    static void SetUpTestSuite() { bench_ = new IncomingBench; }
    static void TearDownTestSuite() { delete bench_, bench_ = nullptr; }
    static void expect_harmless(std::string_view stream, bool ignore_unknown)
    {
        const auto outcome = bench_->load(stream, ignore_unknown);
        if (!outcome.loaded) {
            EXPECT_NE(outcome.error, "");
            EXPECT_EQ(outcome.error.find('\n'), std::string::npos) << outcome.error;
        }
        const auto damage = bench_->damage();
        ASSERT_FALSE(damage.has_value()) << *damage;
    }
    static IncomingBench* bench_;
};
IncomingBench* HostileIncoming::bench_ = nullptr;

TEST_F(HostileIncoming, TheStreamItselfLoads)
{
    const auto outcome = bench_->load(bench_->stream(), false);
    EXPECT_TRUE(outcome.loaded) << outcome.error;
}

TEST_F(HostileIncoming, EveryPlaceOfTheStreamIsKnown)
{
    const auto marks = map_stream(bench_->stream());
    const auto count = [&](StreamMark::Kind kind) {
        return std::ranges::count(marks, kind, &StreamMark::kind);
    };
    EXPECT_GT(count(StreamMark::Kind::Element), 15);
    EXPECT_GT(count(StreamMark::Kind::Name), 20);
    EXPECT_GT(count(StreamMark::Kind::RamWord), 10);
    EXPECT_GT(count(StreamMark::Kind::Value), 300);
    // To the last word, the PING that hands the guest over.
    const auto last = std::ranges::max(marks, {}, &StreamMark::at);
    EXPECT_EQ(last.at + last.size, bench_->stream().size());
}

// GODWIT_HOSTILE_STREAMS: how many, and GODWIT_HOSTILE_SEED: which.
unsigned long from_environment(const char* name, unsigned long otherwise)
{
    const char* given = std::getenv(name);
    return given != nullptr ? std::strtoul(given, nullptr, 10) : otherwise;
}

TEST_F(HostileIncoming, AlmostRightStreamsDoNoHarm)
{
    const auto marks = map_stream(bench_->stream());
    const auto seed = static_cast<std::uint32_t>(from_environment("GODWIT_HOSTILE_SEED", 20250517));
    StreamMutator mutator(seed);
    const unsigned long streams = from_environment("GODWIT_HOSTILE_STREAMS", 700);
    for (unsigned long turn = 0; turn < streams; ++turn) {
        SCOPED_TRACE(turn);
        ASSERT_NO_FATAL_FAILURE(
            expect_harmless(mutator.damage(bench_->stream(), marks), turn % 2 == 0));
    }
}

}  // namespace
}  // namespace godwit::test
