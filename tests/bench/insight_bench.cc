// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What one event, one sample and one verdict of a migration's timeline cost.
#include "migration/environment.h"
#include "migration/insight/timeline.h"
#include "migration/pacing/forecast.h"

#include <benchmark/benchmark.h>

namespace {

using namespace godwit::migration;

// A full timeline is the dear case: an event in the middle makes room.
void event(benchmark::State& state)
{
    const SteadyClock clock;
    Timeline timeline(Side::Source, 1, clock);
    for (std::int64_t i = 0; i < state.range(0); ++i)
        timeline.note(TimelineKind::Pass, "ram", i);
    std::int64_t n = 0;
    for (auto _ : state) {
        if (state.range(0) == 0 && ++n % 512 == 0) {
            state.PauseTiming();
            timeline.~Timeline();
            new (&timeline) Timeline(Side::Source, 1, clock);
            state.ResumeTiming();
        }
        timeline.note(TimelineKind::Pass, "0000:00:1f.0/ICH9LPC", n);
    }
}
BENCHMARK(event)->Arg(0)->Arg(2000);

void sample(benchmark::State& state)
{
    const SteadyClock clock;
    Timeline timeline(Side::Source, 1, clock);
    for (auto _ : state)
        timeline.sample({.time_ns = clock.now_ns()});
}
BENCHMARK(sample);

// A guest near the edge, so that many passes are played.
void verdict(benchmark::State& state)
{
    constexpr std::uint64_t mib = 1 << 20;
    Forecaster forecaster;
    forecaster.begin(0, 1024 * mib);
    std::int64_t now = 0;
    for (auto _ : state) {
        now += 100'000'000;
        forecaster.wire(100'000'000, 10 * mib, 500 * mib);
        forecaster.probe({(now / 100'000'000 % 15 + 1) * 100'000'000, 8 * mib});
        benchmark::DoNotOptimize(
            forecaster.judge_now(now, 500 * mib, {.downtime_ms = 10, .max_bandwidth = 0}));
    }
}
BENCHMARK(verdict);

}  // namespace

BENCHMARK_MAIN();
