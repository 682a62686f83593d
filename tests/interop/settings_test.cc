// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /interop/settings: capabilities, parameters, refusals and what query-migrate shows, asked of both
// programs and compared.
#include "tests/qtest/libqtest/migration.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <memory>
#include <set>

namespace godwit::qtest {
namespace {

/// One of each, with the same command line.
class Settings : public testing::Test {
protected:
    void SetUp() override
    {
        const std::string program = reference_qemu();
        if (program.empty() ||
            run_to_end({program, "-version"}).out.find("version 10.0") == std::string::npos)
            GTEST_SKIP() << "no QEMU 10.0 is installed";
        start({"-machine", "none", "-m", "8M"});
    }
    void start(const std::vector<std::string>& arguments)
    {
        ours_ = std::make_unique<Vmm>(arguments);
        theirs_ = std::make_unique<Vmm>(
            arguments, Vmm::Options{.program = reference_qemu(), .qtest = false, .accel = "tcg"});
    }
    // Members in any order.
    static nlohmann::json sorted(const Json& value) { return nlohmann::json::parse(value.dump()); }
    void expect_same(std::string_view command, const Json& arguments = Json::object())
    {
        const Json theirs = theirs_->qmp().reply_to(command, arguments);
        const Json ours = ours_->qmp().reply_to(command, arguments);
        const auto body = [](const Json& reply) {
            return sorted(reply.contains("error") ? reply["error"] : reply["return"]);
        };
        EXPECT_EQ(body(ours), body(theirs)) << command << " " << arguments.dump();
    }
    void expect_same_hmp(std::string_view line)
    {
        EXPECT_EQ(ours_->qmp().hmp(line), theirs_->qmp().hmp(line)) << line;
    }
    std::array<Vmm*, 2> both() { return {ours_.get(), theirs_.get()}; }

