// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/hmp_runner.h"
#include "monitor_fixture.h"
#include "qapi/command_context.h"
#include "system/hmp.h"

#include <array>

namespace godwit::monitor {
namespace {

/// Sixteen bytes of RAM content whose dumps are known from QEMU.
constexpr auto kBytes =
    std::to_array<unsigned char>({0xea, 0x5b, 0xe0, 0x00, 0xf0, 0x30, 0x36, 0x2f, 0x32, 0x33, 0x2f,
                                  0x39, 0x39, 0x00, 0xfc, 0x00});

class HmpSessionTest : public MonitorFixture {
protected:
    void add_ram()
    {
        auto block = vm_->ram().create({.id = "ram", .used_length = 1 << 20});
        ASSERT_TRUE(block);
        system::MachineGuardIfNeeded guard(vm_->lock());
        {
            system::AddressSpace::Transaction change(vm_->memory());
            vm_->memory().add(
                {.name = "ram", .size = 1 << 20, .kind = system::RegionKind::Ram, .block = *block});
        }
        ASSERT_TRUE(vm_->memory().write(0x1000, std::as_bytes(std::span(kBytes))));
    }

    std::string run(std::string_view line)
    {
        system::MachineGuardIfNeeded guard(vm_->lock());
        qapi::CommandContext nobody;
        return monitors_->run_hmp(line, nobody, 0);
    }
};

TEST_F(HmpSessionTest, MemoryIsDumpedAsQemuDumpsIt)
{
    add_ram();
    EXPECT_EQ(run("xp /8xb 0x1000"),
              "0000000000001000: 0xea 0x5b 0xe0 0x00 0xf0 0x30 0x36 0x2f\r\n");
    EXPECT_EQ(run("xp /2xg 0x1000"), "0000000000001000: 0x2f3630f000e05bea 0x00fc0039392f3332\r\n");
    EXPECT_EQ(run("x /4xw 0x1000"),
              "0000000000001000: 0x00e05bea 0x2f3630f0 0x392f3332 0x00fc0039\r\n");
    EXPECT_EQ(run("xp /8dh 0x1000"),
              "0000000000001000: 23530   224 12528 12086 13106 14639    57   252\r\n");
    EXPECT_EQ(run("xp /4cb 0x1004"), "0000000000001004: '\\xf0' '0' '6' '/'\r\n");
    EXPECT_EQ(run("xp /1xw 0xfffffffffff"), "00000fffffffffff: Cannot access memory\r\n");
    EXPECT_EQ(run("sum 0x1000 16"), "54987\r\n");
}

TEST_F(HmpSessionTest, ExpressionsArePrintedInEveryFormat)
{
    EXPECT_EQ(run("p 1+2*3"), "0x7\r\n");
    EXPECT_EQ(run("p /x 255"), "0xff\r\n");
    EXPECT_EQ(run("p /c 65"), "'A'\r\n");
    EXPECT_EQ(run("p /o 8"), "010\r\n");
    EXPECT_EQ(run("p /u -1"), "18446744073709551615\r\n");
    EXPECT_EQ(run("print /d -1"), "-1\r\n");
}

TEST_F(HmpSessionTest, PortsAreReadAndWritten)
{
    EXPECT_EQ(run("i /b 0x80"), "portb[0x0080] = 0xff\r\n");
    EXPECT_EQ(run("i /w 0x60"), "portl[0x0060] = 0xffffffff\r\n");
    EXPECT_EQ(run("o /b 0x80 1"), "");
}

TEST_F(HmpSessionTest, ErrorsOfQmpCommandsArePartOfTheText)
{
    EXPECT_EQ(run("device_add"), "Error: Parameter 'driver' is missing\r\n");
    EXPECT_EQ(run("foo bar"), "unknown command: 'foo'\r\n");
    EXPECT_EQ(run(""), "");
    EXPECT_EQ(run("migrate"), "unknown command: 'migrate'\r\n");
}

TEST_F(HmpSessionTest, ARoomMayAddCommands)
{
    monitors_->hmp().add({.name = "greet",
                          .args = "loud:-l,name:s",
                          .params = "[-l] name",
                          .help = "say hello",
                          .run = [](system::HmpContext&, const system::HmpArgs& args,
                                    system::HmpOutput& out) -> Result<void> {
                              if (args.text("name") == "nobody")
                                  return Error(Errc::NotFound, "nobody is there");
                              out.print("hello " + args.text("name") +
                                        (args.flag("loud") ? "!\n" : "\n"));
                              return {};
                          }});
    EXPECT_EQ(run("greet -l world"), "hello world!\r\n");
    EXPECT_EQ(run("greet nobody"), "Error: nobody is there\r\n");
    EXPECT_EQ(run("help greet"), "greet [-l] name -- say hello\r\n");
    EXPECT_EQ(run("help meet"), "unknown command: 'meet'\r\n");
    EXPECT_EQ(run("help info weather"), "unknown command: 'info weather'\r\n");
}

TEST_F(HmpSessionTest, ACommandThatGoesOnKeepsThePromptBack)
{
    int turns = 0;
    monitors_->hmp().add({.name = "work",
                          .args = "",
                          .params = "",
                          .help = "take a while",
                          .run = [&](system::HmpContext& context, const system::HmpArgs&,
                                     system::HmpOutput& out) -> Result<void> {
                              out.print("begun\n");
                              context.goes_on = [&turns](system::HmpOutput& more) {
                                  more.print(fmt::format("turn {}\n", ++turns));
                                  return turns % 3 != 0;
                              };
                              return {};
                          }});
    EXPECT_EQ(run("work"), "begun\r\n") << "nobody waits without a prompt";
    EXPECT_EQ(turns, 0);
    Client client = hmp();
    client.until("(qemu) ");
    client.send("work\rp 1+1\r");
    const std::string said = client.until("(qemu) ");
    EXPECT_NE(said.find("begun\r\nturn 1\r\nturn 2\r\nturn 3\r\n"), std::string::npos) << said;
    EXPECT_NE(client.until("(qemu) ").find("0x2\r\n"), std::string::npos) << "typed meanwhile";
    // Who leaves meanwhile takes the rest with him.
    client.send("work\r");
    client.until("turn 4\r\n");
    client.close();
    Client next = hmp();
    next.until("(qemu) ");
    next.send("work\r");
    EXPECT_NE(next.until("(qemu) ").find("begun\r\nturn 5\r\nturn 6\r\n"), std::string::npos);
}

TEST_F(HmpSessionTest, LinesAreEditedEchoedAndAnswered)
{
    Client client = hmp();
    EXPECT_NE(client.until("(qemu) ").find("type 'help' for more information\r\n"),
              std::string::npos);
    client.send("p 1+1\r");
    EXPECT_NE(client.until("(qemu) ").find("0x2\r\n"), std::string::npos);
    // Backspace, cursor left, and the line before by cursor up.
    client.send("p 5x\x7f\x1b[D1\r");
    EXPECT_NE(client.until("(qemu) ").find("0xf\r\n"), std::string::npos);
    client.send("\x1b[A\r");
    EXPECT_NE(client.until("(qemu) ").find("0xf\r\n"), std::string::npos);
}

TEST_F(HmpSessionTest, LinesSentAtOnceAreAllAnswered)
{
    Client client = hmp();
    std::string lines;
    for (int i = 0; i < 50; ++i)
        lines += fmt::format("p {}\n", i + 1000);
    client.send(lines);
    for (int i = 0; i < 50; ++i)
        client.until(fmt::format("0x{:x}\r\n", i + 1000));
}

TEST_F(HmpSessionTest, TabCompletesCommandsTopicsAndListsWhatIsPossible)
{
    Client client = hmp();
    client.until("(qemu) ");
    client.send("hel\t p\r");
    EXPECT_NE(client.until("(qemu) ").find("print|p /fmt expr"), std::string::npos);
    client.send("info mem\t\t");
    const std::string list = client.until("memory_size_summary");
    EXPECT_NE(list.find("memdev"), std::string::npos);
}

TEST_F(HmpSessionTest, CompletionKnowsCommandsTopicsAndObjects)
{
    system::MachineGuardIfNeeded guard(vm_->lock());
    qapi::CommandContext nobody;
    unsigned cpu = 0;
    system::HmpContext context{*vm_, table_, nobody, cpu};
    const auto complete = [&](std::string_view line) {
        return complete_hmp_line(monitors_->hmp(), context, line);
    };
    EXPECT_EQ(complete("system_r"), std::vector<std::string>{"system_reset"});
    EXPECT_EQ(complete("info vers"), std::vector<std::string>{"version"});
    EXPECT_EQ(complete("help info vers"), std::vector<std::string>{"version"});
    EXPECT_EQ(complete("qom-list /ob"), std::vector<std::string>{"/objects"});
    EXPECT_TRUE(complete("nonsense x").empty());
}

TEST_F(HmpSessionTest, AClientMayLeaveWhileItTypes)
{
    for (int i = 0; i < 5; ++i) {
        Client client = hmp();
        client.until("(qemu) ");
        client.send("info st");
        vm_->loop().run_once(false);
        client.close();
        for (int turn = 0; turn < 5; ++turn)
            vm_->loop().run_once(false);
    }
}

TEST_F(HmpSessionTest, TreesShowWhatIsThere)
{
    add_ram();
    EXPECT_NE(run("info mtree").find("0000000000000000-00000000000fffff (prio 0, ram): ram\r\n"),
              std::string::npos);
    EXPECT_NE(run("info mtree -f").find("0000000000000000-00000000000fffff (prio 0, ram): ram\r\n"),
              std::string::npos);
    EXPECT_NE(run("info qtree").find("bus: main-system-bus\r\n  type System\r\n"),
              std::string::npos);
    EXPECT_NE(run("info qom-tree /").find("/objects (container)\r\n"), std::string::npos);
    EXPECT_EQ(run("info registers"), "No CPU available\r\n");
    EXPECT_EQ(run("info network"), "");
    EXPECT_EQ(run("cpu 3"), "invalid CPU index\r\n");
}

}  // namespace
}  // namespace godwit::monitor
