// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How fast one core runs the workload of `-accel synth`: bytes of guest memory written a second,
// page choice, content and dirty mark included.
#include "accel/synth/page_content.h"
#include "accel/synth/workload.h"
#include "util/mapping.h"
#include "util/units.h"

#include <atomic>
#include <benchmark/benchmark.h>
#include <vector>

namespace {

using namespace godwit;
using namespace godwit::accel::synth;

Mapping touched_memory(std::uint64_t bytes)
{
    auto memory = Mapping::anonymous(bytes);
    if (!memory)
        std::abort();
    for (std::uint64_t offset = 0; offset < bytes; offset += kPageBytes)
        memory->data()[offset] = std::byte{1};
    return std::move(*memory);
}

void write_pages(benchmark::State& state, Pattern pattern)
{
    WorkloadSpec spec;
    spec.working_set = static_cast<std::uint64_t>(state.range(0)) * kMiB;
    spec.pattern = pattern;
    const Mapping memory = touched_memory(spec.working_set);
    const VcpuWorkload work(spec, 0, 1);
    std::vector<std::atomic<std::uint64_t>> dirty(spec.working_set / kPageBytes / 64 + 1);
    std::uint64_t accesses = 0;
    for (auto _ : state) {
        const Access access = work.access(accesses++);
        fill_page(memory.data() + access.page * kPageBytes,
                  page_base(work.seed(), access.page, access.generation));
        dirty[access.page / 64].fetch_or(std::uint64_t{1} << (access.page % 64),
                                         std::memory_order_release);
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kPageBytes));
}

void check_pages(benchmark::State& state)
{
    WorkloadSpec spec;
    spec.working_set = static_cast<std::uint64_t>(state.range(0)) * kMiB;
    const Mapping memory = touched_memory(spec.working_set);
    const VcpuWorkload work(spec, 0, 1);
    const std::uint64_t accesses = work.pages() * 3 / 2;
    for (std::uint64_t a = 0; a < accesses; ++a) {
        const Access access = work.access(a);
        fill_page(memory.data() + access.page * kPageBytes,
                  page_base(work.seed(), access.page, access.generation));
    }
    std::uint64_t page = 0;
    for (auto _ : state) {
        const std::uint64_t base = page_base(work.seed(), page, work.generation(page, accesses));
        if (first_wrong_word(memory.data() + page * kPageBytes, base))
            state.SkipWithError("a page is wrong");
        page = (page + 1) % work.pages();
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kPageBytes));
}

BENCHMARK_CAPTURE(write_pages, sequential, Pattern::Sequential)->Arg(1)->Arg(64)->Arg(1024);
BENCHMARK_CAPTURE(write_pages, uniform, Pattern::Uniform)->Arg(1)->Arg(64)->Arg(1024);
BENCHMARK_CAPTURE(write_pages, hot_cold, Pattern::HotCold)->Arg(64)->Arg(1024);
BENCHMARK(check_pages)->Arg(64)->Arg(1024);

}  // namespace

BENCHMARK_MAIN();
