// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /cmdline/...: exit statuses, signals, and what goes where.
#include "tests/qtest/libqtest/vmm.h"

#include <arpa/inet.h>
#include <csignal>
#include <filesystem>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <optional>
#include <sys/socket.h>
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
        {{"-machine", "none", "-accel", "qtest", "-daemonize", "-serial", "stdio"},
         "cannot use stdio with -daemonize"},
        {{"-machine", "none", "-boot", "order=cz"}, "-boot order=cz: Invalid boot device 'z'"},
        {{"-machine", "none", "-boot", "cc"}, "Boot device 'c' was given twice"},
        {{"-machine", "none", "-boot", "menu=maybe"}, "menu"},
        {{"-machine", "none", "-cpu", ""}, "-cpu option cannot be empty"},
        {{"-machine", "none", "-overcommit", "mem-lock=maybe"}, "maybe"},
        {{"-machine", "none", "-trace", "events=/nonexistent/list"}, "/nonexistent/list"},
        {{"-machine", "none", "-accel", "qtest", "-drive", "if=none,file=/dev/null,id=1d"},
         "Parameter 'id' expects an identifier"},
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
                                                 {"-machine", "?"},
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

TEST(Cmdline, WhatIsTracedMayStandInAFile)
{
    const RunResult list = run({"-trace", "help"});
    EXPECT_EQ(list.out, "kvm_dirty_sync\nmigration_dirty_sync\nmigration_section_loaded\n"
                        "migration_status\nmigration_switchover_part\nmigration_verdict\n"
                        "run_state_change\n");
    const TempDir dir;
    const std::string patterns = dir.write("events", "# what to log\n\n  run_state_*  \n-foo\n");
    const std::string log = dir.file("log");
    Vmm vmm({"-machine", "none", "-trace", "events=" + patterns, "-D", log}, {.qtest = false});
    vmm.qmp().execute("stop");
    vmm.quit();
    EXPECT_NE(read_file(log).find("run_state_change from=running to=paused"), std::string::npos)
        << read_file(log);
}

TEST(Cmdline, OptionsMayStandInAFile)
{
    const TempDir dir;
    const std::string path = dir.write("vm.cfg", "# what libvirt and people write\n"
                                                 "[machine]\n  type = \"q35\"\n"
                                                 "[memory]\n  size = \"24\"\n"
                                                 "[smp-opts]\n  cpus = \"2\"\n"
                                                 "[name]\n  guest = \"from, a file\"\n"
                                                 "[object \"o1\"]\n"
                                                 "  qom-type = \"memory-backend-ram\"\n"
                                                 "  size = \"4M\"\n"
                                                 "[chardev \"c1\"]\n  backend = \"null\"\n"
                                                 "[device \"s1\"]\n  driver = \"isa-serial\"\n"
                                                 "  chardev = \"c1\"\n"
                                                 "[global]\n  driver = \"isa-serial\"\n"
                                                 "  property = \"iobase\"\n  value = \"0x2e8\"\n");
    Vmm vmm({"-readconfig", path, "-m", "32"}, {.qtest = false});
    QmpClient& qmp = vmm.qmp();
    EXPECT_EQ(qmp.execute("query-name")["name"], "from, a file");
    EXPECT_EQ(qmp.execute("query-memory-size-summary")["base-memory"], 32 << 20) << "-m came last";
    EXPECT_EQ(qmp.execute("query-cpus-fast").size(), 2u);
    EXPECT_EQ(qmp.execute("query-memdev")[0]["id"], "o1");
    EXPECT_EQ(qmp.execute("qom-get", {{"path", "/machine/peripheral/s1"}, {"property", "iobase"}}),
              0x2e8);
}

TEST(Cmdline, AFileOfOptionsThatIsWrongIsNamedWithItsLine)
{
    const TempDir dir;
    const std::pair<const char*, const char*> cases[] = {
        {"[foo]\nx = \"1\"", "1: There is no option group 'foo'"},
        {"x = \"1\"", "1: no group defined"},
        {"[name]\n\nguest = me", "3: expected key = \"value\", not 'guest = me'"},
        {"\n[name]\nfoo = \"1\"", "2: [name]: Invalid parameter 'foo'"},
    };
    for (const auto& [text, message] : cases) {
        const std::string path = dir.write("vm.cfg", text);
        const RunResult result = run({"-machine", "none", "-readconfig", path});
        EXPECT_EQ(result.status.code, 1);
        EXPECT_NE(result.err.find("-readconfig " + path), std::string::npos) << result.err;
        EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
    }
    const RunResult result = run({"-readconfig", "/nonexistent"});
    EXPECT_EQ(result.err, program_name() + ": -readconfig /nonexistent: /nonexistent: No such file "
                                           "or directory\n");
}

