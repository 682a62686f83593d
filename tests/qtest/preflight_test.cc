// SPDX-License-Identifier: LGPL-2.1-or-later
//
// migrate-check between two programs: nothing moves, the guest runs on, and then the real move
// works.
#include "tests/qtest/libqtest/migration.h"
#include "tests/qtest/libqtest/vmm.h"
#include "util/units.h"

#include <algorithm>
#include <cmath>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

namespace godwit::qtest {
namespace {

std::size_t beats_in(const std::string& serial)
{
    std::ifstream file(serial);
    return static_cast<std::size_t>(std::ranges::count(
        std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()), 'B'));
}

std::vector<std::string> with(std::vector<std::string> words, std::vector<std::string> more)
{
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

Json check(Vmm& source, const std::string& uri, int measure)
{
    source.qmp().execute("migrate-check", {{"uri", uri}, {"measure", measure}});
    source.qmp().wait_event("MIGRATION_CHECK");
    return source.qmp().execute("query-migrate-check");
}

struct Pair {
    TempDir dir;
    std::string uri = "unix:" + dir.path() + "/m";
    Vmm source;
    Vmm target;

    Pair(std::vector<std::string> here, std::vector<std::string> there, const Vmm::Options& options)
        : source(std::move(here), options),
          target(with(std::move(there), {"-incoming", uri}), options)
    {}
    Json check(int measure = 60) { return qtest::check(source, uri, measure); }
};

const Json* find(const Json& info, std::string_view kind, std::string_view name)
{
    for (const Json& d : info["differences"])
        if (d["kind"] == kind && d["name"] == name)
            return &d;
    return nullptr;
}

TEST(Preflight, TheSameMachinesAreOkAndThenMove)
{
    const std::vector<std::string> words = {"-machine", "none",   "-m",
                                            "64M",      "-accel", "synth,working-set=16M,rate=20M"};
    Pair pair(words, words, kAccelGiven);
    // On a busy host the guest may get too little CPU to write as fast as it should.
    bool measured = false;
    for (int i = 0; i < 2 || (!measured && i < 20); ++i) {
        const Json info = pair.check(200);
        EXPECT_EQ(info["status"], "done") << info.dump();
        EXPECT_EQ(info["verdict"], "ok") << info.dump();
        EXPECT_EQ(info["differences"].size(), 0u) << info.dump();
        EXPECT_GT(info["bandwidth"], 1 << 20) << info.dump();
        measured |=
            std::abs(info["dirty-rate"].get<double>() / (1 << 20) - 20) < 10 && info["touched"] > 0;
        EXPECT_EQ(info["forecast"]["verdict"], "converges") << info.dump();
    }
    EXPECT_TRUE(measured);
    EXPECT_FALSE(pair.source.qmp().take_event("STOP"));
    EXPECT_EQ(pair.source.qmp().execute("query-status")["status"], "running");
    EXPECT_EQ(pair.target.qmp().execute("query-status")["status"], "inmigrate");
    prepare(pair.source);
    pair.source.qmp().execute("migrate", {{"uri", pair.uri}});
    expect_end(pair.source, "completed");
    pair.target.wait_status("running");
    expect_synth_right(pair.target);
}

TEST(Preflight, NamesWhatDiffersOnAWholeMachine)
{
    Pair pair({"-machine", "q35", "-m", "32M", "-smp", "2", "-device",
               "isa-serial,id=extra,index=1", "-uuid", "00000000-0000-0000-0000-000000000001"},
              {"-machine", "q35", "-m", "48M", "-smp", "1"}, Vmm::Options());
    pair.target.qmp().execute("migrate-set-capabilities",
                              {{"capabilities",
                                {{{"capability", "switchover-ack"}, {"state", true}},
                                 {{"capability", "return-path"}, {"state", true}}}}});
    const Json info = pair.check();
    EXPECT_EQ(info["verdict"], "refused") << info.dump();
    const Json* ram = find(info, "ram", "pc.ram");
    ASSERT_NE(ram, nullptr) << info.dump();
    EXPECT_EQ((*ram)["source"], std::to_string(32 << 20));
    EXPECT_EQ((*ram)["destination"], std::to_string(48 << 20));
    EXPECT_EQ((*ram)["fatal"], true);
    EXPECT_NE(find(info, "machine", "uuid"), nullptr) << info.dump();
    EXPECT_NE(find(info, "capability", "switchover-ack"), nullptr) << info.dump();
    EXPECT_NE(find(info, "device", "/machine/peripheral/extra"), nullptr) << info.dump();
    const bool section = std::ranges::any_of(info["differences"], [](const Json& d) {
        return d["kind"] == "section" && d["fatal"] == true &&
               d["name"].get<std::string>().find("serial") != std::string::npos;
    });
    EXPECT_TRUE(section) << info.dump();
    EXPECT_EQ(pair.target.qmp().execute("query-status")["status"], "inmigrate");
    const std::string text = pair.source.qmp().hmp("info migrate_check");
    EXPECT_NE(text.find("! ram pc.ram: the sizes of a block of memory differ"), std::string::npos)
        << text;
}

// What the destination has otherwise than the source, and what must be said of it.
struct Other {
    const char* what;
    std::vector<std::string> words;  // of a destination, in place of what it has of the same kind
    const char* kind;
    const char* name;
    bool fatal;
};

std::vector<std::string> kvm_machine(const std::string& disk, const std::string& serial,
                                     const Other& other)
{
    const auto word = [&](std::string_view option, std::string usual) {
        const auto at = std::ranges::find(other.words, option);
        return at == other.words.end() ? std::move(usual) : *(at + 1);
    };
    std::vector<std::string> words = {
        "-machine", word("-machine", "q35"),
        "-accel",   "kvm",
        "-m",       word("-m", "64M"),
        "-smp",     word("-smp", "1"),
        "-cpu",     word("-cpu", "qemu64"),
        "-drive",   fmt::format("file={},format=raw,if=none,id=d0", disk),
        "-serial",  "file:" + serial};
    if (word("-machine", "q35") == "q35")
        words.insert(words.end(), {"-device", "ide-hd,drive=d0"});
    if (const std::string device = word("-device", "isa-serial,id=extra,index=1"); !device.empty())
        words.insert(words.end(), {"-device", device});
    if (const std::string uuid = word("-uuid", ""); !uuid.empty())
        words.insert(words.end(), {"-uuid", uuid});
    return words;
}

const std::vector<Other>& others()
{
    static const std::vector<Other> all = {
        {"nothing", {}, "", "", false},
        {"a feature less", {"-cpu", "qemu64,-sse2"}, "cpu", "sse2", true},
        {"a feature more", {"-cpu", "qemu64,+vme"}, "cpu", "vme", false},
        {"another model", {"-cpu", "max"}, "cpu", "type", false},
        {"another stepping", {"-cpu", "qemu64,stepping=3"}, "cpu", "stepping", false},
        {"more CPUs", {"-smp", "2"}, "cpu", "count", true},
        {"another machine", {"-machine", "microvm", "-device", ""}, "machine", "machine", true},
        {"more memory", {"-m", "80M"}, "ram", "pc.ram", true},
        {"a device less", {"-device", ""}, "section", "serial 1", true},
        {"another property",
         {"-device", "isa-serial,id=extra,index=2"},
         "device",
         "/machine/peripheral/extra.index",
         false},
        {"another UUID",
         {"-uuid", "00000000-0000-0000-0000-000000000001"},
         "machine",
         "uuid",
         false},
    };
    return all;
}

// A boot-sector guest that writes all the time, against destinations that are like it but for one
// thing each.
TEST(PreflightKvm, ARunningGuestsDifferencesAreNamed)
{
    if (const auto reason = kvm_missing())
        GTEST_SKIP() << *reason;
    const TempDir dir;
    const std::string disk =
        patched_disk(dir, "memory_writer.img", 494, {kMiB, 5 * kMiB, kMiB, 3 * kMiB});
    const std::string serial = dir.file("source");
    Vmm source(kvm_machine(disk, serial, {}), kAccelGiven);
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(serial, "B", 2));
    for (const Other& other : others()) {
        SCOPED_TRACE(other.what);
        const TempDir meeting;
        const std::string uri = "unix:" + meeting.path() + "/m";
        Vmm target(with(kvm_machine(disk, meeting.file("serial"), other), {"-incoming", uri}),
                   kAccelGiven);
        const Json info = check(source, uri, 20);
        EXPECT_EQ(info["differences"].empty(), *other.kind == 0) << info.dump();
        EXPECT_TRUE(info.contains("dirty-rate") && info.contains("bandwidth")) << info.dump();
        if (*other.kind == 0) {
            EXPECT_EQ(info["verdict"], "ok") << info.dump();
        } else {
            const Json* found = find(info, other.kind, other.name);
            ASSERT_NE(found, nullptr) << info.dump();
            EXPECT_EQ((*found)["fatal"], other.fatal) << info.dump();
            EXPECT_EQ(info["verdict"], other.fatal ? "refused" : "doubtful") << info.dump();
        }
        EXPECT_EQ(target.qmp().execute("query-status")["status"], "inmigrate");
    }
    // The guest wrote on all the time.
    EXPECT_FALSE(source.qmp().take_event("STOP"));
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(serial, "B", beats_in(serial) + 2));
}

