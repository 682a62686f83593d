// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /guests/...: guests that run under KVM and the synthetic ones; both check their own memory.
#include "tests/qtest/libqtest/growing_file.h"
#include "tests/qtest/libqtest/vmm.h"

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

/// A KVM guest and what it says on its serial port.
class KvmGuest {
public:
    explicit KvmGuest(std::vector<std::string> args)
        : serial_(dir_.file("serial")), vmm_(with_serial(std::move(args)), {.accel = "kvm"})
    {}
    Vmm& vmm() { return vmm_; }
    GrowingFile& serial() { return serial_; }

private:
    std::vector<std::string> with_serial(std::vector<std::string> args)
    {
        args.insert(args.end(), {"-serial", "file:" + serial_.path()});
        return args;
    }
    TempDir dir_;
    GrowingFile serial_;
    Vmm vmm_;
};

std::vector<std::string> boot(std::string_view image)
{
    return {"-machine", "q35", "-m", "128", "-drive", "file=" + guest(image) + ",format=raw"};
}

/// Default range of memory_writer's hot pages.
std::uint32_t parameter(std::string_view image, std::size_t at)
{
    const std::string content = read_file(guest(image));
    std::uint32_t value = 0;
    std::memcpy(&value, content.data() + at, sizeof value);
    return value;
}

TEST(KvmGuests, AMemoryWriterRunsStopsGoesOnAndIsReset)
{
    GW_SKIP_WITHOUT_KVM();
    KvmGuest guest_vm(boot("memory_writer.img"));
    Vmm& vmm = guest_vm.vmm();
    ASSERT_TRUE(guest_vm.serial().until("ABB")) << vmm.story();
    vmm.qmp().execute("stop");
    vmm.qmp().wait_event("STOP");
    // Nothing moves now, and every hot page was written as often as its neighbour or once less.
    const std::uint32_t start = parameter("memory_writer.img", 502);
    const std::uint32_t end = parameter("memory_writer.img", 506);
    const std::uint32_t first = vmm.qtest().readl(start);
    std::uint32_t last = first;
    for (std::uint32_t page = start; page < end; page += 4096) {
        const std::uint32_t count = vmm.qtest().readl(page);
        EXPECT_LE(count, last);
        EXPECT_LE(first - count, 1u);
        EXPECT_EQ(vmm.qtest().readl(page + 8), page) << "the page's own address";
        last = count;
    }
    EXPECT_EQ(vmm.qtest().readl(start), first) << "a stopped guest writes nothing";
    guest_vm.serial().skip();
    vmm.qmp().execute("cont");
    EXPECT_TRUE(guest_vm.serial().until("BBB"));
    vmm.qmp().execute("system_reset");
    vmm.qmp().wait_event("RESET");
    EXPECT_TRUE(guest_vm.serial().until("A"));
    const auto after = guest_vm.serial().until("B");
    ASSERT_TRUE(after);
    EXPECT_EQ(after->find('X'), std::string::npos);
}

TEST(KvmGuests, AMemoryWriterRunsOnALargeDirtyRing)
{
    GW_SKIP_WITHOUT_KVM();
    const TempDir dir;
    GrowingFile serial(dir.file("serial"));
    std::vector<std::string> args = boot("memory_writer.img");
    args.insert(args.end(),
                {"-accel", "kvm,dirty-ring-size=65536", "-serial", "file:" + serial.path()});
    Vmm vmm(args, {.accel = ""});
    ASSERT_TRUE(serial.until("ABB")) << vmm.story();
    // A stop and the next start go through the vCPU's ring, too.
    vmm.qmp().execute("stop");
    serial.skip();
    vmm.qmp().execute("cont");
    EXPECT_TRUE(serial.until("BBB")) << vmm.story();
}

TEST(KvmGuests, ASleeperFindsItsMemoryAgain)
{
    GW_SKIP_WITHOUT_KVM();
    KvmGuest guest_vm(boot("sleeper.img"));
    Vmm& vmm = guest_vm.vmm();
    ASSERT_TRUE(guest_vm.serial().until("S"));
    for (int turn = 0; turn < 3; ++turn) {
        vmm.qmp().wait_event("SUSPEND");
        EXPECT_EQ(vmm.qmp().execute("query-status")["status"], "suspended");
        vmm.qmp().execute("system_wakeup");
        vmm.qmp().wait_event("WAKEUP");
        const auto said = guest_vm.serial().until("W");
        ASSERT_TRUE(said) << vmm.story();
        EXPECT_EQ(said->find('X'), std::string::npos) << *said;
    }
}

TEST(KvmGuests, AProberFindsEveryDeviceInOrder)
{
    GW_SKIP_WITHOUT_KVM();
    KvmGuest guest_vm(boot("prober.img"));
    const auto said = guest_vm.serial().until("PASS");
    ASSERT_TRUE(said) << guest_vm.serial().rest() << guest_vm.vmm().story();
    EXPECT_EQ(said->find("FAIL"), std::string::npos);
}

