// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /qmp/protocol: greeting, negotiation, framing, ids, events, descriptors, out of band.
#include "tests/qtest/libqtest/vmm.h"

#include <algorithm>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace godwit::qtest {
namespace {

/// Connects to a server socket of the program.
QmpClient connect_to(const std::string& path)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return QmpClient(std::move(fd));
}

Vmm::Options bare()
{
    return {.qtest = false, .negotiate = false};
}

TEST(QmpProtocol, TheGreetingSaysVersionAndCapabilities)
{
    Vmm vmm({"-machine", "none"}, bare());
    const Json greeting = vmm.qmp().handshake();
    const Json& version = greeting["QMP"]["version"]["qemu"];
    for (const char* part : {"major", "minor", "micro"})
        EXPECT_TRUE(version[part].is_number_integer()) << part;
    EXPECT_TRUE(greeting["QMP"]["version"]["package"].is_string());
    EXPECT_EQ(greeting["QMP"]["capabilities"], Json({"oob"}));
    EXPECT_EQ(vmm.qmp().execute("query-version"), greeting["QMP"]["version"]);
}

TEST(QmpProtocol, BeforeNegotiationNothingElseWorks)
{
    Vmm vmm({"-machine", "none"}, bare());
    QmpClient& qmp = vmm.qmp();
    qmp.read_greeting();
    const Json refused = qmp.reply_to("query-status");
    EXPECT_EQ(refused["error"]["class"], "CommandNotFound");
    EXPECT_EQ(refused["error"]["desc"],
              "Expecting capabilities negotiation with 'qmp_capabilities'");
    EXPECT_TRUE(qmp.reply_to("qmp_capabilities", {{"enable", {"nonsense"}}}).contains("error"));
    qmp.execute("qmp_capabilities");
    EXPECT_EQ(qmp.reply_to("qmp_capabilities")["error"]["class"], "CommandNotFound");
}

/// Every malformed message gets QEMU's own words; with a QEMU at hand, its live answer is compared.
const std::vector<std::string> kMalformed = {
    R"({"foo":1})",
    R"([1])",
    R"(1 )",
    R"("x")",
    R"({"execute":1})",
    R"({"execute":"stop","arguments":[]})",
    R"({})",
    R"({"execute":"stop","bar":2})",
    R"({"execute":"stop","exec-oob":"stop"})",
    R"({"exec-oob":"stop"})",
    R"({"execute":"no-such-command"})",
    R"({"execute":"qom-get","arguments":{"path":1}})",
    R"({"execute":"qom-get","arguments":{"path":"/"}})",
    R"({"execute":"qom-get","arguments":{"path":"/","property":"x","z":1}})",
    R"({"execute":"query-name","arguments":{"x":1}})",
    R"({"execute":"qmp_capabilities"})",
    R"({"a"})",
    R"({"a":1 "b":2})",
    R"({1:2})",
    R"({"a":})",
    R"([1 2])",
    R"({"a":foo})",
    R"({"a":1,"a":2})",
    R"(])",
    R"({"a":])",
    R"("\q")",
    R"("\ud800")",
    R"("\u12")",
    "{\"a\":-}\n",
    "#\n",
    "\"a\n\n",
};

std::vector<std::string> answers(Vmm& vmm, const std::vector<std::string>& messages)
{
    std::vector<std::string> out;
    for (const std::string& message : messages) {
        EXPECT_TRUE(vmm.qmp().send_raw(message));
        const Json answer = vmm.qmp().next_message();
        out.push_back(answer.contains("error") ? answer["error"].value("class", "") + ": " +
                                                     answer["error"].value("desc", "")
                                               : dump_json(answer));
    }
    return out;
}

TEST(QmpProtocol, MalformedMessagesGetTheWordsOfQemu)
{
    if (reference_qemu().empty())
        GTEST_SKIP() << "no QEMU to compare with";
    Vmm ours({"-machine", "none"}, {.qtest = false});
    Vmm theirs({"-machine", "none"}, {.program = reference_qemu(), .qtest = false, .accel = "tcg"});
    const auto found = answers(ours, kMalformed);
    auto expected = answers(theirs, kMalformed);
    for (std::size_t i = 0; i < kMalformed.size(); ++i) {
        // Our errors are one line whatever they repeat.
        if (const auto end = expected[i].find('\n'); end != std::string::npos)
            expected[i].replace(end, 1, "\\x0a");
        EXPECT_EQ(found[i], expected[i]) << kMalformed[i];
    }
}

