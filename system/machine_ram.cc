// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/machine_ram.h"

#include "system/machine.h"
#include "system/memory_backend.h"
#include "system/vm.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::system {

namespace {

constexpr std::uint64_t kRamGranularity = 8192;  // QEMU rounds -m up to it

}  // namespace

Result<void> MachineRam::take_backend(Vm& vm, const std::string& id, bool numa)
{
    auto* backend = dynamic_cast<MemoryBackend*>(vm.find_object(id));
    if (!backend)
        return Error(Errc::NotFound, numa ? fmt::format("memdev={} is ambiguous", id)
                                          : fmt::format("Memory backend '{}' not found", id));
    if (backend->in_use())
        return Error(Errc::Busy,
                     fmt::format("memory backend {} can't be used multiple times.", id));
    backend->set_in_use(true);
    parts_.push_back({backend->block(), size_});
    size_ += backend->block()->used_length();
    return {};
}

Result<MachineRam> MachineRam::create(Vm& vm)
{
    VmConfig& config = vm.config();
    const MachineInfo& info = vm.machine()->info();
    MachineRam ram;
    if (!config.numa_nodes.empty()) {
        const bool named = std::ranges::any_of(
            config.numa_nodes, [](const NumaNode& node) { return !node.memdev.empty(); });
        if (named && !config.memory_backend.empty())
            return Error(Errc::InvalidArgument, "'-machine memory-backend' and '-numa memdev' "
                                                "properties are mutually exclusive");
        for (const NumaNode& node : config.numa_nodes) {
            if (!node.memdev.empty())
                GW_TRY(with_context(ram.take_backend(vm, node.memdev, true), node.option));
        }
        const std::uint64_t wanted =
            config.ram_bytes != 0 ? config.ram_bytes : info.default_ram_bytes;
        if (ram.size_ != wanted)
            return Error(Errc::InvalidArgument,
                         fmt::format("total memory for NUMA nodes ({:#x}) should equal RAM size "
                                     "({:#x})",
                                     ram.size_, wanted));
    } else if (!config.memory_backend.empty()) {
        GW_TRY(ram.take_backend(vm, config.memory_backend, false));
        if (config.ram_bytes != 0 && config.ram_bytes != ram.size_)
            return Error(Errc::InvalidArgument,
                         "Machine memory size does not match the size of the memory backend");
    } else {
        std::uint64_t bytes = config.ram_bytes != 0 ? config.ram_bytes : info.default_ram_bytes;
        if (bytes > ~std::uint64_t{0} - kRamGranularity)
            return Error(Errc::OutOfMemory, fmt::format("cannot set up guest memory '{}': Cannot "
                                                        "allocate memory",
                                                        info.default_ram_id));
        bytes = (bytes + kRamGranularity - 1) / kRamGranularity * kRamGranularity;
        if (bytes != 0) {
            RamBlock* block =
                GW_TRY(vm.ram().create({.id = info.default_ram_id, .used_length = bytes}));
            ram.parts_.push_back({block, 0});
            ram.size_ = bytes;
        }
    }
    config.ram_bytes = ram.size_;
    config.max_ram_bytes = std::max(config.max_ram_bytes, ram.size_);
    return ram;
}

void MachineRam::map(AddressSpace& memory, GuestAddr start, std::uint64_t offset,
                     std::uint64_t length, const std::string& name, int priority) const
{
    const AddressSpace::Transaction transaction(memory);
    for (const Part& part : parts_) {
        const std::uint64_t from = std::max(offset, part.offset);
        const std::uint64_t to = std::min(offset + length, part.offset + part.block->used_length());
        if (from >= to)
            continue;
        memory.add({.name = name,
                    .start = start + (from - offset),
                    .size = to - from,
                    .priority = priority,
                    .kind = part.block->writable() ? RegionKind::Ram : RegionKind::Rom,
                    .block = part.block,
                    .block_offset = from - part.offset});
    }
}

Result<RamBlock*> create_aux_ram(Vm& vm, std::string id, std::uint64_t used_length,
                                 std::uint64_t max_length)
{
    return vm.ram().create({.id = std::move(id),
                            .used_length = used_length,
                            .max_length = max_length,
                            .shared = vm.config().aux_ram_share});
}

}  // namespace godwit::system
