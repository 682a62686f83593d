// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /devices/...: what a q35 has, through its registers.
#include "tests/qtest/libqtest/vmm.h"

#include <algorithm>
#include <gtest/gtest.h>

namespace godwit::qtest {
namespace {

constexpr std::uint16_t kCom1 = 0x3f8;

std::vector<std::string> q35(std::vector<std::string> more = {})
{
    more.insert(more.begin(), {"-machine", "q35", "-m", "16"});
    return more;
}

TEST(Uart, SendsBytesInOrderWithoutAnySetUp)
{
    const TempDir dir;
    const std::string file = dir.file("serial");
    Vmm vmm(q35({"-serial", "file:" + file}));
    for (const char c : std::string_view("hello"))
        vmm.qtest().outb(kCom1, static_cast<std::uint8_t>(c));
    EXPECT_EQ(read_file(file), "hello");
    EXPECT_EQ(vmm.qtest().inb(kCom1 + 5) & 0x60, 0x60) << "transmitter empty";
}

TEST(Uart, TheScratchRegisterAndTheDivisorReadBack)
{
    Vmm vmm(q35({"-serial", "null"}));
    QtestClient& qtest = vmm.qtest();
    qtest.outb(kCom1 + 7, 0xa5);
    EXPECT_EQ(qtest.inb(kCom1 + 7), 0xa5);
    qtest.outb(kCom1 + 3, 0x80);
    qtest.outb(kCom1, 0x34);
    qtest.outb(kCom1 + 1, 0x12);
    EXPECT_EQ(qtest.inb(kCom1), 0x34);
    EXPECT_EQ(qtest.inb(kCom1 + 1), 0x12);
    qtest.outb(kCom1 + 3, 0x03);
}

TEST(Uart, LoopsBackWhenToldTo)
{
    Vmm vmm(q35({"-serial", "null"}));
    QtestClient& qtest = vmm.qtest();
    qtest.outb(kCom1 + 4, 0x10);
    qtest.outb(kCom1, 0x42);
    qtest.clock_step(1'000'000'000);
    EXPECT_EQ(qtest.inb(kCom1 + 5) & 1, 1) << "data ready";
    EXPECT_EQ(qtest.inb(kCom1), 0x42);
}

TEST(Rtc, TellsTheTimeAndKeepsItsMemory)
{
    Vmm vmm(q35());
    QtestClient& qtest = vmm.qtest();
    const auto read = [&](std::uint8_t index) {
        qtest.outb(0x70, index);
        return qtest.inb(0x71);
    };
    EXPECT_EQ(read(0x0d) & 0x80, 0x80) << "valid RAM and time";
    const std::uint8_t month = read(8);
    EXPECT_GE(month, 1);
    EXPECT_LE(month, 0x12) << "binary coded decimal";
    qtest.outb(0x70, 0x50);
    qtest.outb(0x71, 0x77);
    EXPECT_EQ(read(0x50), 0x77);
}

TEST(FwCfg, HasItsSignatureAndADirectory)
{
    Vmm vmm(q35());
    QtestClient& qtest = vmm.qtest();
    qtest.outw(0x510, 0);
    std::string signature;
    for (int i = 0; i < 4; ++i)
        signature += static_cast<char>(qtest.inb(0x511));
    EXPECT_EQ(signature, "QEMU");
    qtest.outw(0x510, 0x19);
    std::uint32_t files = 0;
    for (int i = 0; i < 4; ++i)
        files = files << 8 | qtest.inb(0x511);
    EXPECT_LT(files, 128u);
}

TEST(Pci, BothConfigurationMechanismsSeeTheSameDevices)
{
    Vmm vmm(q35());
    QtestClient& qtest = vmm.qtest();
    const auto config = [&](unsigned device, unsigned function, unsigned reg) {
        qtest.outl(0xcf8, 0x80000000u | device << 11 | function << 8 | reg);
        return qtest.inl(0xcfc);
    };
    EXPECT_EQ(config(0, 0, 0), 0x29c08086u) << "host bridge";
    EXPECT_EQ(config(31, 0, 0), 0x29188086u) << "ISA bridge";
    EXPECT_EQ(config(5, 0, 0), 0xffffffffu) << "an empty slot";
    // PCIEXBAR: 0xb0000000, 256 MiB, enabled; what firmware does.
    qtest.outl(0xcf8, 0x80000000u | 0x60);
    qtest.outl(0xcfc, 0xb0000001u);
    EXPECT_EQ(qtest.readl(0xb0000000), 0x29c08086u);
    EXPECT_EQ(qtest.readl(0xb0000000 + (31u << 15)), 0x29188086u);
}

TEST(Port92, ReadsBackAndBitZeroResets)
{
    Vmm vmm(q35());
    vmm.qtest().outb(0x92, 0x02);
    EXPECT_EQ(vmm.qtest().inb(0x92), 0x02);
    vmm.qtest().outb(0x92, 0x03);
    const Json data = vmm.qmp().wait_event("RESET")["data"];
    EXPECT_EQ(data["guest"], true);
    EXPECT_EQ(data["reason"], "guest-reset");
    EXPECT_EQ(vmm.qtest().inb(0x92) & 1, 0);
}

/// PM1a of the PM block at 0x600.
constexpr std::uint16_t kPm1Status = 0x600;
constexpr std::uint16_t kPm1Control = 0x604;
constexpr std::uint16_t sleep_type(unsigned type)
{
    return static_cast<std::uint16_t>(1u << 13 | type << 10);
}

TEST(Power, SuspendKeepsMemoryAndWakesUp)
{
    Vmm vmm(q35());
    fill_pattern(vmm.qtest(), 0x100000, 0x100000, 5);
    EXPECT_EQ(vmm.qmp().error_of("system_wakeup"),
              "Unable to wake up: guest is not in suspended state");
    EXPECT_EQ(vmm.qmp().execute("query-current-machine")["wakeup-suspend-support"], true);
    vmm.qtest().outw(kPm1Control, sleep_type(1));
    vmm.qmp().wait_event("SUSPEND");
    EXPECT_EQ(vmm.qmp().execute("query-status")["status"], "suspended");
    check_pattern(vmm.qtest(), 0x100000, 0x100000, 5);
    vmm.qmp().execute("system_wakeup");
    vmm.qmp().wait_event("WAKEUP");
    EXPECT_EQ(vmm.qmp().execute("query-status")["status"], "running");
    check_pattern(vmm.qtest(), 0x100000, 0x100000, 5);
    EXPECT_EQ(vmm.qtest().inw(kPm1Status) & 0x8000, 0x8000) << "wake status";
}

TEST(Power, StopRemembersThatTheGuestSleeps)
{
    Vmm vmm(q35());
    vmm.qtest().outw(kPm1Control, sleep_type(1));
    vmm.qmp().wait_event("SUSPEND");
    vmm.qmp().execute("stop");
    vmm.qmp().wait_event("STOP");
    EXPECT_EQ(vmm.qmp().execute("query-status")["status"], "paused");
    vmm.qmp().execute("cont");
    vmm.qmp().wait_event("RESUME");
    EXPECT_EQ(vmm.qmp().execute("query-status")["status"], "suspended");
}

TEST(Power, ResetKeepsMemory)
{
    Vmm vmm(q35());
    fill_pattern(vmm.qtest(), 0x200000, 0x10000, 9);
    vmm.qmp().execute("system_reset");
    EXPECT_EQ(vmm.qmp().wait_event("RESET")["data"]["reason"], "host-qmp-system-reset");
    check_pattern(vmm.qtest(), 0x200000, 0x10000, 9);
}

TEST(Power, TheGuestTurnsItselfOff)
{
    Vmm vmm(q35());
    vmm.qtest().outw(kPm1Control, sleep_type(0));
    EXPECT_EQ(vmm.qmp().wait_event("SHUTDOWN")["data"]["reason"], "guest-shutdown");
    EXPECT_EQ(vmm.wait_exit()->code, 0);
}

TEST(Power, TheButtonIsAnEvent)
{
    Vmm vmm(q35());
    vmm.qmp().execute("system_powerdown");
    vmm.qmp().wait_event("POWERDOWN");
}

TEST(Devices, ComeAndGoByName)
{
    Vmm vmm({"-machine", "none"});
    EXPECT_EQ(vmm.qmp().error_of("device_add", {{"driver", "no-such-device"}}),
              "'no-such-device' is not a valid device model name");
    EXPECT_EQ(vmm.qmp().error_of("device_del", {{"id", "nobody"}}), "Device 'nobody' not found");
    vmm.qmp().execute("object-add",
                      {{"qom-type", "memory-backend-ram"}, {"id", "m0"}, {"size", 4096}});
    EXPECT_EQ(vmm.qmp().execute("qom-get", {{"path", "/objects/m0"}, {"property", "size"}}), 4096);
    vmm.qmp().execute("object-del", {{"id", "m0"}});
}

}  // namespace
}  // namespace godwit::qtest