TEST(Preflight, SaysThatTheGuestIsTooFast)
{
    const std::vector<std::string> words = {"-machine", "none",   "-m",
                                            "64M",      "-accel", "synth,working-set=48M"};
    Pair pair(words, words, kAccelGiven);
    pair.source.qmp().execute("migrate-set-parameters", {{"max-bandwidth", 1 << 20}});
    Json info = pair.check(200);
    for (int i = 0; i < 20 && info["verdict"] == "ok"; ++i)  // a guest that got no CPU
        info = pair.check(200);
    EXPECT_EQ(info["verdict"], "doubtful") << info.dump();
    const std::string forecast = info["forecast"]["verdict"];
    EXPECT_NE(forecast, "converges") << info.dump();
    EXPECT_NE(find(info, "pace", forecast), nullptr) << info.dump();
}

UniqueFd connected(const std::string& uri)
{
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un peer{.sun_family = AF_UNIX, .sun_path = {}};
    uri.substr(5).copy(peer.sun_path, sizeof peer.sun_path - 1);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&peer), sizeof peer), 0);
    return fd;
}

void say(const UniqueFd& fd, std::string_view bytes)
{
    EXPECT_EQ(::write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
}

std::string hear(const UniqueFd& fd, std::size_t count)
{
    std::string bytes(count, '\0');
    EXPECT_EQ(::recv(fd.get(), bytes.data(), count, MSG_WAITALL), static_cast<ssize_t>(count));
    return bytes;
}

// Started with little memory that it may lock; the other two limits are those of the host.
TEST(Preflight, ADestinationTellsTheLimitsOfItsHost)
{
    const TempDir dir;
    const std::string uri = "unix:" + dir.file("m");
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &before), 0);
    rlimit little = before;
    little.rlim_cur = std::min<rlim_t>(before.rlim_max, 128 * 1024);
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &little), 0);
    const Vmm vmm({"-machine", "none", "-m", "8M", "-incoming", uri}, {.qtest = false});
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &before), 0);

    const UniqueFd fd = connected(uri);
    say(fd, std::string_view("GWck\0\0\0\1\1\0\0\0\0", 13));
    const std::string head = hear(fd, 5);
    ASSERT_EQ(head[0], 1);
    std::size_t size = 0;
    for (const char c : head.substr(1))
        size = size << 8 | static_cast<unsigned char>(c);
    ASSERT_LT(size, std::size_t{4} << 20);
    const Json limits = Json::parse(hear(fd, size), nullptr, false)["limits"];
    EXPECT_EQ(limits["locked-memory"], little.rlim_cur) << limits.dump();
    std::ifstream meminfo("/proc/meminfo");
    std::uint64_t total_kib = 0;
    for (std::string word; meminfo >> word && word != "MemTotal:";) {
    }
    meminfo >> total_kib;
    EXPECT_GT(limits["free-memory"], 1 << 20) << limits.dump();
    EXPECT_LE(limits["free-memory"], total_kib << 10) << limits.dump();
    const UniqueFd faults(
        static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY)));
    const bool may = faults || ::access("/dev/userfaultfd", R_OK | W_OK) == 0;
    EXPECT_EQ(limits["userfaultfd"] == "ok", may) << limits.dump();
}

