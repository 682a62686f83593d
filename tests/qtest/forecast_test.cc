// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The forecast of real moves: synth guests at known rates over a wire of known width.
#include "tests/qtest/libqtest/migration.h"
#include "tests/qtest/libqtest/vmm.h"
#include "util/units.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <memory>

namespace godwit::qtest {
namespace {

// A guest whose first 48 MiB lie still, with a workload behind them, over 32 MiB a second.
struct Move {
    Vmm source;
    Vmm target;
    Path path{Transport::Unix};

    explicit Move(std::string_view workload)
        : source(arguments(workload, false), kAccelGiven),
          target(arguments(workload, true), kAccelGiven)
    {
        source.qtest().memset(0, 48 * kMiB, 0x5a);
        for (Vmm* vmm : {&source, &target})
            enable(*vmm, {"events", "return-path"});
        set({{"max-bandwidth", 32 * kMiB}, {"downtime-limit", 300}});
        path.prepare_target(target);
    }
    static std::vector<std::string> arguments(std::string_view workload, bool incoming)
    {
        std::vector<std::string> words = {"-machine", "none",   "-m",
                                          "96M",      "-accel", fmt::format("synth,{}", workload)};
        if (incoming)
            words.insert(words.end(), {"-incoming", "defer"});
        return words;
    }
    void set(const Json& parameters) { source.qmp().execute("migrate-set-parameters", parameters); }
    void start() { path.start_source(source); }
    Json forecast() { return source.qmp().execute("query-migrate")["x-forecast"]; }
    Json next_verdict() { return source.qmp().wait_event("MIGRATION_FORECAST")["data"]; }
    void cancel()
    {
        source.qmp().execute("migrate_cancel");
        expect_end(source, "cancelled");
        EXPECT_EQ(target.process().wait(), (ExitStatus{.code = 1}));  // its migration failed
    }
};

// A move whose first verdict is this, within the second pass. A guest or a wire that gets no CPU on
// a busy host is rightly taken for a slow one: such a move is given up, and another begun.
std::unique_ptr<Move> move_judged(std::string_view workload, std::string_view verdict, Json& first)
{
    for (int i = 0; i < 5; ++i) {
        auto move = std::make_unique<Move>(workload);
        move->start();
        first = move->next_verdict();
        if (first["verdict"] == verdict && first["pass"] <= 2)
            return move;
        move->cancel();
    }
    return nullptr;
}

TEST(Forecast, ASlowWriterConvergesAndIsScored)
{
    Json first;
    const auto move = move_judged("start=48M,working-set=24M,rate=6M", "converges", first);
    ASSERT_NE(move, nullptr) << first.dump();
    EXPECT_LT(first["wire-rate"].get<double>() / kMiB, 40) << first.dump();
    EXPECT_TRUE(first.contains("time-left-min")) << first.dump();
    EXPECT_FALSE(first.contains("downtime-needed")) << first.dump();
    expect_end(move->source, "completed");
    const Json last = move->forecast();
    ASSERT_FALSE(last["scores"].empty()) << last.dump();
    const Json& score = last["scores"][0];
    EXPECT_EQ(score["verdict"], "converges") << score.dump();
    EXPECT_EQ(score["correct"], true) << score.dump();
    EXPECT_TRUE(score.contains("in-range")) << score.dump();
    EXPECT_GT(score["total-time"], score["given-at"]) << score.dump();
    expect_synth_right(move->target);
}

TEST(Forecast, AFasterWriterNeedsTheDowntimeItSays)
{
    Json first;
    const auto move = move_judged("start=48M,working-set=40M,rate=80M", "above-downtime", first);
    ASSERT_NE(move, nullptr) << first.dump();
    const double wire = first["wire-rate"];
    const std::int64_t needed = first["downtime-needed"];
    EXPECT_GT(needed, 300) << first.dump();
    EXPECT_LE(static_cast<double>(needed), 88 * kMiB / wire * 1000 + 1) << first.dump();  // all
    // What it asks for is enough, with more for what a wire of 100 ms windows varies by.
    move->set({{"downtime-limit", needed * 3 / 2 + 300}});
    while (move->next_verdict()["verdict"] != "converges") {
    }
    expect_end(move->source, "completed");
    // With other limits it was another question.
    EXPECT_FALSE(move->forecast()["scores"][0].contains("correct")) << move->forecast().dump();
    expect_synth_right(move->target);
}

TEST(Forecast, AWriterOfEverythingNeverConverges)
{
    Json first;
    const auto move = move_judged("working-set=96M", "never", first);
    ASSERT_NE(move, nullptr) << first.dump();
    EXPECT_GT(first["downtime-needed"], 1000) << first.dump();
    const std::string text = move->source.qmp().hmp("info migrate");
    EXPECT_NE(text.find("forecast: never"), std::string::npos) << text;
    move->cancel();
    const Json over = move->source.qmp().execute("query-migrate-timeline")[0]["forecast"];
    EXPECT_FALSE(over["scores"][0].contains("correct")) << over.dump();
}

}  // namespace
}  // namespace godwit::qtest
