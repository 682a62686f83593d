// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/command_line.h"
#include "system/startup.h"
#include "system/startup_private.h"
#include "util/flight_recorder.h"
#include "util/log.h"

#include <gtest/gtest.h>

namespace godwit::system {
namespace {

std::string error_of(const Result<void>& result)
{
    return result ? "" : result.error().message();
}

struct Table : ::testing::Test {
    CommandLine line;
    std::string trail;

    Table()
    {
        line.add({.name = "late",
                  .parameters = "X",
                  .help = "a\nb",
                  .stage = Stage::Devices,
                  .handle = note("late")});
        line.add({.name = "early",
                  .parameters = "X",
                  .stage = Stage::Settings,
                  .handle = note("early"),
                  .alias = "e"});
        line.add({.name = "flag", .parameters = "", .handle = note("flag"), .hidden = true});
    }
    std::function<Result<void>(const std::string&)> note(std::string name)
    {
        return [this, name](const std::string& argument) -> Result<void> {
            if (argument == "bad")
                return Error(Errc::InvalidArgument, "does not please");
            if (argument == "end")
                line.finish(3);
            trail += name + argument + " ";
            return {};
        };
    }
    Result<void> parse(std::vector<const char*> words) { return line.parse(words); }
};

TEST_F(Table, StagesComeBeforeTheOrderOfWords)
{
    ASSERT_TRUE(parse({"-late", "1", "--early", "2", "-late", "3", "-flag", "-e", "4"}));
    ASSERT_TRUE(line.apply(Stage::Settings));
    ASSERT_TRUE(line.apply(Stage::Devices));
    EXPECT_EQ(trail, "early2 flag early4 late1 late3 ");
    EXPECT_TRUE(line.has("flag"));
    EXPECT_EQ(line.arguments("late"), (std::vector<std::string>{"1", "3"}));
}

TEST_F(Table, NamesWhatIsWrong)
{
    EXPECT_EQ(error_of(parse({"-foo"})), "-foo: invalid option");
    EXPECT_EQ(error_of(parse({"-late"})), "-late: requires an argument");
    EXPECT_EQ(error_of(parse({"disk.img"})), "disk.img: invalid option") << "nobody takes disks";
    ASSERT_TRUE(parse({"-late", "bad"}));
    EXPECT_EQ(error_of(line.apply(Stage::Devices)), "-late bad: does not please");
}

TEST_F(Table, FinishingEndsEverything)
{
    ASSERT_TRUE(parse({"-early", "end", "-early", "more", "-late", "1"}));
    ASSERT_TRUE(line.apply(Stage::Settings));
    ASSERT_TRUE(line.apply(Stage::Devices));
    EXPECT_EQ(trail, "earlyend ");
    EXPECT_EQ(line.finished(), 3);
}

TEST_F(Table, AHandlerMayInsertWordsBehindItsOwn)
{
    line.add({.name = "file",
              .parameters = "X",
              .handle = [this](const std::string& text) -> Result<void> {
                  for (const char* what : {"1", "2"})
                      if (auto done = line.insert("early", text + what, "file:" + text); !done)
                          return done;
                  return line.insert("late", "bad", "file:3");
              }});
    ASSERT_TRUE(parse({"-early", "a", "-file", "f", "-early", "b"}));
    ASSERT_TRUE(line.apply(Stage::Settings));
    EXPECT_EQ(trail, "earlya earlyf1 earlyf2 earlyb ");
    EXPECT_EQ(error_of(line.apply(Stage::Devices)), "file:3: does not please");
    EXPECT_EQ(error_of(line.insert("flag", "x", "")), "there is no option -flag");
}

TEST_F(Table, HelpIsSortedAndHidesWhatIsHidden)
{
    EXPECT_EQ(line.help(), "-early, -e X\n-late X\n                a\n                b\n");
}

TEST(Uuid, IsThirtyTwoDigitsWithDashes)
{
    const auto uuid = parse_uuid("00112233-4455-6677-8899-aabbccddeeFF");
    ASSERT_TRUE(uuid);
    EXPECT_EQ((*uuid)[0], 0);
    EXPECT_EQ((*uuid)[15], 0xff);
    for (const char* bad :
         {"", "foo", "00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeef",
          "g0112233-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff0"}) {
        EXPECT_EQ(parse_uuid(bad).error().message(), "failed to parse UUID string: wrong format");
    }
}

struct Smp {
    const char* words;
    const char* error;
    unsigned cpus, max_cpus, sockets, cores, threads;
};
class SmpTopology : public ::testing::TestWithParam<Smp> {};

TEST_P(SmpTopology, IsCompletedAsQemuDoes)
{
    const Smp& expected = GetParam();
    VmConfig config;
    const auto done = parse_smp(OptionList::parse(expected.words, "cpus").value(), config);
    EXPECT_EQ(error_of(done), expected.error);
    if (!done)
        return;
    EXPECT_EQ(config.cpus, expected.cpus);
    EXPECT_EQ(config.max_cpus, expected.max_cpus);
    EXPECT_EQ(config.sockets, expected.sockets);
    EXPECT_EQ(config.cores, expected.cores);
    EXPECT_EQ(config.threads, expected.threads);
}

INSTANTIATE_TEST_SUITE_P(
    All, SmpTopology,
    ::testing::Values(
        Smp{"", "", 1, 1, 1, 1, 1}, Smp{"4", "", 4, 4, 1, 4, 1},
        Smp{"2,maxcpus=8", "", 2, 8, 1, 8, 1}, Smp{"8,sockets=2", "", 8, 8, 2, 4, 1},
        Smp{"8,cores=2", "", 8, 8, 4, 2, 1},
        Smp{"sockets=2,cores=3,threads=2", "", 12, 12, 2, 3, 2},
        Smp{"maxcpus=4", "", 4, 4, 1, 4, 1},
        Smp{"0", "Invalid CPU topology: CPU topology parameters must be greater than zero", 0, 0, 0,
            0, 0},
        Smp{"x", "Parameter 'smp.cpus' expects integer", 0, 0, 0, 0, 0},
        Smp{"4,maxcpus=2",
            "Invalid CPU topology: maxcpus must be equal to or greater than smp: sockets (1) * "
            "dies "
            "(1) * modules (1) * cores (2) * threads (1) == maxcpus (2) < smp_cpus (4)",
            0, 0, 0, 0, 0},
        Smp{"4,sockets=3",
            "Invalid CPU topology: product of the hierarchy must match maxcpus: sockets (3) * dies "
            "(1) * modules (1) * cores (1) * threads (1) != maxcpus (4)",
            0, 0, 0, 0, 0},
        Smp{"4,sockets=4096,dies=4096,modules=4096,cores=4096,threads=4096",
            "Invalid CPU topology: product of the hierarchy must match maxcpus: sockets (4096) * "
            "dies (4096) * modules (4096) * cores (4096) * threads (4096) != maxcpus (4)",
            0, 0, 0, 0, 0}));

/// A start-up without the rooms above.
struct Starting : ::testing::Test {
    std::shared_ptr<StreamLogSink> sink =
        std::make_shared<StreamLogSink>(2, StreamLogSink::Options{});
    Log log;
    FlightRecorder recorder{0};
    std::unique_ptr<Vm> vm = Vm::create(log, recorder).value();
    CommandLine line;
    Startup startup{*vm, line, *sink, "test"};

