// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /machines/...: memory maps, memory options and device trees, without a guest.
#include "tests/qtest/libqtest/vmm.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <libfdt.h>

namespace godwit::qtest {
namespace {

constexpr std::uint64_t k4GiB = std::uint64_t{1} << 32;

TEST(Machines, RamIsWhereTheMachineHasIt)
{
    struct Case {
        const char* machine;
        const char* size;
        std::uint64_t last_below;
        std::uint64_t first_above;  // 0: none
    };
    for (const Case& c :
         {Case{"microvm", "5G", 0xbfffffff, k4GiB}, Case{"q35", "5G", 0x7fffffff, k4GiB},
          Case{"q35", "2G", 0x7fffffff, 0}, Case{"microvm", "40M", (40 << 20) - 1, 0}}) {
        Vmm vmm({"-machine", c.machine, "-m", c.size});
        vmm.qtest().writeb(c.last_below, 0x5a);
        EXPECT_EQ(vmm.qtest().readb(c.last_below), 0x5a) << c.machine;
        vmm.qtest().writeb(c.last_below + 1, 0x5a);
        EXPECT_NE(vmm.qtest().readb(c.last_below + 1), 0x5a) << c.machine << ": no RAM there";
        if (c.first_above == 0)
            continue;
        vmm.qtest().writeq(c.first_above, 0x1122334455667788);
        EXPECT_EQ(vmm.qtest().readq(c.first_above), 0x1122334455667788u);
    }
}

// The last first, as QEMU lists them; those that are there by their path.
TEST(Machines, PlacesForCpusAreListedWhereABoardHasThem)
{
    Vmm vmm({"-machine", "q35", "-smp", "2,maxcpus=4"});
    const Json places = vmm.qmp().execute("query-hotpluggable-cpus");
    ASSERT_EQ(places.size(), 4u);
    const Json type =
        vmm.qmp().execute("qom-get", {{"path", places[3]["qom-path"]}, {"property", "type"}});
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_EQ(places[i]["type"], type);
        EXPECT_EQ(places[i]["vcpus-count"], 1);
        EXPECT_EQ(places[i]["props"],
                  (Json{{"socket-id", 0}, {"core-id", 3 - i}, {"thread-id", 0}}));
        EXPECT_EQ(places[i].contains("qom-path"), i >= 2);
    }
    EXPECT_EQ(places[3]["qom-path"], vmm.qmp().execute("query-cpus-fast")[0]["qom-path"]);
    // Nothing is plugged there later, and query-machines does not promise it.
    for (const Json& machine : vmm.qmp().execute("query-machines"))
        EXPECT_EQ(machine["hotpluggable-cpus"], false);
    Vmm other({"-machine", "microvm"});
    EXPECT_EQ(other.qmp().error_of("query-hotpluggable-cpus"),
              "machine does not support hot-plugging CPUs");
}

TEST(Machines, BackEndsBecomeTheRamOfTheMachine)
{
    Vmm vmm(
        {"-machine", "none,memory-backend=m0", "-object", "memory-backend-memfd,id=m0,size=8M"});
    fill_pattern(vmm.qtest(), 0, 65536, 1);
    check_pattern(vmm.qtest(), 0, 65536, 1);
    const Json memdevs = vmm.qmp().execute("query-memdev");
    ASSERT_EQ(memdevs.size(), 1u);
    EXPECT_EQ(memdevs[0]["id"], "m0");
    EXPECT_EQ(memdevs[0]["share"], true);
    EXPECT_NE(vmm.qmp().error_of("object-del", {{"id", "m0"}}).find("in use"), std::string::npos);
}

// As libvirt asks for a domain without them.
TEST(Machines, WhatAQ35HasNotMayBeSwitchedOff)
{
    Vmm vmm({"-machine", "q35,acpi=off,smm=off,vmport=off,hpet=off,smbus=off,pit=on,pic=auto"});
    for (const char* name : {"acpi", "smm", "vmport"})
        EXPECT_EQ(vmm.qmp().execute("qom-get", {{"path", "/machine"}, {"property", name}}), "off");
}

TEST(Machines, NumaNodesAreRamOneBehindTheOther)
{
    Vmm vmm({"-machine", "q35", "-m", "16M", "-object", "memory-backend-ram,id=a,size=4M",
             "-object", "memory-backend-ram,id=b,size=12M", "-numa", "node,memdev=a", "-numa",
             "node,memdev=b"});
    fill_pattern(vmm.qtest(), (4 << 20) - 4096, 8192, 3);
    check_pattern(vmm.qtest(), (4 << 20) - 4096, 8192, 3);
    vmm.qtest().writeb(16 << 20, 0x5a);
    EXPECT_NE(vmm.qtest().readb(16 << 20), 0x5a) << "no RAM there";
}

TEST(Machines, MemoryOptionsThatDoNotFitAreRefusedByName)
{
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{"-machine", "none,memory-backend=x"}, "Memory backend 'x' not found"},
        {{"-machine", "none,memory-backend=m", "-object", "memory-backend-ram,id=m,size=1M", "-m",
          "2M"},
         "Machine memory size does not match the size of the memory backend"},
        {{"-machine", "none", "-object", "memory-backend-ram,id=m,size=0"},
         "property 'size' of memory-backend-ram doesn't take value '0'"},
        {{"-machine", "q35", "-object", "memory-backend-ram,id=m,size=1M", "-numa", "node,memdev=m",
          "-m", "2M"},
         "total memory for NUMA nodes (0x100000) should equal RAM size (0x200000)"},
        {{"-machine", "none", "-object", "memory-backend-ram,id=m,size=1M", "-numa",
          "node,memdev=m"},
         "NUMA is not supported by this machine-type"},
        {{"-machine", "microvm,acpi=on"}, "acpi=on is not supported"},
        {{"-machine", "q35", "-kernel", "/nonexistent/kernel"}, "/nonexistent/kernel"},
        {{"-machine", "q35", "-append", "x"}, "-append only allowed with -kernel option"},
        {{"-machine", "q35", "-bios", "/etc/passwd"}, "could not load PC BIOS '/etc/passwd'"},
    };
    for (const auto& [args, text] : cases) {
        std::vector<std::string> argv{binary(), "-accel", "qtest", "-display", "none"};
        argv.insert(argv.end(), args.begin(), args.end());
        const RunResult result = run_to_end(argv);
        EXPECT_EQ(result.status, ExitStatus{.code = 1}) << text;
        EXPECT_NE(result.err.find(text), std::string::npos) << result.err;
    }
}

