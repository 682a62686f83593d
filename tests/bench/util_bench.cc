// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What an event in the flight recorder costs, and how fast channels move pages.
#include "io/memory_channel.h"
#include "io/socket.h"
#include "util/flight_recorder.h"

#include <benchmark/benchmark.h>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

using namespace godwit;

constexpr TraceEvent<std::uint64_t, std::uint64_t, std::string_view> kEvent{
    "bench_event", {"first", "second", "text"}};

FlightRecorder& shared_recorder()
{
    static FlightRecorder recorder;
    return recorder;
}

void record(benchmark::State& state)
{
    FlightRecorder& recorder = shared_recorder();
    std::uint64_t n = 0;
    for (auto _ : state)
        recorder.record(kEvent, n++, 7u, "some text");
}
BENCHMARK(record)->Threads(1)->Threads(2);

template <class T>
T need(Result<T> result)
{
    if (!result)
        std::abort();
    return std::move(*result);
}

// 256 pages a call, as the bulk pass of a migration sends them.
void move_pages(benchmark::State& state, io::Channel& writer, io::Channel& reader)
{
    constexpr std::size_t page = 4096;
    constexpr std::size_t pages = 256;
    std::vector<std::byte> from(page * pages);
    std::vector<iovec> pieces;
    for (std::size_t i = 0; i < pages; ++i)
        pieces.push_back({from.data() + i * page, page});
    std::jthread thread([&] {
        std::vector<std::byte> to(page * pages);
        while (need(reader.read_some(to)) > 0) {
        }
    });
    for (auto _ : state)
        if (!writer.writev_all(pieces))
            std::abort();
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * page * pages));
    if (!writer.shutdown(io::Shutdown::Write))
        std::abort();
}

void pages_over_a_socket(benchmark::State& state)
{
    auto [writer, reader] = need(io::socket_pair());
    move_pages(state, *writer, *reader);
}
BENCHMARK(pages_over_a_socket)->UseRealTime();

void pages_over_memory(benchmark::State& state)
{
    auto [writer, reader] = need(io::make_memory_channels());
    move_pages(state, *writer, *reader);
}
BENCHMARK(pages_over_memory)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