TEST(QmpProtocol, RequestsNeedNoLinesAndMayBeSplitAnywhere)
{
    Vmm vmm({"-machine", "none"}, {.qtest = false});
    const std::string three = R"({"execute":"query-name","id":1}{"execute":"query-uuid","id":2})"
                              R"( {'execute':'query-status' ,"id":[3]})";
    for (const char c : three)
        vmm.qmp().send_raw(std::string_view(&c, 1));
    EXPECT_EQ(vmm.qmp().next_message()["id"], 1);
    EXPECT_EQ(vmm.qmp().next_message()["id"], 2);
    EXPECT_EQ(vmm.qmp().next_message()["id"], Json({3}));
}

TEST(QmpProtocol, AnyValueServesAsId)
{
    Vmm vmm({"-machine", "none"}, {.qtest = false});
    for (const char* id : {"null", "true", "-1", "18446744073709551615", "0.5", "\"\"",
                           "\"\\u20ac\"", "[]", "{\"a\":[1,{}]}"}) {
        vmm.qmp().send_raw(std::string(R"({"execute":"query-name","id":)") + id + "}");
        EXPECT_EQ(vmm.qmp().next_message()["id"], parse_json(id).value()) << id;
    }
}

TEST(QmpProtocol, GarbageDoesNotEndTheConversation)
{
    Vmm vmm({"-machine", "none"}, {.qtest = false});
    std::string garbage;
    for (int i = 0; i < 256; ++i)
        garbage += static_cast<char>(i);
    vmm.qmp().send_raw(garbage + "\xff\n" + R"({"execute":"query-name","id":"end"})");
    for (int i = 0; i < 1000; ++i) {
        const Json answer = vmm.qmp().next_message();
        if (answer.contains("id")) {
            EXPECT_TRUE(answer.contains("return"));
            return;
        }
        EXPECT_TRUE(answer["error"]["desc"].get<std::string>().starts_with("JSON parse error"));
    }
    FAIL() << "no end to the errors";
}

TEST(QmpProtocol, RepliesComeInTheOrderOfRequests)
{
    Vmm vmm({"-machine", "none"}, {.qtest = false});
    std::string all;
    for (int i = 0; i < 500; ++i)
        all += R"({"execute":")" + std::string(i % 3 ? "query-status" : "no-such") + R"(","id":)" +
               std::to_string(i) + "}\n";
    vmm.qmp().send_raw(all);
    for (int i = 0; i < 500; ++i)
        ASSERT_EQ(vmm.qmp().next_message()["id"], i);
}

TEST(QmpProtocol, StopAndContTellEveryMonitor)
{
    Vmm vmm({"-machine", "none"}, {.qtest = false});
    const std::string path = vmm.dir().file("second");
    QmpClient& first = vmm.qmp();
    first.execute("cont");
    first.clear_events();
    first.execute("stop");
    EXPECT_TRUE(first.take_event("STOP"));
    first.execute("stop");
    EXPECT_FALSE(first.take_event("STOP")) << "it was stopped already";
    first.execute("cont");
    const Json event = first.wait_event("RESUME");
    EXPECT_TRUE(event["timestamp"]["seconds"].is_number_integer());
    EXPECT_TRUE(event["timestamp"]["microseconds"].is_number_integer());
    EXPECT_FALSE(event.contains("data"));
    first.execute("system_reset");
    EXPECT_EQ(first.wait_event("RESET")["data"]["reason"], "host-qmp-system-reset");
}

TEST(QmpProtocol, SocketsCanBeYankedByTheirNames)
{
    const TempDir dir;
    const std::string path = dir.file("second");
    Vmm vmm({"-machine", "none", "-chardev", "socket,id=c0,server=on,wait=off,path=" + path, "-mon",
             "chardev=c0,mode=control", "-chardev", "null,id=n0"},
            {.qtest = false, .oob = true});
    const Json c0 = {{"type", "chardev"}, {"id", "c0"}};
    const Json all = vmm.qmp().execute("query-yank");
    EXPECT_NE(std::ranges::find(all, c0), all.end()) << all;
    for (const Json& unknown :
         {Json{{"type", "migration"}}, Json{{"type", "chardev"}, {"id", "n0"}},
          Json{{"type", "block-node"}, {"node-name", "x"}}}) {
        const Json reply = vmm.qmp().reply_to("yank", {{"instances", {c0, unknown}}});
        EXPECT_EQ(reply["error"]["class"], "DeviceNotFound");
        EXPECT_EQ(reply["error"]["desc"], "Instance not found");
    }
    QmpClient second = connect_to(path);
    second.handshake();
    vmm.qmp().execute_oob("yank", {{"instances", {c0}}});
    EXPECT_TRUE(second.wait_end());
    connect_to(path).handshake();
    vmm.qmp().execute("yank", {{"instances", Json::array()}});
    for (const Json& entry : vmm.qmp().execute("query-qmp-schema")) {
        const std::string name = entry.value("name", "");
        if (name == "yank" || name == "query-yank") {
            EXPECT_TRUE(entry.value("allow-oob", false)) << name;
        }
    }
}

