// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/synth/synth_state.h"

namespace godwit::accel::synth {
namespace {

namespace ms = migration::stream;
using S = SynthCpuState;

inline constexpr auto kSynthCpu = ms::vmstate<S>(
    "synth-cpu", {}, ms::field<&S::vcpus>("vcpus").in_range(1, 4096),
    ms::field<&S::block_bytes>("block_bytes").equal(), ms::field<&S::start>("start"),
    ms::field<&S::working_set>("working_set"), ms::field<&S::rate>("rate"),
    ms::field<&S::seed>("seed"), ms::field<&S::pattern>("pattern").in_range(0, 2),
    ms::field<&S::hot_pages>("hot_pages").in_range(1, 99),
    ms::field<&S::hot_writes>("hot_writes").in_range(0, 100),
    ms::field<&S::reads>("reads").in_range(0, 100), ms::field<&S::burst_ms>("burst_ms"),
    ms::field<&S::pause_ms>("pause_ms"), ms::field<&S::started>("started"),
    ms::field<&S::accesses>("accesses").in_range(0, kMaxAccesses),
    ms::field<&S::phase_ns>("phase_ns"), ms::field<&S::wrong_reads>("wrong_reads"),
    ms::field<&S::first_wrong_page>("first_wrong_page"));
static_assert(kSynthCpu.well_formed());

}  // namespace

WorkloadSpec SynthCpuState::spec() const
{
    return {.start = start,
            .working_set = working_set,
            .rate = rate,
            .seed = seed,
            .pattern = pattern,
            .hot_pages = hot_pages,
            .hot_writes = hot_writes,
            .reads = reads,
            .burst_ms = burst_ms,
            .pause_ms = pause_ms};
}

void SynthCpuState::set_spec(const WorkloadSpec& spec)
{
    start = spec.start;
    working_set = spec.working_set;
    rate = spec.rate;
    seed = spec.seed;
    pattern = spec.pattern;
    hot_pages = spec.hot_pages;
    hot_writes = spec.hot_writes;
    reads = spec.reads;
    burst_ms = spec.burst_ms;
    pause_ms = spec.pause_ms;
}

const ms::VMStateOf<SynthCpuState>& synth_cpu_vmstate()
{
    return kSynthCpu;
}

}  // namespace godwit::accel::synth
