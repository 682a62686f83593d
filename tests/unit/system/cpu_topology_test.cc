// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/cpu_topology.h"
#include "system/vm.h"

#include <gtest/gtest.h>

namespace godwit::system {
namespace {

/// Two sockets of two cores with two threads.
VmConfig eight_cpus()
{
    VmConfig config;
    config.cpus = config.max_cpus = 8;
    config.sockets = config.cores = config.threads = 2;
    return config;
}

NumaNode node(std::vector<std::pair<unsigned, unsigned>> cpus = {})
{
    return {.option = "-numa node", .memdev = {}, .cpus = std::move(cpus)};
}

TEST(CpuTopology, CountsThreadsThenCoresThenSockets)
{
    const VmConfig config = eight_cpus();
    const qapi::CpuInstanceProperties place = cpu_place(config, 5);
    EXPECT_EQ(place.socket_id, 1);
    EXPECT_EQ(place.core_id, 0);
    EXPECT_EQ(place.thread_id, 1);
    EXPECT_FALSE(place.die_id);
    EXPECT_FALSE(place.node_id);
}

TEST(CpuTopology, NamesDiesOnlyWhereThereAreSeveral)
{
    VmConfig config;
    config.max_cpus = 8;
    config.sockets = config.dies = config.cores = 2;
    const qapi::CpuInstanceProperties place = cpu_place(config, 6);
    EXPECT_EQ(place.socket_id, 1);
    EXPECT_EQ(place.die_id, 1);
    EXPECT_EQ(place.core_id, 0);
}

TEST(CpuTopology, NodesFollowSocketsWhenNobodySays)
{
    VmConfig config = eight_cpus();
    config.numa_nodes = {node(), node()};
    EXPECT_EQ(assign_cpus_to_nodes(config).value(), std::vector<std::string>{});
    EXPECT_EQ(config.cpu_nodes, (std::vector<unsigned>{0, 0, 0, 0, 1, 1, 1, 1}));
    EXPECT_EQ(cpu_place(config, 7).node_id, 1);
}

TEST(CpuTopology, CpusOfNoNodeGoToTheFirstWithAWarning)
{
    VmConfig config = eight_cpus();
    config.numa_nodes = {node({{0, 1}}), node({{3, 5}, {7, 7}})};
    const auto warnings = assign_cpus_to_nodes(config);
    ASSERT_TRUE(warnings);
    EXPECT_EQ(config.cpu_nodes, (std::vector<unsigned>{0, 0, 0, 1, 1, 1, 0, 1}));
    ASSERT_EQ(warnings->size(), 2u);
    EXPECT_EQ(warnings->front(),
              "CPU(s) not present in any NUMA nodes: CPU 2 [socket-id: 0, core-id: 1, thread-id: "
              "0], CPU 6 [socket-id: 1, core-id: 1, thread-id: 0]");
}

TEST(CpuTopology, RefusesWhatCannotBe)
{
    VmConfig config = eight_cpus();
    config.numa_nodes = {node({{0, 8}})};
    EXPECT_EQ(assign_cpus_to_nodes(config).error().message(),
              "-numa node: CPU index (8) should be smaller than maxcpus (8)");
    config.numa_nodes = {node({{0, 3}}), node({{3, 3}})};
    EXPECT_EQ(assign_cpus_to_nodes(config).error().message(),
              "-numa node: CPU is already assigned to node-id: 0");
}

}  // namespace
}  // namespace godwit::system