    Starting()
    {
        EXPECT_TRUE(register_types(vm->types()));
        startup.add_options();
    }
    std::string settings_error(std::vector<const char*> words)
    {
        auto done = line.parse(words);
        if (done)
            done = startup.process();
        if (done)
            done = startup.settings();
        return error_of(done);
    }
    std::string backends_error(std::vector<const char*> words)
    {
        if (std::string error = settings_error(std::move(words)); !error.empty())
            return error;
        return error_of(startup.backends());
    }
};

TEST_F(Starting, NotesTheMachineDown)
{
    ASSERT_EQ(settings_error({"-name", "guest=vm1,debug-threads=on,", "-uuid",
                              "00000000-0000-0000-0000-000000000001", "-S", "-no-reboot",
                              "-nodefaults", "-cpu", "max,+avx", "-rtc", "base=2020-02-02",
                              "-kernel", "vmlinux", "-append", "a,b=c"}),
              "");
    const VmConfig& config = vm->config();
    EXPECT_EQ(config.name, "vm1");
    EXPECT_EQ((*config.uuid)[15], 1);
    EXPECT_TRUE(config.stopped);
    EXPECT_TRUE(config.no_reboot);
    EXPECT_FALSE(config.defaults);
    EXPECT_EQ(config.cpu_model, "max,+avx");
    EXPECT_EQ(config.rtc_base, "2020-02-02");
    EXPECT_EQ(config.append, "a,b=c");
}

TEST_F(Starting, AcceptsWhatHarnessesSwitchOff)
{
    EXPECT_EQ(settings_error({"-display",
                              "none",
                              "-vga",
                              "none",
                              "-net",
                              "none",
                              "-nic",
                              "none",
                              "-parallel",
                              "none",
                              "-audio",
                              "none",
                              "-boot",
                              "order=c,menu=off",
                              "-no-user-config",
                              "-overcommit",
                              "mem-lock=off",
                              "-d",
                              "int,unimp",
                              "-msg",
                              "timestamp=off",
                              "-sandbox",
                              "off",
                              "-L",
                              "/usr/share"}),
              "");
}

TEST_F(Starting, ObjectsAndChardevsComeToLife)
{
    ASSERT_EQ(backends_error({"-object", "secret,id=s,data=x", "-object",
                              R"({"qom-type":"secret","id":"t","data":"y"})", "-chardev",
                              "null,id=c", "-serial", "none", "-serial", "chardev:c"}),
              "");
    EXPECT_NE(vm->find_object("s"), nullptr);
    EXPECT_NE(vm->find_object("t"), nullptr);
    ASSERT_EQ(vm->config().serial_chardevs.size(), 2u);
    EXPECT_EQ(vm->config().serial_chardevs[0], nullptr);
    EXPECT_EQ(vm->config().serial_chardevs[1], vm->chardevs().find("c"));
}

struct Wrong {
    const char* option;
    const char* argument;
    const char* error;
};
class StartingWrong : public Starting, public ::testing::WithParamInterface<Wrong> {};

TEST_P(StartingWrong, NamesTheOption)
{
    const auto [option, argument, error] = GetParam();
    const std::string where = std::string(option) + " " + argument + ": ";
    EXPECT_EQ(backends_error({option, argument}), where + error);
}

INSTANTIATE_TEST_SUITE_P(
    All, StartingWrong,
    ::testing::Values(
        Wrong{"-uuid", "foo", "failed to parse UUID string: wrong format"},
        Wrong{"-name", "a,b=c", "Invalid parameter 'b'"},
        Wrong{"-m", "1G,foo=1", "Invalid parameter 'foo'"},
        Wrong{"-rtc", "foo=1", "Invalid parameter 'foo'"},
        Wrong{"-rtc", "base=soon", "invalid datetime format"},
        Wrong{"-msg", "foo=1", "Invalid parameter 'foo'"},
        Wrong{"-sandbox", "foo", "Parameter 'enable' expects 'on' or 'off'"},
        Wrong{"-display", "gtk", "Parameter 'type' does not accept value 'gtk'"},
        Wrong{"-net", "foo", "Parameter 'type' does not accept value 'foo'"},
        Wrong{"-rtc", "clock=sun", "Parameter 'clock' does not accept value 'sun'"},
        Wrong{"-rtc", "driftfix=no", "Parameter 'driftfix' does not accept value 'no'"},
        Wrong{"-numa", "dist,src=0", "Parameter 'type' does not accept value 'dist'"},
        Wrong{"-numa", "node,cpus=x", "Parameter 'cpus' expects a uint64 value or range"},
        Wrong{"-numa", "node,cpus=3-1", "Parameter 'cpus' expects a uint64 value or range"},
        Wrong{"-numa", "node,nodeid=128", "Max number of NUMA nodes reached: 128"},
        Wrong{"-numa", "node,foo=1", "Invalid parameter 'foo'"},
        Wrong{"-action", "foo=1", "Invalid parameter 'foo'"},
        Wrong{"-action", "panic=run", "Parameter 'panic' does not accept value 'run'"},
        Wrong{"-action", "reboot=never", "Parameter 'reboot' does not accept value 'never'"},
        Wrong{"-d", "everything", "unknown log item 'everything'"},
        Wrong{"-global", "foo=1", "Invalid parameter 'foo'"},
        Wrong{"-add-fd", "set=1", "fd option is required and must be non-negative"},
        Wrong{"-add-fd", "fd=1,set=1", "fd cannot be a standard I/O stream"},
        Wrong{"-object", "foo,id=x", "Parameter 'qom-type' does not accept value 'foo'"},
        Wrong{"-object", "id=x", "Parameter 'qom-type' is missing"},
        Wrong{"-object", "secret", "Parameter 'id' is missing"},
        Wrong{"-object", "secret,id=x,data=a,foo=1", "Invalid parameter 'foo'"},
        Wrong{"-object", R"({"qom-type":"secret")", "JSON parse error, premature EOI"},
        Wrong{"-chardev", "foo,id=x", "'foo' is not a valid char driver name"},
        Wrong{"-serial", "foo", "'foo' is not a valid char driver"}));

}  // namespace
}  // namespace godwit::system
