// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/cpu_topology.h"

#include "system/vm.h"

#include <algorithm>
#include <fmt/format.h>
#include <optional>

namespace godwit::system {

namespace {

using Assigned = std::vector<std::optional<unsigned>>;

Result<void> assign_range(Assigned& assigned, unsigned node, std::pair<unsigned, unsigned> range)
{
    for (unsigned cpu = range.first; cpu <= range.second; ++cpu) {
        if (cpu >= assigned.size())
            return Error(Errc::InvalidArgument,
                         fmt::format("CPU index ({}) should be smaller than maxcpus ({})", cpu,
                                     assigned.size()));
        if (assigned[cpu] && *assigned[cpu] != node)
            return Error(Errc::InvalidArgument,
                         fmt::format("CPU is already assigned to node-id: {}", *assigned[cpu]));
        assigned[cpu] = node;
    }
    return {};
}

}  // namespace

Result<std::vector<std::string>> assign_cpus_to_nodes(VmConfig& config)
{
    config.cpu_nodes.clear();
    std::vector<std::string> warnings;
    if (config.numa_nodes.empty())
        return warnings;
    Assigned assigned(config.max_cpus);
    for (unsigned node = 0; node < config.numa_nodes.size(); ++node) {
        for (const auto& range : config.numa_nodes[node].cpus)
            GW_TRY(
                with_context(assign_range(assigned, node, range), config.numa_nodes[node].option));
    }
    const bool named = std::ranges::any_of(assigned, [](const auto& node) { return !!node; });
    std::string missing;
    for (unsigned cpu = 0; cpu < config.max_cpus; ++cpu) {
        const qapi::CpuInstanceProperties place = cpu_place(config, cpu);
        const auto nodes = static_cast<unsigned>(config.numa_nodes.size());
        const auto socket = static_cast<unsigned>(place.socket_id.value_or(0));
        if (named && !assigned[cpu])
            missing += fmt::format("{}CPU {} [socket-id: {}, core-id: {}, thread-id: {}]",
                                   missing.empty() ? "" : ", ", cpu, socket,
                                   place.core_id.value_or(0), place.thread_id.value_or(0));
        assigned[cpu] = assigned[cpu].value_or(named ? 0 : socket % nodes);
    }
    if (!missing.empty())
        warnings = {"CPU(s) not present in any NUMA nodes: " + missing,
                    "All CPU(s) up to maxcpus should be described in NUMA config"};
    for (const auto& node : assigned)
        config.cpu_nodes.push_back(*node);
    return warnings;
}

qapi::CpuInstanceProperties cpu_place(const VmConfig& config, unsigned index)
{
    const unsigned core = index / config.threads;
    qapi::CpuInstanceProperties place;
    if (index < config.cpu_nodes.size())
        place.node_id = config.cpu_nodes[index];
    place.socket_id = core / (config.cores * config.dies);
    if (config.dies > 1)
        place.die_id = core / config.cores % config.dies;
    place.core_id = core % config.cores;
    place.thread_id = index % config.threads;
    return place;
}

}  // namespace godwit::system