TEST(Cmdline, TheGuestsNameStandsBeforeMessagesOnRequest)
{
    const RunResult result = run({"-msg", "guest-name=on", "-name", "vm1,process=x", "-device",
                                  "no-such-device", "-machine", "none", "-accel", "qtest"});
    EXPECT_TRUE(result.err.starts_with("vm1 " + program_name() + ": -device no-such-device: "))
        << result.err;
    const RunResult nameless = run({"-msg", "guest-name=on", "-machine", "no-such-machine"});
    EXPECT_TRUE(nameless.err.starts_with(program_name() + ": ")) << nameless.err;
}

TEST(Cmdline, WhatWasTypedDoesNotSpreadAnErrorOverLines)
{
    const RunResult result = run({"-machine", "none", "-accel", "qtest", "-device", "no\nname"});
    EXPECT_EQ(result.err, program_name() + ": -device no\\x0aname: 'no\\x0aname' is not a valid "
                                           "device model name\n");
}

/// Runs the program where /dev/kvm is what `prepare`, a shell command in a mount namespace of its
/// own, makes of it. Nothing if we may not do that.
std::optional<RunResult> run_with_other_kvm(const std::string& prepare,
                                            const std::vector<std::string>& args)
{
    std::vector<std::string> argv = {
        "unshare", "-m", "sh", "-c", prepare + " || exit 99; exec \"$@\"", "sh", binary()};
    argv.insert(argv.end(), args.begin(), args.end());
    const RunResult result = run_to_end(std::move(argv));
    if (result.status.code == 99 || result.err.find("unshare:") != std::string::npos)
        return std::nullopt;
    return result;
}

constexpr const char* kNoKvm = "mount -t tmpfs none /dev && touch /dev/null";

TEST(Cmdline, WithoutKvmTheMessageSaysWhatIsMissing)
{
    const std::vector<std::string> args = {"-machine", "q35", "-accel", "kvm", "-display", "none"};
    const auto absent = run_with_other_kvm(kNoKvm, args);
    if (!absent)
        GTEST_SKIP() << "no mount namespace of our own: not root";
    const std::string start = program_name() + ": -accel kvm: ";
    EXPECT_EQ(absent->status.code, 1);
    EXPECT_TRUE(absent->err.starts_with(
        start + "Could not access KVM kernel module: No such file or directory\n"))
        << absent->err;
    // Nobody asked for KVM by name: there is no option to blame.
    const auto unasked = run_with_other_kvm(kNoKvm, {"-machine", "q35", "-display", "none"});
    if (unasked) {
        EXPECT_TRUE(unasked->err.starts_with(program_name() + ": Could not access KVM"))
            << unasked->err;
    }
    const auto useless = run_with_other_kvm("mount --bind /dev/null /dev/kvm", args);
    if (useless) {
        EXPECT_EQ(useless->status.code, 1);
        EXPECT_TRUE(useless->err.starts_with(start + "/dev/kvm is not KVM\n")) << useless->err;
    }
    const auto locked = run_with_other_kvm(
        std::string(kNoKvm) + " && touch /dev/kvm && chmod 0 /dev/kvm && set -- setpriv "
                              "--reuid=65534 --clear-groups \"$@\" && setpriv --reuid=65534 "
                              "--clear-groups \"$4\" --version >/dev/null",
        args);
    if (locked && locked->status.code == 1) {
        EXPECT_TRUE(locked->err.starts_with(
            start + "Could not access KVM kernel module: Permission denied\n"))
            << locked->err;
    }
}

TEST(Cmdline, WithoutKvmTheNextAcceleratorIsTaken)
{
    for (const std::vector<std::string>& accels :
         {std::vector<std::string>{"-machine", "none,accel=kvm:synth"},
          {"-machine", "none", "-accel", "kvm,dirty-ring-size=4096", "-accel", "tcg", "-accel",
           "synth,working-set=1M"}}) {
        std::vector<std::string> args = accels;
        // Ends by itself, and says by whom the guest would have been run.
        args.insert(args.end(), {"-display", "none", "-m", "16", "-S", "-monitor", "stdio"});
        std::string typed = "printf 'info kvm\\nquit\\n' > /dev/typed && exec < /dev/typed";
        const auto result = run_with_other_kvm(std::string(kNoKvm) + " && " + typed, args);
        if (!result)
            GTEST_SKIP() << "no mount namespace of our own: not root";
        EXPECT_EQ(result->status.code, 0) << result->err;
        EXPECT_NE(result->err.find("Could not access KVM kernel module"), std::string::npos);
        EXPECT_NE(result->err.find("falling back to synth"), std::string::npos) << result->err;
        EXPECT_NE(result->out.find("kvm support: disabled"), std::string::npos) << result->out;
    }
}

TEST(Cmdline, ABrokenOptionOfTheFirstAcceleratorIsNotPassedOver)
{
    const RunResult result = run({"-machine", "none", "-accel", "kvm,no-such-property=1", "-accel",
                                  "qtest", "-display", "none"});
    EXPECT_EQ(result.status.code, 1);
    EXPECT_NE(result.err.find("no-such-property"), std::string::npos) << result.err;
}