    std::unique_ptr<Vmm> ours_;
    std::unique_ptr<Vmm> theirs_;
};

TEST_F(Settings, EveryParameterHasQemusNameDefaultRangeAndRefusal)
{
    expect_same("query-migrate-parameters");
    const Json defaults = theirs_->qmp().execute("query-migrate-parameters");
    const Json values = {-1,      0,       1,    2,     9,     10,      19,     20,
                         21,      99,      100,  101,   255,   256,     1000,   1001,
                         4095,    4096,    5000, 10000, 10001, 99999,   100000, 100001,
                         2000000, 2000001, "x",  "",    true,  nullptr, 1.5};
    for (const auto& [name, usual] : defaults.items()) {
        for (const Json& value : values) {
            // Objects for TLS and files of other kinds are for those who make them.
            if (name != "tls-creds")
                expect_same("migrate-set-parameters", {{name, value}});
        }
        for (Vmm* vmm : both())
            vmm->qmp().execute("migrate-set-parameters", {{name, usual}});
    }
    expect_same("query-migrate-parameters");
    expect_same("migrate-set-parameters", {{"zero-page-detection", "legacy"}});
    expect_same("migrate-set-parameters", {{"multifd-compression", "zlib"}});
    expect_same("migrate-set-parameters", {{"max-bandwidth", 1}, {"multifd-channels", 0}});
    expect_same("query-migrate-parameters");
}

TEST_F(Settings, EveryCapabilityHasQemusNameAndAllPairsTheSameRefusal)
{
    expect_same("query-migrate-capabilities");
    std::vector<std::string> names;
    for (const Json& one : theirs_->qmp().execute("query-migrate-capabilities"))
        names.push_back(one["capability"]);
    ASSERT_EQ(names.size(), 22u);
    const auto refusal = [](Vmm& vmm, const Json& list) -> std::string {
        const Json reply = vmm.qmp().reply_to("migrate-set-capabilities", {{"capabilities", list}});
        return reply.contains("error") ? reply["error"]["desc"] : "";
    };
    Json all_off = Json::array();
    for (const std::string& name : names)
        all_off.push_back({{"capability", name}, {"state", false}});
    for (std::size_t i = 0; i < names.size(); ++i)
        for (std::size_t j = i; j < names.size(); ++j) {
            Json on = {{{"capability", names[i]}, {"state", true}}};
            if (j != i)
                on.push_back({{"capability", names[j]}, {"state", true}});
            const std::string ours = refusal(*ours_, on);
            const std::string theirs = refusal(*theirs_, on);
            // What does not work yet is refused by name, and never before QEMU's own objections.
            if (theirs.empty() && !ours.empty())
                EXPECT_NE(ours.find("is not supported by this version"), std::string::npos) << ours;
            else
                EXPECT_EQ(ours, theirs) << on.dump();
            for (Vmm* vmm : both())
                EXPECT_EQ(refusal(*vmm, all_off), "");
        }
    expect_same("query-migrate-capabilities");
    expect_same("migrate-set-capabilities",
                {{"capabilities", {{{"capability", "compress"}, {"state", true}}}}});
}

TEST_F(Settings, CommandsThatCannotBeAreRefusedInTheSameWords)
{
    const Json file = {{"channel-type", "main"},
                       {"addr", {{"transport", "file"}, {"filename", "/x"}, {"offset", 0}}}};
    for (const Json& arguments :
         {Json::object(), Json{{"uri", "x"}}, Json{{"uri", "x:y"}}, Json{{"uri", "tcp:"}},
          Json{{"uri", "tcp:a"}}, Json{{"uri", "file:/x,offset=zz"}},
          Json{{"uri", "file:/x,offset=-1"}}, Json{{"channels", Json::array()}},
          Json{{"uri", "tcp:a:1"}, {"channels", {file}}}, Json{{"channels", {file, file}}},
          Json{{"uri", "tcp:127.0.0.1:1"}, {"resume", true}}, Json{{"uri", "fd:nobody"}}})
        expect_same("migrate", arguments);
    expect_same("query-migrate");
    expect_same("migrate-incoming", {{"uri", "tcp:127.0.0.1:0"}});
    expect_same("migrate-incoming");
    for (const char* state : {"pre-switchover", "active", "bad"})
        expect_same("migrate-continue", {{"state", state}});
    for (const char* command : {"migrate-start-postcopy", "migrate-pause", "migrate_cancel"})
        expect_same(command);
    expect_same("migrate-recover", {{"uri", "tcp:127.0.0.1:0"}});
    expect_same("announce-self");
    expect_same("announce-self", {{"initial", 50}, {"max", 550}, {"rounds", 2}, {"step", 50}});
}

TEST_F(Settings, TheHumanMonitorAnswersTheSame)
{
    for (const char* line : {"info migrate",
                             "info migrate_capabilities",
                             "info migrate_parameters",
                             "migrate_set_parameter foo 1",
                             "migrate_set_parameter max-bandwidth 1g",
                             "migrate_set_parameter max-bandwidth 10",
                             "migrate_set_parameter max-bandwidth x",
                             "migrate_set_parameter downtime-limit 1s",
                             "migrate_set_parameter downtime-limit 9999999",
                             "migrate_set_parameter xbzrle-cache-size 5",
                             "migrate_set_parameter xbzrle-cache-size 64k",
                             "migrate_set_parameter max-postcopy-bandwidth 1m",
                             "migrate_set_parameter announce-initial 7k",
                             "migrate_set_parameter tls-hostname abc",
                             "migrate_set_parameter direct-io on",
                             "migrate_set_parameter cpu-throttle-tailslow on",
                             "migrate_set_parameter cpu-throttle-tailslow 3",
                             "migrate_set_parameter cpu-throttle-initial 0",
                             "migrate_set_parameter avail-switchover-bandwidth 5m",
                             "migrate_set_parameter zero-page-detection legacy",
                             "migrate_set_parameter mode foo",
                             "migrate_set_parameter block-bitmap-mapping x",
                             "info migrate_parameters",
                             "migrate_set_capability events on",
                             "migrate_set_capability events maybe",
                             "migrate_set_capability foo on",
                             "info migrate_capabilities",
                             "migrate_incoming tcp:127.0.0.1:0",
                             "migrate tcp:127.0.0.1:1 checks",
                             "migrate tcp:127.0.0.1:1 check it",
                             "migrate_cancel",
                             "migrate_continue pre-switchover",
                             "migrate_continue foo",
                             "migrate_start_postcopy",
                             "migrate_pause",
                             "migrate_recover tcp:127.0.0.1:0",
                             "announce_self",
                             "help migrate_cancel"})
        expect_same_hmp(line);
}

// The members of query-migrate, ours beside QEMU's left out.
std::set<std::string> members(const Json& info, const std::string& before = "")
{
    std::set<std::string> names;
    for (const auto& [name, value] : info.items()) {
        if (name.starts_with("x-"))
            continue;
        names.insert(before + name);
        if (value.is_object())
            names.merge(members(value, name + "."));
    }
    return names;
}

TEST_F(Settings, QueryMigrateHasTheSameMembersInEachStatus)
{
    const auto compare = [&](std::string_view status) {
        std::set<std::string> seen[2];
        for (int i = 0; i < 2; ++i) {
            const Json info = both()[i]->qmp().execute("query-migrate");
            EXPECT_EQ(info.value("status", "none"), status) << info.dump();
            seen[i] = members(info);
        }
        EXPECT_EQ(seen[0], seen[1]) << status;
    };
    const auto wait_for = [&](std::string_view status) {
        for (Vmm* vmm : both())
            wait_migration(*vmm, status);
        compare(status);
    };
    compare("none");
    const TempDir dir;
    // Pages of zeros keep QEMU busy at that rate, and others us.
    fill_pattern(ours_->qtest(), 0, 1 << 20, 4);
    for (Vmm* vmm : both()) {
        enable(*vmm, {"events", "xbzrle"});
        vmm->qmp().execute("migrate-set-parameters", {{"max-bandwidth", 1000}});
        vmm->qmp().execute("migrate", {{"uri", "exec:cat >/dev/null"}});
    }
    wait_for("active");
    for (Vmm* vmm : both())
        vmm->qmp().execute("migrate_cancel");
    wait_for("cancelled");
    for (Vmm* vmm : both()) {
        enable(*vmm, {"pause-before-switchover"});
        vmm->qmp().execute("migrate-set-parameters", {{"max-bandwidth", 0}});
        vmm->qmp().execute("migrate", {{"uri", "unix:" + dir.file("nobody")}});
    }
    wait_for("failed");
    for (Vmm* vmm : both())
        vmm->qmp().execute("migrate", {{"uri", "exec:cat >/dev/null"}});
    wait_for("pre-switchover");
    for (Vmm* vmm : both())
        vmm->qmp().execute("migrate-continue", {{"state", "pre-switchover"}});
    wait_for("completed");

    start({"-machine", "none", "-m", "8M", "-incoming", "defer"});
    for (Vmm* vmm : both()) {
        enable(*vmm, {"events"});
        vmm->qmp().execute("migrate-incoming",
                           {{"uri", "tcp:127.0.0.1:0"}, {"exit-on-error", false}});
    }
    wait_for("setup");
    expect_same("migrate-incoming", {{"uri", "tcp:127.0.0.1:0"}});
    expect_same("migrate", {{"uri", "tcp:127.0.0.1:1"}});
    expect_same("migrate-set-capabilities",
                {{"capabilities", {{{"capability", "multifd"}, {"state", true}}}}});
    for (Vmm* vmm : both()) {
        const Json at = vmm->qmp().execute("query-migrate")["socket-address"][0];
        EXPECT_EQ(at["type"], "inet");
        Vmm source({"-machine", "none", "-m", "4M"});
        prepare(source);
        const std::string port = at["port"];
        source.qmp().execute("migrate", {{"uri", "tcp:127.0.0.1:" + port}});
        ASSERT_NO_FATAL_FAILURE(expect_end(source, "failed"));
    }
    wait_for("failed");
}

}  // namespace
}  // namespace godwit::qtest