TEST(QmpProtocol, SeveralMonitorsServeAtOnceAndAgainAfterTheirClientLeft)
{
    const TempDir dir;
    const std::string path = dir.file("second");
    Vmm vmm({"-machine", "none", "-qmp", "unix:" + path + ",server=on,wait=off"}, {.qtest = false});
    for (int round = 0; round < 3; ++round) {
        QmpClient second = connect_to(path);
        second.handshake(round == 1);
        vmm.qmp().execute("system_reset");
        second.wait_event("RESET");
        vmm.qmp().wait_event("RESET");
        second.send_raw(R"({"execute":"query-)");
    }
    vmm.qmp().execute("query-status");
}

TEST(QmpProtocol, OutOfBandCommandsAreOnlyForThoseWhoAsked)
{
    Vmm plain({"-machine", "none"}, {.qtest = false});
    plain.qmp().send_raw(R"({"exec-oob":"migrate-pause","id":1})");
    EXPECT_EQ(plain.qmp().next_message()["error"]["desc"],
              "QMP input member 'exec-oob' is unexpected");
    Vmm vmm({"-machine", "none"}, {.qtest = false, .oob = true});
    vmm.qmp().send_raw(R"({"exec-oob":"migrate-pause","id":1})");
    EXPECT_EQ(vmm.qmp().next_message()["error"]["desc"],
              "migrate-pause is currently only supported during postcopy-active or "
              "postcopy-recover state");
    vmm.qmp().send_raw(R"({"exec-oob":"query-status"})");
    EXPECT_EQ(vmm.qmp().next_message()["error"]["desc"],
              "The command query-status does not support OOB");
    vmm.qmp().execute("query-status");
}

TEST(QmpProtocol, DescriptorsAreNamedAndCollectedInSets)
{
    Vmm vmm({"-machine", "none"}, {.qtest = false});
    QmpClient& qmp = vmm.qmp();
    const UniqueFd file(::memfd_create("passed", MFD_CLOEXEC));
    const int fds[] = {file.get()};
    EXPECT_EQ(qmp.error_of("getfd", {{"fdname", "x"}}),
              "No file descriptor supplied via SCM_RIGHTS");
    qmp.execute_with_fds("getfd", {{"fdname", "x"}}, fds);
    qmp.execute("closefd", {{"fdname", "x"}});
    EXPECT_EQ(qmp.error_of("closefd", {{"fdname", "x"}}), "File descriptor named 'x' not found");
    const Json added = qmp.execute_with_fds("add-fd", {{"fdset-id", 7}, {"opaque", "rw:log"}}, fds);
    EXPECT_EQ(added["fdset-id"], 7);
    const Json sets = qmp.execute("query-fdsets");
    ASSERT_EQ(sets.size(), 1u);
    EXPECT_EQ(sets[0]["fds"][0]["opaque"], "rw:log");
    qmp.execute("remove-fd", {{"fdset-id", 7}, {"fd", added["fd"]}});
    EXPECT_EQ(qmp.execute("query-fdsets"), Json::array());
    EXPECT_EQ(qmp.error_of("remove-fd", {{"fdset-id", 7}}),
              "File descriptor named 'fdset-id:7' not found");
}

/// What query-qmp-schema says, by name.
class Schema {
public:
    explicit Schema(const Json& entries)
    {
        for (const Json& entry : entries)
            entries_[entry["name"]] = entry;
    }

    std::set<std::string> commands() const
    {
        std::set<std::string> names;
        for (const auto& [name, entry] : entries_)
            if (entry["meta-type"] == "command")
                names.insert(name);
        return names;
    }