TEST(Cmdline, WhatWeCannotBeIsRefusedAndNotIgnored)
{
    const std::pair<std::vector<std::string>, const char*> cases[] = {
        {{"-machine", "microvm,acpi=on", "-accel", "qtest"}, "acpi"},
        {{"-machine", "microvm,pcie=on", "-accel", "qtest"}, "pcie"},
        {{"-machine", "q35,hpet=on", "-accel", "qtest"}, "hpet"},
        {{"-machine", "q35,smm=on", "-accel", "qtest"}, "smm=on is not supported"},
        {{"-machine", "q35,pit=off", "-accel", "qtest"}, "pit=off is not supported"},
        {{"-machine", "q35,usb=on", "-accel", "qtest"}, "usb"},
        {{"-machine", "q35", "-accel", "qtest", "-dtb", "/x"}, "dtb"},
        {{"-machine", "none", "-overcommit", "mem-lock=on"}, "mem-lock=on is not supported"},
        {{"-machine", "q35", "-accel", "kvm,kernel-irqchip=split"}, "kernel-irqchip=split"},
        {{"-machine", "q35,kernel-irqchip=split", "-accel", "kvm"}, "kernel-irqchip=split"},
    };
    for (const auto& [args, named] : cases) {
        const RunResult result = run(args);
        EXPECT_EQ(result.status.code, 1) << named << result.err;
        EXPECT_NE(result.err.find(named), std::string::npos) << result.err;
    }
    Vmm vmm({"-machine", "microvm,acpi=auto,pcie=auto"}, {.qtest = false});
    EXPECT_EQ(vmm.qmp().execute("qom-get", {{"path", "/machine"}, {"property", "acpi"}}), "auto");
}

TEST(Cmdline, CpusBelongToTheNodesThatNameThem)
{
    Vmm vmm({"-machine", "q35", "-m", "32", "-smp", "4,sockets=2", "-object",
             "memory-backend-ram,id=m0,size=16M", "-object", "memory-backend-ram,id=m1,size=16M",
             "-numa", "node,memdev=m0,cpus=0,cpus=3", "-numa", "node,memdev=m1,cpus=1-2"},
            {.qtest = false});
    const std::vector<unsigned> nodes = {0, 1, 1, 0};
    for (const Json& cpu : vmm.qmp().execute("query-cpus-fast")) {
        const auto index = cpu["cpu-index"].get<unsigned>();
        EXPECT_EQ(cpu["props"]["node-id"], nodes.at(index)) << dump_json(cpu);
        EXPECT_EQ(cpu["props"]["socket-id"], index / 2) << dump_json(cpu);
    }
    EXPECT_EQ(vmm.qmp().hmp("info numa"), "2 nodes\nnode 0 cpus: 0 3\nnode 0 size: 16 MB\n"
                                          "node 0 plugged: 0 MB\nnode 1 cpus: 1 2\n"
                                          "node 1 size: 16 MB\nnode 1 plugged: 0 MB\n");
}

TEST(Cmdline, ASilentHostDoesNotKeepASignalFromEndingTheStart)
{
    // A listener whose queue is full drops what knocks: connecting takes minutes.
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(listener.get(), 0), 0);
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    std::vector<UniqueFd> fillers;
    for (int i = 0; i < 4; ++i) {
        fillers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        ::connect(fillers.back().get(), reinterpret_cast<sockaddr*>(&address), size);
    }
    const TempDir dir;
    const std::string peer = fmt::format("tcp:127.0.0.1:{}", ntohs(address.sin_port));
    Process process({.argv = {binary(), "-machine", "none", "-accel", "qtest", "-display", "none",
                              "-pidfile", dir.file("pid"), "-serial", peer},
                     .stderr_file = dir.file("err"),
                     .stdout_file = {},
                     .keep_fds = {},
                     .environment = {}});
    // The thread that connects is there: signals are watched by then.
    const std::string threads = fmt::format("/proc/{}/task", process.pid());
    const Deadline deadline;
    const auto connecting = [&] {
        std::error_code gone;
        for (const auto& entry : std::filesystem::directory_iterator(threads, gone))
            if (read_file(entry.path().string() + "/comm") == "chr/connect\n")
                return true;
        return false;
    };
    while (!connecting() && !deadline.passed())
        ::usleep(2000);
    process.kill(SIGTERM);
    const auto ended = process.wait(Deadline(std::chrono::seconds(10)));
    ASSERT_TRUE(ended) << process.stderr_text();
    EXPECT_EQ(ended->code, 0) << process.stderr_text();
}

TEST(Cmdline, AnAcceleratorThatCannotBeIsSkipped)
{
    Vmm vmm({"-machine", "none", "-accel", "tcg", "-accel", "qtest"}, {.qtest = false});
    EXPECT_EQ(vmm.qmp().execute("query-status")["status"], "running");
}

}  // namespace
}  // namespace godwit::qtest