class DeviceTree : public ::testing::TestWithParam<const char*> {};

TEST_P(DeviceTree, IsWrittenAndTheProgramEnds)
{
    const TempDir dir;
    const std::string path = dir.file("machine.dtb");
    const RunResult result =
        run_to_end({binary(), "-accel", "qtest", "-display", "none", "-nodefaults", "-m", "32M",
                    "-machine", fmt::format("{},dumpdtb={}", GetParam(), path)});
    EXPECT_EQ(result.status, ExitStatus{.code = 0}) << result.err;
    const std::string tree = read_file(path);
    ASSERT_GT(tree.size(), sizeof(fdt_header));
    const void* fdt = tree.data();
    ASSERT_EQ(fdt_check_full(fdt, tree.size()), 0);
    const int memory = fdt_path_offset(fdt, "/memory@0");
    ASSERT_GE(memory, 0);
    EXPECT_STREQ(static_cast<const char*>(fdt_getprop(fdt, memory, "device_type", nullptr)),
                 "memory");
    const bool none = std::string_view(GetParam()) == "none";
    EXPECT_EQ(fdt_path_offset(fdt, "/soc/ioapic@fec00000") >= 0, !none);
    EXPECT_EQ(fdt_path_offset(fdt, "/soc/virtio_mmio@feb00000") >= 0,
              std::string_view(GetParam()) == "microvm");
}

INSTANTIATE_TEST_SUITE_P(Machines, DeviceTree, ::testing::Values("none", "microvm", "q35"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace godwit::qtest
