// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /qtest/...: the protocol against a machine with memory and ports.
#include "tests/qtest/libqtest/vmm.h"

#include <chrono>
#include <gtest/gtest.h>

namespace godwit::qtest {
namespace {

const std::vector<std::string> kSmall = {"-machine", "q35", "-m", "16"};

TEST(QtestMemory, EveryWidthReadsBackWhatItWrote)
{
    Vmm vmm(kSmall);
    QtestClient& qtest = vmm.qtest();
    qtest.writeb(0x1000, 0x5a);
    qtest.writew(0x1002, 0x1234);
    qtest.writel(0x1004, 0x89abcdef);
    qtest.writeq(0x1008, 0x0123456789abcdef);
    EXPECT_EQ(qtest.readb(0x1000), 0x5a);
    EXPECT_EQ(qtest.readw(0x1002), 0x1234);
    EXPECT_EQ(qtest.readl(0x1004), 0x89abcdefu);
    EXPECT_EQ(qtest.readq(0x1008), 0x0123456789abcdefu);
    EXPECT_EQ(qtest.readb(0x1008), 0xef) << "little-endian";
}

TEST(QtestMemory, BlocksOfBytesSurviveAndPatternsAreChecked)
{
    Vmm vmm(kSmall);
    fill_pattern(vmm.qtest(), 0x100000, 3 << 20, 7);
    check_pattern(vmm.qtest(), 0x100000, 3 << 20, 7);
    vmm.qtest().memset(0x200000, 0x1000, 0x11);
    EXPECT_EQ(vmm.qtest().read(0x200ffe, 2), std::vector<std::byte>(2, std::byte{0x11}));
    check_pattern(vmm.qtest(), 0x201000, 0x1000, 7);
}

TEST(QtestMemory, TextAndHexadecimalFormsAgree)
{
    Vmm vmm(kSmall);
    EXPECT_EQ(vmm.qtest().ask("write 0x1000 4 0x0102"), "OK");
    EXPECT_EQ(vmm.qtest().ask("read 0x1000 4"), "OK 0x01020000");
    EXPECT_EQ(vmm.qtest().ask("b64read 0x1000 4"), "OK AQIAAA==");
    EXPECT_EQ(vmm.qtest().ask("read 0x100000000000 4"), "OK 0x00000000");
}

TEST(QtestMemory, TensOfThousandsOfReadsTakeSeconds)
{
    Vmm vmm(kSmall);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 20'000; ++i)
        vmm.qtest().readb(0x100000 + static_cast<std::uint64_t>(i));
    EXPECT_LT(std::chrono::steady_clock::now() - start, patience() / 3);
}

TEST(QtestPorts, APortNobodyHasReadsOnes)
{
    Vmm vmm(kSmall);
    EXPECT_EQ(vmm.qtest().inb(0x2f0), 0xff);
    EXPECT_EQ(vmm.qtest().inl(0x2f0), 0xffffffffu);
    EXPECT_EQ(vmm.qtest().ask("inb 0x2f0"), "OK 0x00ff");
    vmm.qtest().outb(0x2f0, 1);
}

TEST(QtestClock, MovesOnlyWhenTheClientSaysSo)
{
    Vmm vmm({"-machine", "none"});
    EXPECT_EQ(vmm.qtest().clock_step(1'000'000), 1'000'000);
    EXPECT_EQ(vmm.qtest().clock_step(0), 1'000'000);
    EXPECT_EQ(vmm.qtest().clock_set(5'000'000), 5'000'000);
}

TEST(QtestProtocol, SenselessLinesAreAnsweredInOneLineAndHarmNothing)
{
    Vmm vmm(kSmall);
    for (const char* line : {"", "readb", "readb zz", "read 0 0", "write 0", "write 0 2 0xzz",
                             "memset 0 0xffffffffffffffff 0", "irq_intercept_in nobody",
                             "set_irq_in /machine x 1 1", "clock_step x", "no-such-command 1 2"}) {
        const std::string answer = vmm.qtest().ask(line);
        EXPECT_TRUE(answer.starts_with("ERR") || answer.starts_with("FAIL")) << line << answer;
    }
    vmm.qtest().ok("endianness");
}

TEST(QtestProtocol, TheGuestLivesOnWhenItsClientLeaves)
{
    Vmm vmm(kSmall);
    vmm.qtest().close();
    EXPECT_EQ(vmm.qmp().execute("query-status")["status"], "running");
}

TEST(QtestProtocol, WorksWithoutTheQtestAcceleratorToo)
{
    Vmm vmm({"-machine", "none", "-accel", "synth", "-m", "16"});
    EXPECT_EQ(vmm.qtest().ask("clock_step"), "FAIL Unknown command 'clock_step'");
    vmm.qtest().ok("endianness");
}

TEST(QtestLog, HoldsTheTrafficOfBothDirections)
{
    const TempDir dir;
    const std::string log = dir.file("log");
    {
        Vmm vmm({"-machine", "none", "-qtest-log", log});
        vmm.qtest().ask("nonsense");
    }
    const std::string text = read_file(log);
    EXPECT_NE(text.find("] endianness\n"), std::string::npos) << text;
    EXPECT_NE(text.find("] FAIL Unknown command 'nonsense'\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace godwit::qtest
