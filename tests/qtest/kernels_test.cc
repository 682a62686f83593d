// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /machines/kernels: -kernel and -bios on every machine that starts them, over stop and reset.
#include "tests/qtest/libqtest/growing_file.h"
#include "tests/qtest/libqtest/vmm.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>

namespace godwit::qtest {
namespace {

std::string guest(std::string_view name)
{
    const char* directory = std::getenv("GODWIT_GUESTS");
    return std::string(directory ? directory : "tests/guests") + "/" + std::string(name);
}

class Kernel : public ::testing::TestWithParam<const char*> {
protected:
    std::vector<std::string> machine(std::vector<std::string> more) const
    {
        std::vector<std::string> args{"-machine", GetParam(), "-m",
                                      "64",       "-serial",  "file:" + serial_.path()};
        args.insert(args.end(), more.begin(), more.end());
        return args;
    }
    TempDir dir_;
    GrowingFile serial_{dir_.file("serial")};
};

TEST_P(Kernel, WithPvhEntryIsGivenTheMemoryMap)
{
    GW_SKIP_WITHOUT_KVM();
    Vmm vmm(machine({"-kernel", guest("pvh.elf"), "-initrd", dir_.write("initrd", "hello initrd"),
                     "-append", "console=none answer=42"}),
            {.accel = "kvm"});
    const auto text = serial_.until("PASS\n");
    ASSERT_TRUE(text) << serial_.rest() << vmm.story();
    EXPECT_NE(text->find("cmdline: console=none answer=42\n"), std::string::npos) << *text;
    EXPECT_NE(text->find("module: 0000000c hello initrd\n"), std::string::npos) << *text;
    EXPECT_NE(text->find("memory: 0000000000100000 0000000003f00000 00000001\n"), std::string::npos)
        << *text;
}

TEST_P(Kernel, OfLinuxFormStartsAtItsSixtyFourBitEntry)
{
    GW_SKIP_WITHOUT_KVM();
    Vmm vmm(machine({"-kernel", guest("linux64.bin"), "-initrd", dir_.write("initrd", "hello"),
                     "-append", "quiet"}),
            {.accel = "kvm"});
    const auto text = serial_.until("PASS\n");
    ASSERT_TRUE(text) << serial_.rest() << vmm.story();
    EXPECT_NE(text->find("cmdline: quiet\n"), std::string::npos) << *text;
    EXPECT_NE(text->find("initrd: 00000005 hello\n"), std::string::npos) << *text;
}

TEST_P(Kernel, StartsAgainAfterAResetWithSeveralVcpus)
{
    GW_SKIP_WITHOUT_KVM();
    Vmm vmm(machine({"-smp", "3", "-kernel", guest("pvh.elf")}), {.accel = "kvm"});
    ASSERT_TRUE(serial_.until("PASS\n")) << serial_.rest() << vmm.story();
    EXPECT_EQ(vmm.qmp().execute("query-cpus-fast").size(), 3u);
    for (int round = 0; round < 3; ++round) {
        vmm.qmp().execute("system_reset");
        ASSERT_TRUE(serial_.until("PASS\n")) << serial_.rest() << vmm.story();
    }
}

TEST_P(Kernel, AsFirmwareStopsContinuesAndStartsAgain)
{
    GW_SKIP_WITHOUT_KVM();
    // The firmware guest's range is at bytes 65496 and 65500 of its image.
    std::string image = read_file(guest("firmware.bin"));
    ASSERT_EQ(image.size(), 65536u);
    const std::uint32_t range[] = {0x100000, 0x300000};
    std::memcpy(image.data() + 65496, range, sizeof range);
    Vmm vmm(machine({"-bios", dir_.write("firmware.bin", image)}), {.accel = "kvm"});
    ASSERT_TRUE(serial_.until("ABB")) << serial_.rest() << vmm.story();
    vmm.qmp().execute("stop");
    const std::uint64_t stopped = vmm.qtest().readq(0x100000);
    serial_.skip();
    EXPECT_EQ(vmm.qtest().readq(0x100000), stopped);
    EXPECT_EQ(serial_.rest(), "") << "a stopped guest says nothing";
    vmm.qmp().execute("cont");
    ASSERT_TRUE(serial_.until("BBB")) << serial_.rest() << vmm.story();
    vmm.qmp().execute("system_reset");
    const auto again = serial_.until("ABB");
    ASSERT_TRUE(again) << serial_.rest() << vmm.story();
    EXPECT_EQ(again->find('X'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Machines, Kernel, ::testing::Values("microvm", "q35"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace godwit::qtest
