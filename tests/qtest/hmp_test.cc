// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /hmp/...: the human monitor through QMP and on a socket of its own.
#include "tests/qtest/libqtest/migration.h"
#include "tests/qtest/libqtest/vmm.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <regex>
#include <sstream>

namespace godwit::qtest {
namespace {

/// Every topic that `info` lists.
std::vector<std::string> topics(QmpClient& qmp)
{
    std::vector<std::string> out;
    std::istringstream lines(qmp.hmp("help info"));
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string info;
        std::string topic;
        if (words >> info >> topic && info == "info")
            out.push_back(topic);
    }
    return out;
}

class HmpInfo : public ::testing::TestWithParam<const char*> {};

TEST_P(HmpInfo, EveryTopicIsAnswered)
{
    Vmm vmm({"-machine", GetParam(), "-name", "somebody"}, {.qtest = false});
    const auto all = topics(vmm.qmp());
    EXPECT_GT(all.size(), 15u);
    for (const std::string& topic : all) {
        const std::string text = vmm.qmp().hmp("info " + topic);
        EXPECT_EQ(text.find("unknown command"), std::string::npos) << topic << ": " << text;
        EXPECT_TRUE(text.empty() || text.ends_with('\n')) << topic << ": " << text;
    }
    vmm.qmp().execute("query-status");
}

INSTANTIATE_TEST_SUITE_P(Machines, HmpInfo, ::testing::Values("none", "microvm", "q35"));

/// What must be word for word what QEMU says.
const std::vector<std::string> kSame = {
    "info status",
    "info block",
    "info kvm",
    "info name",
    "info uuid",
    "info memdev",
    "info numa",
    "info network",

    "info cpus",
    "info registers",
    "info iothreads",
    "info foo",
    "foo bar",
    "",
    "info status x",
    "stop x",
    "xp",
    "xp /4q 0",
    "xp /3xb foo",
    "xp /4xw 0",
    "xp/4xw 0",
    "xp/4xw",
    "xp/4q 0",
    "foo/x 1",
    "/x 1",
    "p 1+2*3",
    "p $eax",
    "p /x 255",
    "p/o 255",
    "p /c 65",
    "p /o 8",
    "p /u -1",
    "p /d -1",
    "sum 0 10",
    "i /b 0x80",
    "o /b 0x80 1",
    "device_add",
    "device_add foo",
    "device_del foo",
    "object_add memory-backend-ram,id=m,size=1M",
    "info memdev",
    "object_del foo",
    "object_del m",
    "info memdev",
    "qom-list",
    "qom-get /machine type",
    "pmemsave 0 10",
    "memsave 0 10 /tmp/x",
    "cpu 3",
    "help stop",
    "help foo",
    "help info foo",
    "help system_reset",
    "stop",
    "info status",
    "cont",
    "info status",
    "qom-set /machine type 1",
    "system_wakeup",
};

TEST(Hmp, SaysWhatQemuSays)
{
    if (reference_qemu().empty())
        GTEST_SKIP() << "no QEMU to compare with";
    const std::vector<std::string> args = {"-machine", "none", "-name", "somebody"};
    Vmm ours(args, {.qtest = false});
    Vmm theirs(args, {.program = reference_qemu(), .qtest = false, .accel = "tcg"});
    for (const std::string& line : kSame)
        EXPECT_EQ(ours.qmp().hmp(line), theirs.qmp().hmp(line)) << line;
}

TEST(Hmp, MemoryAndPortsOfAMachineWithRam)
{
    Vmm vmm({"-machine", "q35", "-m", "16"});
    vmm.qtest().writeq(0x1000, 0x2f3630f000e05bea);
    vmm.qtest().writeq(0x1008, 0x00fc0039392f3332);
    EXPECT_EQ(vmm.qmp().hmp("xp /8xb 0x1000"),
              "0000000000001000: 0xea 0x5b 0xe0 0x00 0xf0 0x30 0x36 0x2f\n");
    EXPECT_EQ(vmm.qmp().hmp("xp /2xg 0x1000"),
              "0000000000001000: 0x2f3630f000e05bea 0x00fc0039392f3332\n");
    EXPECT_EQ(vmm.qmp().hmp("sum 0x1000 16"), "54987\n");
    const std::string file = vmm.dir().file("memory");
    EXPECT_EQ(vmm.qmp().hmp("pmemsave 0x1000 16 \"" + file + "\""), "");
    EXPECT_EQ(read_file(file).size(), 16u);
    EXPECT_EQ(static_cast<unsigned char>(read_file(file)[0]), 0xea);
    const std::string same = vmm.dir().file("virtual");
    EXPECT_EQ(vmm.qmp().hmp("memsave 0x1000 16 \"" + same + "\""), "");
    EXPECT_EQ(read_file(same), read_file(file));
}

TEST(Hmp, TreesOfAMachine)
{
    Vmm vmm({"-machine", "q35", "-m", "16"}, {.qtest = false});
    EXPECT_NE(vmm.qmp().hmp("info mtree -f").find("(prio 0, ram): pc.ram"), std::string::npos);
    EXPECT_NE(vmm.qmp().hmp("info mtree").find("address-space: I/O"), std::string::npos);
    const std::string tree = vmm.qmp().hmp("info qtree");
    for (const char* part : {"bus: main-system-bus", "dev: mc146818rtc", "iobase = 112 (0x70)"})
        EXPECT_NE(tree.find(part), std::string::npos) << part << "\n" << tree;
    EXPECT_TRUE(vmm.qmp().hmp("info qom-tree").starts_with("/machine (pc-q35-10.0-machine)\n"));
    EXPECT_EQ(vmm.qmp().hmp("info memory_size_summary"),
              "base memory: 16777216\nplugged memory: 0\n");
    EXPECT_EQ(vmm.qmp().hmp("info version"), [&] {
        const Json version = vmm.qmp().execute("query-version");
        const Json& number = version["qemu"];
        return fmt::format("{}.{}.{}{}\n", number["major"].get<int>(), number["minor"].get<int>(),
                           number["micro"].get<int>(), version["package"].get<std::string>());
    }());
}

TEST(Hmp, DeviceAddTellsWhatItTakes)
{
    Vmm vmm({"-machine", "none"}, {.qtest = false});
    EXPECT_NE(vmm.qmp().hmp("device_add help").find("name \"isa-serial\", bus ISA"),
              std::string::npos);
    const std::string options = vmm.qmp().hmp("device_add isa-serial,help");
    EXPECT_TRUE(options.starts_with("isa-serial options:\n")) << options;
    EXPECT_NE(options.find("iobase=<uint32>"), std::string::npos);
    EXPECT_EQ(vmm.qmp().hmp("device_add foo,help"), "Error: Device 'foo' not found\n");
}

TEST(Hmp, ASocketGetsAPromptEditingAndAnswers)
{
    const TempDir dir;
    Listener listener(dir.file("hmp"));
    Vmm vmm({"-machine", "none", "-monitor", "unix:" + listener.path()}, {.qtest = false});
    Stream hmp(listener.accept(Deadline(), [] { return false; }));
    const auto banner = hmp.line();
    ASSERT_TRUE(banner);
    EXPECT_NE(banner->find("type 'help' for more information"), std::string::npos);
    hmp.send("info statux\x7fs\r");
    while (const auto line = hmp.line())
        if (*line == "VM status: running")
            break;
    hmp.send("quit\n");
    EXPECT_EQ(vmm.wait_exit()->code, 0);
}

/// The next line that starts so; "" when there is none.
std::string line_from(Stream& hmp, std::string_view start)
{
    while (const auto line = hmp.line())
        if (line->starts_with(start))
            return *line;
    return {};
}

// A socket's monitor has no prompt until the migration is over; through QMP nobody waits.
TEST(Hmp, MigrateWithoutDetachTellsTheEndBeforeItPromptsAgain)
{
    const TempDir dir;
    Listener listener(dir.file("hmp"));
    const std::string uri = "unix:" + dir.file("m");
    Vmm target({"-machine", "none", "-m", "32M", "-incoming", uri}, {.qtest = false});
    Vmm source({"-machine", "none", "-m", "32M", "-monitor", "unix:" + listener.path()},
               {.qtest = false});
    prepare(source);
    EXPECT_EQ(source.qmp().hmp("migrate unix:" + dir.file("nobody")), "");
    expect_end(source, "failed");
    Stream hmp(listener.accept(Deadline(), [] { return false; }));
    const auto until = [&](std::string_view start) { return line_from(hmp, start); };
    hmp.send("migrate unix:" + dir.file("nobody") + "\r");
    EXPECT_NE(until("Migration status: failed (").find("No such file"), std::string::npos);
    hmp.send("migrate " + uri + "\rinfo status\r");
    EXPECT_EQ(until("Migration status: "), "Migration status: completed");
    EXPECT_EQ(until("VM status: "), "VM status: paused (postmigrate)");
}

TEST(Hmp, MigrateCheckTellsWhatItFoundAndMovesNothing)
{
    const TempDir dir;
    Listener listener(dir.file("hmp"));
    const std::string uri = "unix:" + dir.file("m");
    Vmm target({"-machine", "none", "-m", "48M", "-incoming", uri}, {.qtest = false});
    Vmm source({"-machine", "none", "-m", "32M", "-monitor", "unix:" + listener.path()},
               {.qtest = false});
    Stream hmp(listener.accept(Deadline(), [] { return false; }));
    const auto until = [&](std::string_view start) { return line_from(hmp, start); };
    hmp.send("migrate " + uri + " check\rinfo status\r");
    EXPECT_EQ(until("check: "), "check: done");
    EXPECT_EQ(until("verdict: "), "verdict: refused");
    EXPECT_TRUE(until("! ram ").starts_with("! ram ram: the sizes of a block of memory differ"));
    EXPECT_EQ(until("VM status: "), "VM status: running");
    hmp.send("migrate unix:" + dir.file("nobody") + " check\r");
    EXPECT_NE(until("check: failed (").find("No such file"), std::string::npos);
    // Through QMP nobody waits, nor with -d.
    source.qmp().execute("query-status");
    while (source.qmp().take_event("MIGRATION_CHECK")) {
    }
    EXPECT_EQ(source.qmp().hmp("migrate -d " + uri + " check"), "");
    while (source.qmp().wait_event("MIGRATION_CHECK")["data"]["status"] != "done") {
    }
    EXPECT_TRUE(source.qmp().hmp("info migrate_check").starts_with("check: done\n"));
    EXPECT_EQ(source.qmp().hmp("migrate -r " + uri + " check"), "Error: a check resumes nothing\n");
    EXPECT_EQ(source.qmp().execute("query-migrate").value("status", "none"), "none");
    EXPECT_EQ(target.qmp().execute("query-status")["status"], "inmigrate");
}

}  // namespace
}  // namespace godwit::qtest
