// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/synth/synth_accel.h"

#include "accel/synth/page_content.h"
#include "accel/synth/synth_vcpu.h"
#include "system/property.h"
#include "system/vm.h"

#include <fmt/format.h>

namespace godwit::accel::synth {
namespace {

constexpr std::string_view kPatterns[] = {"sequential", "uniform", "hot-cold"};

}  // namespace

Result<void> SynthAccelerator::init(system::Vm& vm)
{
    vm_ = &vm;
    return {};
}

Result<system::RamBlock*> SynthAccelerator::find_block() const
{
    if (!block_id_.empty()) {
        system::RamBlock* block = vm_->ram().find(block_id_);
        if (block == nullptr)
            return Error(Errc::NotFound, fmt::format("synth: no RAM block '{}'", block_id_));
        if (!block->writable())
            return Error(Errc::InvalidArgument,
                         fmt::format("synth: RAM block '{}' is read-only", block_id_));
        return block;
    }
    for (system::RamBlock* block : vm_->ram().blocks())  // largest first
        if (block->migratable() && block->writable())
            return block;
    return Error(Errc::NotFound, "synth: the machine has no RAM, give it some with -m");
}

Result<WorkloadSpec> SynthAccelerator::make_spec(const system::RamBlock& block) const
{
    const std::uint64_t rest = start_ < block.used_length() ? block.used_length() - start_ : 0;
    const WorkloadSpec spec{.start = start_,
                            .working_set = working_set_ != 0 ? working_set_ : rest,
                            .rate = rate_,
                            .seed = seed_,
                            .pattern = pattern_,
                            .hot_pages = hot_pages_,
                            .hot_writes = hot_writes_,
                            .reads = reads_,
                            .burst_ms = burst_ms_,
                            .pause_ms = pause_ms_};
    GW_TRY(with_context(check(spec, block.used_length(), vm_->config().cpus), "synth"));
    return spec;
}

Result<std::unique_ptr<system::Vcpu>> SynthAccelerator::create_vcpu(unsigned index,
                                                                    std::string_view)
{
    if (ram_ == nullptr)
        ram_ = GW_TRY(find_block());
    const WorkloadSpec spec = GW_TRY(make_spec(*ram_));
    auto vcpu = std::make_unique<SynthVcpu>(*ram_, spec, index, vm_->config().cpus,
                                            GW_TRY(EventFd::create()));
    GW_TRY(vm_->types().adopt(*vcpu, "synth-x86_64-cpu"));
    return vcpu;
}

Result<void> register_synth_types(system::TypeRegistry& types)
{
    using A = SynthAccelerator;
    using system::property;
    using system::size_property;
    const std::uint64_t zero = 0;
    GW_TRY(types.add(
        {.name = "synth-accel",
         .parent = "accel",
         .description = "runs a memory workload that can be checked, and no guest code",
         .properties =
             {size_property<&A::working_set_>("working-set", zero,
                                              "bytes the workload touches (default: all RAM)"),
              size_property<&A::start_>("start", zero, "where it begins in the RAM block"),
              property<&A::block_id_>("block", "", "id of the RAM block (default: the largest)"),
              size_property<&A::rate_>("rate", zero,
                                       "bytes written a second by all vCPUs (default: unlimited)"),
              system::enum_property<&A::pattern_>("pattern", "SynthPattern", kPatterns,
                                                  std::string("uniform"), "order of the writes"),
              property<&A::hot_pages_>("hot-pages", 10u,
                                       "hot-cold: per cent of pages that are hot"),
              property<&A::hot_writes_>("hot-writes", 90u, "hot-cold: per cent of writes to them"),
              property<&A::reads_>("reads", 0u, "per cent of accesses that read and verify a page"),
              property<&A::seed_>("seed", 1u, "another seed, another order and other contents"),
              property<&A::burst_ms_>("burst", 0u, "milliseconds of writing, then"),
              property<&A::pause_ms_>("pause", 0u, "milliseconds of rest")},
         .create = [] { return std::make_unique<SynthAccelerator>(); }}));
    return types.add({.name = "synth-x86_64-cpu",
                      .parent = "x86_64-cpu",
                      .abstract_type = true,
                      .user_creatable = false,
                      .description = "a vCPU of -accel synth"});
}

}  // namespace godwit::accel::synth
