// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /cmdline/...: exit statuses, signals, and what goes where.
#include "tests/qtest/libqtest/vmm.h"

#include <csignal>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace godwit::qtest {
namespace {

RunResult run(std::vector<std::string> args)
{
    args.insert(args.begin(), binary());
    return run_to_end(std::move(args));
}

std::string program_name()
{
    const std::string path = binary();
    return path.substr(path.rfind('/') + 1);
}

TEST(Cmdline, ABadOptionEndsWithStatusOneAndOneLineThatNamesIt)
{
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{"-no-such-option"}, "-no-such-option"},
        {{"-machine", "no-such-machine"}, "no-such-machine"},
        {{"-accel", "no-such-accel", "-machine", "none"}, "no-such-accel"},
        {{"-m", "no-size", "-machine", "none", "-accel", "qtest"}, "no-size"},
        {{"-machine", "none", "-accel", "qtest", "-device", "no-such-device"}, "no-such-device"},
        {{"-machine", "none", "-accel", "qtest", "-mon", "chardev=nobody"}, "nobody"},
        {{"-machine", "none", "-accel", "qtest", "-chardev", "socket,id=c0"}, "-chardev"},
        {{"-machine", "none", "-accel", "qtest", "-object", "no-such-type,id=o"}, "no-such-type"},
        {{"-machine", "none", "-accel", "qtest", "-qmp", "unix:/nonexistent/socket"},
         "/nonexistent/socket"},
        {{"-machine", "none", "-accel", "qtest", "-smp", "zero"}, "smp"},
        {{"-machine", "none", "-accel", "qtest", "-uuid", "nonsense"}, "nonsense"},
    };
    for (const auto& [args, named] : cases) {
        const RunResult result = run(args);
        EXPECT_EQ(result.status.code, 1) << named << ": " << result.err;
        EXPECT_TRUE(result.err.starts_with(program_name() + ": ")) << result.err;
        EXPECT_NE(result.err.find(named), std::string::npos) << result.err;
        EXPECT_EQ(result.out, "") << named;
    }
}

TEST(Cmdline, HelpAndVersionGoToStandardOutput)
{
    for (const std::vector<std::string>& args : {std::vector<std::string>{"--version"},
                                                 {"-h"},
                                                 {"-machine", "help"},
                                                 {"-device", "help"},
                                                 {"-accel", "help"},
                                                 {"-object", "help"}}) {
        const RunResult result = run(args);
        EXPECT_EQ(result.status.code, 0) << args[0] << result.err;
        EXPECT_FALSE(result.out.empty()) << args[0];
        EXPECT_EQ(result.err, "") << args[0];
    }
}

class CmdlineSignal : public ::testing::TestWithParam<int> {};

TEST_P(CmdlineSignal, EndsTheProgramInOrder)
{
    for (const bool stopped : {true, false}) {
        std::vector<std::string> args = {"-machine", "none"};
        if (stopped)
            args.emplace_back("-S");
        Vmm vmm(args);
        vmm.terminate(GetParam());
        EXPECT_EQ(vmm.qmp().wait_event("SHUTDOWN")["data"]["reason"], "host-signal");
        EXPECT_EQ(vmm.wait_exit()->code, 0) << vmm.story();
    }
}

INSTANTIATE_TEST_SUITE_P(Signals, CmdlineSignal, ::testing::Values(SIGTERM, SIGINT, SIGHUP));

TEST(Cmdline, APeerThatLeavesIsNoReasonToDie)
{
    Vmm vmm({"-machine", "none"});
    vmm.qtest().close();
    QmpClient& qmp = vmm.qmp();
    // Answers to a closed socket would raise SIGPIPE.
    for (int i = 0; i < 100; ++i)
        qmp.send_raw(R"({"execute":"query-qmp-schema"})");
    qmp.close();
    vmm.terminate(SIGTERM);
    EXPECT_EQ(vmm.wait_exit()->code, 0) << vmm.story();
}

TEST(Cmdline, NamesAndIdentitiesAreToldOverQmp)
{
    const std::string uuid = "12345678-9abc-def0-1122-334455667788";
    Vmm vmm({"-machine", "none", "-name", "guest=somebody,debug-threads=on", "-uuid", uuid, "-S"},
            {.qtest = false});
    EXPECT_EQ(vmm.qmp().execute("query-name")["name"], "somebody");
    EXPECT_EQ(vmm.qmp().execute("query-uuid")["UUID"], uuid);
    const Json status = vmm.qmp().execute("query-status");
    EXPECT_EQ(status["status"], "prelaunch");
    EXPECT_EQ(status["running"], false);
}

TEST(Cmdline, ListsMayEndInACommaAndDoubleIt)
{
    Vmm vmm({"-machine", "none", "-name", "a,,b,", "-chardev", "null,id=c0,"}, {.qtest = false});
    EXPECT_EQ(vmm.qmp().execute("query-name")["name"], "a,b");
}

TEST(Cmdline, ThePidFileNamesTheProcess)
{
    const TempDir dir;
    Vmm vmm({"-machine", "none", "-pidfile", dir.file("pid")}, {.qtest = false});
    EXPECT_EQ(read_file(dir.file("pid")), fmt::format("{}\n", vmm.process().pid()));
    vmm.quit();
    EXPECT_NE(::access(dir.file("pid").c_str(), F_OK), 0) << "it goes with the process";
}

TEST(Cmdline, AnAcceleratorThatCannotBeIsSkipped)
{
    Vmm vmm({"-machine", "none", "-accel", "tcg", "-accel", "qtest"}, {.qtest = false});
    EXPECT_EQ(vmm.qmp().execute("query-status")["status"], "running");
}

}  // namespace
}  // namespace godwit::qtest
