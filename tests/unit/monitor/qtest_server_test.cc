// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor_fixture.h"

namespace godwit::monitor {
namespace {

class QtestServerTest : public MonitorFixture {
protected:
    void SetUp() override
    {
        MonitorFixture::SetUp();
        auto block = vm_->ram().create({.id = "ram", .used_length = 1 << 20});
        ASSERT_TRUE(block);
        system::MachineGuardIfNeeded guard(vm_->lock());
        system::AddressSpace::Transaction change(vm_->memory());
        vm_->memory().add(
            {.name = "ram", .size = 1 << 20, .kind = system::RegionKind::Ram, .block = *block});
    }
};

TEST_F(QtestServerTest, AnswersAsTheProtocolSays)
{
    Client client = qtest();
    const std::vector<std::pair<std::string, std::string>> talk = {
        {"endianness", "OK little"},
        {"foo bar", "FAIL Unknown command 'foo'"},
        {"ENDIANNESS", "FAIL Unknown command 'ENDIANNESS'"},
        {"inb 0x80", "OK 0x00ff"},
        {"inw 0x80", "OK 0xffff"},
        {"inl 0x80", "OK 0xffffffff"},
        {"outb 0x80 1", "OK"},
        {"readb 0", "OK 0x0000000000000000"},
        {"writeb 0 0x1ff", "OK"},
        {"readb 0", "OK 0x00000000000000ff"},
        {"writeq 8 0x1122334455667788", "OK"},
        {"read 0 16", "OK 0xff000000000000008877665544332211"},
        {"write 0 4 0x0102", "OK"},
        {"read 0 4", "OK 0x01020000"},
        {"write 0 2 0x", "ERR invalid argument size"},
        {"write 0 2 01", "ERR invalid argument size"},
        {"write 0 2 0x01020304", "OK"},
        {"read 0 4", "OK 0x01020000"},
        {"b64read 0 4", "OK AQIAAA=="},
        {"b64write 0 2 AQIDBA==", "OK"},
        {"b64write 0 4 !!", "ERR invalid argument size"},
        {"memset 0 0 1", "OK"},
        {"memset 0 4 0xab", "OK"},
        {"read 0 5", "OK 0xabababab00"},
        {"read 0x100000000000 4", "OK 0x00000000"},
        {"readl 0x100000000000", "OK 0x0000000000000000"},
        {"memset 0xfff00 0x100000000 0x11", "OK"},
        {"readb 0xfffff", "OK 0x0000000000000011"},
        {"irq_intercept_in foo", "FAIL Unknown device 'foo'"},
        {"set_irq_in foo unnamed-gpio-in 3 1", "FAIL Unknown device 'foo'"},
        {"module_load hw- foo", "FAIL"},
        {"clock_step", "FAIL Unknown command 'clock_step'"},
    };
    for (const auto& [request, answer] : talk) {
        client.send(request + "\n");
        EXPECT_EQ(client.line(), answer + "\n") << request;
    }
}

TEST_F(QtestServerTest, SenselessLinesAreAnsweredWithOneLine)
{
    Client client = qtest();
    for (const char* line : {"",
                             "   ",
                             "readb",
                             "readb zz",
                             "read 0",
                             "read 0 0",
                             "read 0 0xffffffffffffffff",
                             "write 0",
                             "write 0 2",
                             "write 0 2 0xzz",
                             "write 0 0xffffffffff 0x01",
                             "outb 1",
                             "memset 0 0xffffffffffffffff 0",
                             "memset 0 2",
                             "b64write 0 4",
                             "irq_intercept_out",
                             "set_irq_in / x",
                             "module_load a",
                             "clock_set -1",
                             "readb 99999999999999999999999"}) {
        client.send(std::string(line) + "\n");
        const std::string answer = client.line();
        EXPECT_TRUE(answer.starts_with("ERR ") || answer.starts_with("FAIL ")) << line << answer;
    }
}

TEST_F(QtestServerTest, TheClientDrivesTheClockWhereItMay)
{
    Client client = qtest();
    {
        system::MachineGuardIfNeeded guard(vm_->lock());
        vm_->clocks().make_client_driven();
    }
    client.send("clock_step 100\nclock_set 1000\nclock_step 0\nclock_step -5\n");
    EXPECT_EQ(client.line(), "OK 100\n");
    EXPECT_EQ(client.line(), "OK 1000\n");
    EXPECT_EQ(client.line(), "OK 1000\n");
    EXPECT_EQ(client.line(), "ERR clock_step: time does not go back\n");
}

TEST_F(QtestServerTest, ManyRequestsInOneGoAreAnsweredInOrder)
{
    Client client = qtest();
    std::string requests;
    for (int i = 0; i < 20'000; ++i)
        requests += fmt::format("writeb 0x{0:x} 0x{0:x}\nreadb 0x{0:x}\n", i & 0xff);
    client.send(requests);
    for (int i = 0; i < 20'000; ++i) {
        ASSERT_EQ(client.line(), "OK\n");
        ASSERT_EQ(client.line(), fmt::format("OK 0x{:016x}\n", i & 0xff));
    }
}

TEST_F(QtestServerTest, AClientThatDoesNotReadIsNotReadFrom)
{
    Client client = qtest();
    std::string requests;
    for (int i = 0; i < 1000; ++i)
        requests += "read 0 0x10000\n";
    client.send(requests);
    for (int i = 0; i < 50; ++i)
        vm_->loop().run_once(false);
    EXPECT_LT(vm_->chardevs().find("qtest")->queued(), 4u << 20);
    for (int i = 0; i < 1000; ++i)
        ASSERT_EQ(client.line().size(), 0x20000u + 6);
}

}  // namespace
}  // namespace godwit::monitor
