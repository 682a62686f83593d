// SPDX-License-Identifier: LGPL-2.1-or-later
//
// -accel synth. User's guide: docs/user/synth.md.
#pragma once

#include "accel/synth/workload.h"
#include "system/accelerator.h"

#include <string>

namespace godwit::system {
class RamBlock;
class TypeRegistry;
}  // namespace godwit::system

namespace godwit::accel::synth {

/// Properties: working-set, start, block, rate, pattern, hot-pages, hot-writes, reads, seed, burst,
/// pause.
class SynthAccelerator : public system::Accelerator {
public:
    std::string_view name() const noexcept override { return "synth"; }
    bool runs_guest_code() const noexcept override { return false; }
    Result<void> init(system::Vm& vm) override;
    Result<void> prepare(const system::AcceleratorNeeds&) override { return {}; }
    Result<std::unique_ptr<system::Vcpu>> create_vcpu(unsigned index,
                                                      std::string_view model) override;
    bool wants_vcpus_on_none() const noexcept override { return true; }

    /// The memory the workload runs in; null before the first vCPU.
    system::RamBlock* block() const noexcept { return ram_; }

    // Set as properties.
    std::uint64_t start_ = 0;
    std::uint64_t working_set_ = 0;  ///< 0 = all RAM from `start` on
    std::uint64_t rate_ = 0;
    std::uint64_t seed_ = 1;
    Pattern pattern_ = Pattern::Uniform;
    std::uint8_t hot_pages_ = 10;
    std::uint8_t hot_writes_ = 90;
    std::uint8_t reads_ = 0;
    std::uint32_t burst_ms_ = 0;
    std::uint32_t pause_ms_ = 0;
    std::string block_id_;  ///< "" = the largest migratable one

private:
    Result<system::RamBlock*> find_block() const;
    Result<WorkloadSpec> make_spec(const system::RamBlock& block) const;

    system::Vm* vm_ = nullptr;
    system::RamBlock* ram_ = nullptr;
};

Result<void> register_synth_types(system::TypeRegistry& types);

}  // namespace godwit::accel::synth
