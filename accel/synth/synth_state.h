// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What `-accel synth` sends of a vCPU: the workload's definition and a few counters.
#pragma once

#include "accel/synth/workload.h"
#include "migration/stream/vmstate.h"

#include <cstdint>

namespace godwit::accel::synth {

/// Section `synth-cpu`, version 1, instance = CPU index. The definition travels, so that a guest
/// that moves goes on with what it was doing, whatever the destination's command line says.
struct SynthCpuState {
    // The definition.
    std::uint32_t vcpus = 1;
    std::uint64_t block_bytes = 0;  ///< length of the RAM block; must be the destination's
    std::uint64_t start = 0;
    std::uint64_t working_set = 0;
    std::uint64_t rate = 0;
    std::uint64_t seed = 1;
    Pattern pattern = Pattern::Uniform;
    std::uint8_t hot_pages = 10;
    std::uint8_t hot_writes = 90;
    std::uint8_t reads = 0;
    std::uint32_t burst_ms = 0;
    std::uint32_t pause_ms = 0;
    // The counters.
    bool started = false;        ///< the working set has been given to the workload
    std::uint64_t accesses = 0;  ///< everything that memory holds follows from this one
    std::uint64_t phase_ns = 0;  ///< where in the burst/pause cycle
    std::uint64_t wrong_reads = 0;
    std::uint64_t first_wrong_page = 0;  ///< of the block; meaningful when wrong_reads > 0

    WorkloadSpec spec() const;
    void set_spec(const WorkloadSpec& spec);
};

const migration::stream::VMStateOf<SynthCpuState>& synth_cpu_vmstate();

}  // namespace godwit::accel::synth
