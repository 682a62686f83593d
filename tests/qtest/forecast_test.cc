// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The forecast of real moves: synth guests at known rates over a wire of known width.
#include "tests/qtest/libqtest/migration.h"
#include "tests/qtest/libqtest/vmm.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace godwit::qtest {
namespace {

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
const Vmm::Options kOwnAccel{.accel = ""};

// A guest whose first 48 MiB lie still, with a workload behind them, over 32 MiB a second.
struct Move {
    Vmm source;
    Vmm target;
    Path path{Transport::Unix};

    explicit Move(std::string_view workload)
        : source(arguments(workload, false), kOwnAccel),
          target(arguments(workload, true), kOwnAccel)
    {
        source.qtest().memset(0, 48 * kMib, 0x5a);
        for (Vmm* vmm : {&source, &target})
            enable(*vmm, {"events", "return-path"});
        set({{"max-bandwidth", 32 * kMib}, {"downtime-limit", 300}});
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
    // The verdict must be found; `latest` is the last pass in which it may be. A guest that gets no
    // CPU for a while, on a busy host, is rightly taken for one that does not write.
    Json expect_verdict(std::string_view verdict, int latest = 2)
    {
        const Json event = source.qmp().wait_event(
            "MIGRATION_FORECAST", [&](const Json& data) { return data["verdict"] == verdict; });
        const Json& data = event["data"];
        EXPECT_LE(data["pass"], latest) << data.dump();
        return data;
    }
    // ... and it must still stand when the second pass is over.
    void expect_to_stand(std::string_view verdict)
    {
        source.qmp().wait_event("MIGRATION_PASS",
                                [](const Json& data) { return data["pass"] == 3; });
        EXPECT_EQ(forecast()["verdict"], verdict) << forecast().dump();
    }
    void cancel()
    {
        source.qmp().execute("migrate_cancel");
        expect_end(source, "cancelled");
        EXPECT_EQ(target.process().wait(), (ExitStatus{.code = 1}));  // its migration failed
    }
};

TEST(Forecast, ASlowWriterConvergesAndIsScored)
{
    Move move("start=48M,working-set=24M,rate=6M");
    move.start();
    const Json first = move.expect_verdict("converges");
    EXPECT_NEAR(first["wire-rate"].get<double>() / kMib, 32, 8) << first.dump();
    EXPECT_TRUE(first.contains("time-left-min")) << first.dump();
    EXPECT_FALSE(first.contains("downtime-needed")) << first.dump();
    expect_end(move.source, "completed");
    const Json last = move.forecast();
    ASSERT_FALSE(last["scores"].empty()) << last.dump();
    const Json& score = last["scores"].back();
    EXPECT_EQ(score["verdict"], "converges") << score.dump();
    EXPECT_EQ(score["correct"], true) << score.dump();
    EXPECT_GT(score["total-time"], score["given-at"]) << score.dump();
    expect_synth_right(move.target);
}

TEST(Forecast, AFasterWriterNeedsTheDowntimeItSays)
{
    Move move("start=48M,working-set=40M,rate=80M");
    move.start();
    move.expect_verdict("above-downtime");
    move.expect_to_stand("above-downtime");
    const Json now = move.forecast();
    const std::int64_t needed = now["downtime-needed"];
    EXPECT_GT(needed, 300) << now.dump();
    EXPECT_LT(needed, 1300) << now.dump();  // 40 MiB take that long
    // What it asks for is enough, with a little more for the 100 ms in which the wire is measured.
    move.set({{"downtime-limit", needed + 300}});
    move.expect_verdict("converges", 500);
    expect_end(move.source, "completed");
    // With other limits it was another question.
    EXPECT_FALSE(move.forecast()["scores"][0].contains("correct")) << move.forecast().dump();
    expect_synth_right(move.target);
}

TEST(Forecast, AWriterOfEverythingNeverConverges)
{
    Move move("working-set=96M");
    move.start();
    const Json first = move.expect_verdict("never");
    EXPECT_GT(first["downtime-needed"], 1000) << first.dump();
    const std::string text = move.source.qmp().hmp("info migrate");
    EXPECT_NE(text.find("forecast: never"), std::string::npos) << text;
    move.cancel();
    const Json over = move.source.qmp().execute("query-migrate-timeline")[0]["forecast"];
    EXPECT_FALSE(over["scores"][0].contains("correct")) << over.dump();
}

}  // namespace
}  // namespace godwit::qtest