    /// Arguments with which `command` gets as far as its body: the mandatory ones, of some value.
    Json arguments(const std::string& command) const
    {
        return value(entries_.at(command)["arg-type"]);
    }

private:
    Json value(const std::string& type) const
    {
        const Json& entry = entries_.at(type);
        const std::string kind = entry["meta-type"];
        if (kind == "builtin")
            return builtin(entry["json-type"]);
        if (kind == "enum")
            return entry["values"][0];
        if (kind == "array")
            return Json::array();
        if (kind == "alternate")
            return value(entry["members"][0]["type"]);
        Json object = Json::object();
        add_members(object, entry);
        if (entry.contains("tag")) {
            const Json chosen = object[entry["tag"].get<std::string>()];
            for (const Json& variant : entry["variants"])
                if (variant["case"] == chosen)
                    add_members(object, entries_.at(variant["type"]));
        }
        return object;
    }

    void add_members(Json& object, const Json& entry) const
    {
        for (const Json& member : entry["members"])
            if (!member.contains("default"))
                object[member["name"].get<std::string>()] = value(member["type"]);
    }

    static Json builtin(const std::string& type)
    {
        if (type == "string")
            return "/nonexistent/x";
        if (type == "boolean")
            return false;
        if (type == "int" || type == "number")
            return 1;
        return type == "null" ? Json(nullptr) : Json::object();
    }

    std::map<std::string, Json> entries_;
};

TEST(QmpProtocol, EveryCommandOfTheSchemaIsThereAndDoesSomething)
{
    Vmm vmm({"-machine", "none"}, {.qtest = false});
    const Schema schema(vmm.qmp().execute("query-qmp-schema"));
    std::set<std::string> listed;
    for (const Json& command : vmm.qmp().execute("query-commands"))
        listed.insert(command["name"].get<std::string>());
    EXPECT_EQ(listed, schema.commands());
    EXPECT_GT(listed.size(), 40u);
    for (const std::string& command : listed) {
        // The connection's own, and those after which there is nobody to ask.
        if (command == "qmp_capabilities" || command == "quit" || command == "system_powerdown")
            continue;
        const Json arguments = schema.arguments(command);
        const Json reply = vmm.qmp().reply_to(command, arguments);
        ASSERT_TRUE(reply.is_object()) << command << " " << dump_json(arguments);
        if (!reply.contains("error"))
            continue;
        const std::string desc = reply["error"]["desc"];
        EXPECT_NE(reply["error"]["class"], "CommandNotFound") << command;
        EXPECT_EQ(desc.find("implemented"), desc.npos) << command << ": " << desc;
        EXPECT_EQ(desc.find("' is unexpected"), desc.npos) << command << ": " << desc;
        EXPECT_EQ(desc.find("' is missing"), desc.npos) << command << ": " << desc;
        EXPECT_FALSE(desc.starts_with("Invalid parameter type")) << command << ": " << desc;
    }
    vmm.qmp().execute("query-status");
}

TEST(QmpProtocol, WhatLibvirtAsksOfABinaryIsAnswered)
{
    Vmm vmm({"-machine", "none"}, {.qtest = false});
    for (const char* command :
         {"query-version", "query-target", "query-commands", "query-qmp-schema", "query-machines",
          "query-cpu-definitions", "query-cpus-fast", "query-kvm", "query-block", "query-status",
          "query-name", "query-uuid", "query-chardev", "query-command-line-options",
          "query-iothreads", "query-memory-size-summary", "query-memdev", "qom-list-types"})
        vmm.qmp().execute(command);
    EXPECT_EQ(vmm.qmp().execute("query-target")["arch"], "x86_64");
    EXPECT_FALSE(vmm.qmp().execute("qom-list", {{"path", "/"}}).empty());
    EXPECT_EQ(vmm.qmp().execute("qom-get", {{"path", "/machine"}, {"property", "type"}}),
              "none-machine");
}

TEST(QmpProtocol, QuitAnswersAndEndsWithStatusZero)
{
    Vmm vmm({"-machine", "none"}, {.qtest = false});
    vmm.qmp().execute("quit");
    const Json data = vmm.qmp().wait_event("SHUTDOWN")["data"];
    EXPECT_EQ(data["guest"], false);
    EXPECT_EQ(data["reason"], "host-qmp-quit");
    EXPECT_TRUE(vmm.qmp().wait_end());
    EXPECT_EQ(vmm.wait_exit()->code, 0);
}

}  // namespace
}  // namespace godwit::qtest
