// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The forecast of real moves: synth guests at known rates over a wire of known width.
#include "tests/qtest/libqtest/migration.h"
#include "tests/qtest/libqtest/vmm.h"
#include "util/units.h"

#include <chrono>
#include <cmath>
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
    double written_mib()
    {
        double bytes = 0;
        const Json cpus = source.qmp().execute("x-query-synth");
        for (const Json& cpu : cpus)
            bytes += cpu["bytes-written"].get<double>();
        return bytes / kMiB;
    }
    Json forecast() { return source.qmp().execute("query-migrate")["x-forecast"]; }
    Json next_verdict() { return source.qmp().wait_event("MIGRATION_FORECAST")["data"]; }
    void cancel()
    {
        source.qmp().execute("migrate_cancel");
        expect_end(source, "cancelled");
        EXPECT_EQ(target.process().wait(), (ExitStatus{.code = 1}));  // its migration failed
    }
};

// What the guest is to write and the wire is to carry, in MiB a second; 0: all it can.
constexpr double kWire = 32;
struct Wanted {
    const char* workload;
    double rate;
    const char* verdict;
};

// Begins a move and waits for its first verdict, which must be this, within the second pass. Only
// where the machine ran neither guest nor wire as fast as they should be, which is measured, the
// move does not count and another is begun; none, with a reason, when that happens all the time.
std::unique_ptr<Move> move_judged(const Wanted& wanted, Json& first, std::string& trouble)
{
    for (int i = 0; i < 5; ++i) {
        auto move = std::make_unique<Move>(wanted.workload);
        const auto began = std::chrono::steady_clock::now();
        const double before = move->written_mib();
        move->start();
        first = move->next_verdict();
        const double guest =
            (move->written_mib() - before) /
            std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
        const double wire = first["wire-rate"].get<double>() / kMiB;
        const double least = wanted.rate != 0 ? wanted.rate * 0.8 : kWire * 8;
        if (guest >= least && std::abs(wire - kWire) <= kWire / 4) {
            EXPECT_EQ(first["verdict"], wanted.verdict) << first.dump();
            EXPECT_LE(first["pass"], 2) << first.dump();
            return move;
        }
        trouble = fmt::format("this machine did not run us: the guest wrote {:.1f} MiB/s of {:.1f} "
                              "at least, the wire carried {:.1f} of {:.1f}",
                              guest, least, wire, kWire);
        move->cancel();
    }
    return nullptr;
}

TEST(Forecast, ASlowWriterConvergesAndIsScored)
{
    Json first;
    std::string trouble;
    const auto move =
        move_judged({"start=48M,working-set=24M,rate=6M", 6, "converges"}, first, trouble);
    if (move == nullptr)
        GTEST_SKIP() << trouble;
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
    std::string trouble;
    const auto move =
        move_judged({"start=48M,working-set=40M,rate=80M", 80, "above-downtime"}, first, trouble);
    if (move == nullptr)
        GTEST_SKIP() << trouble;
    const double wire = first["wire-rate"];
    const std::int64_t needed = first["downtime-needed"];
    EXPECT_GT(needed, 300) << first.dump();
    EXPECT_LE(static_cast<double>(needed), 88 * kMiB / wire * 1000 + 1) << first.dump();  // all
    // What it asks for is enough, with more for what a busy host makes the wire vary by.
    move->set({{"downtime-limit", needed * 5 / 4 + 200}});
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
    std::string trouble;
    const auto move = move_judged({"working-set=96M", 0, "never"}, first, trouble);
    if (move == nullptr)
        GTEST_SKIP() << trouble;
    EXPECT_GT(first["downtime-needed"], 1000) << first.dump();
    const std::string text = move->source.qmp().hmp("info migrate");
    EXPECT_NE(text.find("forecast: never"), std::string::npos) << text;
    move->cancel();
    const Json over = move->source.qmp().execute("query-migrate-timeline")[0]["forecast"];
    EXPECT_FALSE(over["scores"][0].contains("correct")) << over.dump();
}

}  // namespace
}  // namespace godwit::qtest