class KvmKernel : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(KvmKernel, IsToldItsCommandLineAndInitrd)
{
    GW_SKIP_WITHOUT_KVM();
    const TempDir dir;
    const std::string initrd = dir.write("initrd", "an initrd of a few bytes");
    KvmGuest guest_vm({"-machine", GetParam().first, "-m", "128", "-kernel",
                       guest(GetParam().second), "-initrd", initrd, "-append", "word=value last"});
    const auto said = guest_vm.serial().until("PASS");
    ASSERT_TRUE(said) << guest_vm.serial().rest() << guest_vm.vmm().story();
    EXPECT_NE(said->find("word=value last"), std::string::npos) << *said;
}

INSTANTIATE_TEST_SUITE_P(Machines, KvmKernel,
                         ::testing::Values(std::pair("q35", "pvh.elf"),
                                           std::pair("microvm", "pvh.elf")));

TEST(SynthGuests, RunStopGoOnAndAreResetWithEveryPageRight)
{
    Vmm vmm({"-machine", "none", "-m", "64", "-smp", "2"}, {.accel = "synth"});
    const auto check = [&] {
        const Json result = vmm.qmp().execute("x-synth-check");
        EXPECT_GT(result["pages-checked"], 0);
        EXPECT_EQ(result["pages-wrong"], 0) << dump_json(result);
    };
    const auto written = [&] {
        std::uint64_t pages = 0;
        for (const Json& cpu : vmm.qmp().execute("x-query-synth"))
            pages += cpu["pages-written"].get<std::uint64_t>();
        return pages;
    };
    const auto wait_progress = [&](std::uint64_t from) {
        const Deadline deadline;
        while (written() <= from && !deadline.passed())
            vmm.qmp().wait_activity(Deadline(std::chrono::milliseconds(10)));
        EXPECT_GT(written(), from);
    };
    wait_progress(0);
    vmm.qmp().execute("stop");
    const std::uint64_t stopped = written();
    check();
    EXPECT_EQ(written(), stopped) << "a stopped guest writes nothing";
    vmm.qmp().execute("cont");
    wait_progress(stopped);
    vmm.qmp().execute("stop");
    check();
    vmm.qmp().execute("system_reset");
    vmm.qmp().wait_event("RESET");
    vmm.qmp().execute("cont");
    wait_progress(0);
    vmm.qmp().execute("stop");
    check();
}

TEST(SynthGuests, SleepAndWakeWithTheirMemoryKept)
{
    constexpr std::uint16_t kPm1Control = 0x604;
    constexpr std::uint16_t kSleepS3 = 1 << 13 | 1 << 10;
    Vmm vmm({"-machine", "q35", "-m", "32"}, {.accel = "synth"});
    const auto written = [&] { return vmm.qmp().execute("x-query-synth")[0]["pages-written"]; };
    const Deadline deadline;
    while (written() == 0 && !deadline.passed())
        vmm.qmp().wait_activity(Deadline(std::chrono::milliseconds(10)));
    vmm.qtest().outw(kPm1Control, kSleepS3);
    vmm.qmp().wait_event("SUSPEND");
    EXPECT_EQ(vmm.qmp().execute("query-status")["status"], "suspended");
    const Json asleep = written();
    EXPECT_GT(asleep, 0);
    EXPECT_EQ(vmm.qmp().execute("x-synth-check")["pages-wrong"], 0);
    EXPECT_EQ(written(), asleep) << "a sleeping guest writes nothing";
    vmm.qmp().execute("system_wakeup");
    vmm.qmp().wait_event("WAKEUP");
    while (written() == asleep && !deadline.passed())
        vmm.qmp().wait_activity(Deadline(std::chrono::milliseconds(10)));
    EXPECT_NE(written(), asleep);
    vmm.qmp().execute("stop");
    const Json result = vmm.qmp().execute("x-synth-check");
    EXPECT_GT(result["pages-checked"], 0);
    EXPECT_EQ(result["pages-wrong"], 0) << dump_json(result);
}

TEST(SynthGuests, AWrongByteIsFound)
{
    Vmm vmm({"-machine", "none", "-m", "16"}, {.accel = "synth"});
    const Deadline deadline;
    while (vmm.qmp().execute("x-query-synth")[0]["pages-written"] == 0 && !deadline.passed())
        vmm.qmp().wait_activity(Deadline(std::chrono::milliseconds(10)));
    vmm.qmp().execute("stop");
    EXPECT_EQ(vmm.qmp().execute("x-synth-check")["pages-wrong"], 0);
    vmm.qtest().writeb(0x1234, static_cast<std::uint8_t>(vmm.qtest().readb(0x1234) ^ 1));
    const Json result = vmm.qmp().execute("x-synth-check");
    EXPECT_EQ(result["pages-wrong"], 1) << dump_json(result);
}

}  // namespace
}  // namespace godwit::qtest