TEST(Preflight, TheDestinationOutlivesVisitorsThatMisbehave)
{
    const std::vector<std::string> words = {"-machine", "none",   "-m",
                                            "16M",      "-accel", "synth,working-set=4M"};
    Pair pair(words, words, kAccelGiven);
    prepare(pair.source);
    for (const std::string_view bytes :
         {std::string_view("GWck\0\0\0\1\x63\0\0\0\0", 13), std::string_view("GWck"),
          std::string_view("GWck\0\0\0\7", 8),
          std::string_view("GWck\0\0\0\1\2\xff\xff\xff\xff", 13)}) {
        const UniqueFd fd = connected(pair.uri);
        say(fd, bytes);
    }
    EXPECT_EQ(pair.check()["verdict"], "ok");
    pair.source.qmp().execute("migrate", {{"uri", pair.uri}});
    expect_end(pair.source, "completed");
    pair.target.wait_status("running");
    expect_synth_right(pair.target);
}

TEST(Preflight, WhatCannotBeCheckedIsRefusedOrFails)
{
    Vmm vmm({"-machine", "none"});
    EXPECT_NE(vmm.qmp().error_of("migrate-check", {{"uri", "exec:cat"}}).find("connected to twice"),
              std::string::npos);
    EXPECT_NE(vmm.qmp().error_of("migrate-check").find("need either"), std::string::npos);
    EXPECT_NE(vmm.qmp()
                  .error_of("migrate-check", {{"uri", "tcp:127.0.0.1:1"}, {"measure", 999999}})
                  .find("'measure' expects 1 to 10000"),
              std::string::npos);
    vmm.qmp().execute("migrate-check", {{"uri", "unix:/nowhere/at/all"}});
    const Json event = vmm.qmp().wait_event("MIGRATION_CHECK");
    EXPECT_EQ(event["data"]["status"], "failed");
    const Json info = vmm.qmp().execute("query-migrate-check");
    EXPECT_NE(info["error-desc"].get<std::string>().find("/nowhere/at/all"), std::string::npos);
    EXPECT_FALSE(info.contains("verdict"));
}

}  // namespace
}  // namespace godwit::qtest
