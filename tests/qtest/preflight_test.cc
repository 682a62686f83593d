// SPDX-License-Identifier: LGPL-2.1-or-later
//
// migrate-check between two programs: nothing moves, the guest runs on, and then the real move
// works.
#include "tests/qtest/libqtest/migration.h"
#include "tests/qtest/libqtest/vmm.h"

#include <algorithm>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace godwit::qtest {
namespace {

const Vmm::Options kOwnAccel{.accel = ""};

std::vector<std::string> with(std::vector<std::string> words, std::vector<std::string> more)
{
    words.insert(words.end(), more.begin(), more.end());
    return words;
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
    Json check(int measure = 60)
    {
        source.qmp().execute("migrate-check", {{"uri", uri}, {"measure", measure}});
        source.qmp().wait_event("MIGRATION_CHECK");
        return source.qmp().execute("query-migrate-check");
    }
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
    Pair pair(words, words, kOwnAccel);
    for (int i = 0; i < 3; ++i) {
        const Json info = pair.check(200);
        EXPECT_EQ(info["status"], "done") << info.dump();
        EXPECT_EQ(info["verdict"], "ok") << info.dump();
        EXPECT_EQ(info["differences"].size(), 0u) << info.dump();
        EXPECT_GT(info["bandwidth"], 1 << 20) << info.dump();
        EXPECT_GT(info["touched"], 0) << info.dump();
        EXPECT_NEAR(info["dirty-rate"].get<double>() / (1 << 20), 20, 10) << info.dump();
        EXPECT_EQ(info["forecast"]["verdict"], "converges") << info.dump();
    }
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

TEST(Preflight, TheDestinationOutlivesVisitorsThatMisbehave)
{
    const std::vector<std::string> words = {"-machine", "none",   "-m",
                                            "16M",      "-accel", "synth,working-set=4M"};
    Pair pair(words, words, kOwnAccel);
    prepare(pair.source);
    for (const std::string_view bytes :
         {std::string_view("GWck\0\0\0\1\x63\0\0\0\0", 13), std::string_view("GWck"),
          std::string_view("GWck\0\0\0\7", 8),
          std::string_view("GWck\0\0\0\1\2\xff\xff\xff\xff", 13)}) {
        const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un peer{.sun_family = AF_UNIX, .sun_path = {}};
        const std::string path = pair.uri.substr(5);
        path.copy(peer.sun_path, sizeof peer.sun_path - 1);
        ASSERT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&peer), sizeof peer), 0);
        ASSERT_EQ(::write(fd.get(), bytes.data(), bytes.size()),
                  static_cast<ssize_t>(bytes.size()));
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
