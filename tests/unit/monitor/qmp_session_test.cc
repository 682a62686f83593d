// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor_fixture.h"
#include "system/fd_store.h"

#include <sys/mman.h>
#include <thread>

namespace godwit::monitor {
namespace {

class QmpSessionTest : public MonitorFixture {};

TEST_F(QmpSessionTest, NothingButNegotiationWorksBeforeNegotiation)
{
    Client client = qmp(false);
    const Json greeting = client.json();
    EXPECT_EQ(greeting["QMP"]["capabilities"], Json({"oob"}));
    client.send(R"({"execute":"test-add","id":1})");
    EXPECT_EQ(
        client.line(),
        R"({"id": 1, "error": {"class": "CommandNotFound", "desc": "Expecting capabilities negotiation with 'qmp_capabilities'"}})"
        "\r\n");
    client.send(R"({"execute":"qmp_capabilities"}{"execute":"qmp_capabilities"})");
    EXPECT_EQ(client.line(), "{\"return\": {}}\r\n");
    EXPECT_EQ(client.json()["error"]["desc"],
              "Capabilities negotiation is already complete, command ignored");
}

TEST_F(QmpSessionTest, RepliesComeInOrderWithTheIdOfTheRequest)
{
    Client client = qmp();
    std::string many;
    for (int i = 0; i < 100; ++i)
        many += fmt::format(
            R"({{"execute":"test-add","arguments":{{"a":{0},"b":1}},"id":{{"n":{0}}}}})", i);
    client.send(many);
    for (int i = 0; i < 100; ++i)
        EXPECT_EQ(client.line(),
                  fmt::format("{{\"return\": {}, \"id\": {{\"n\": {}}}}}\r\n", i + 1, i));
}

TEST_F(QmpSessionTest, WhatACommandAsksForHappensBeforeItsReply)
{
    table_.add({.name = "test-reset"}, [this](const Json&, qapi::CommandContext&) -> Result<Json> {
        vm_->request_reset(system::ShutdownCause::HostQmpSystemReset);
        return Json::object();
    });
    table_.add({.name = "test-powerdown"},
               [this](const Json&, qapi::CommandContext&) -> Result<Json> {
                   vm_->request_powerdown();
                   return Json::object();
               });
    Client client = qmp();
    client.send(R"({"execute":"test-reset"}{"execute":"test-powerdown","id":2})");
    EXPECT_EQ(client.json().value("event", ""), "RESET");
    EXPECT_EQ(client.line(), "{\"return\": {}}\r\n");
    EXPECT_EQ(client.json().value("event", ""), "POWERDOWN");
    EXPECT_EQ(client.line(), "{\"return\": {}, \"id\": 2}\r\n");
}

TEST_F(QmpSessionTest, MalformedRequestsAreToldInTheWordsOfQemu)
{
    Client client = qmp();
    const std::vector<std::pair<std::string, std::string>> cases = {
        {"[1]", "QMP input must be a JSON object"},
        {"{}", "QMP input lacks member 'execute'"},
        {R"({"execute":1})", "QMP input member 'execute' must be a string"},
        {R"({"execute":"test-add","arguments":[]})",
         "QMP input member 'arguments' must be an object"},
        {R"({"execute":"test-add","bar":2})", "QMP input member 'bar' is unexpected"},
        {R"({"exec-oob":"test-oob"})", "QMP input member 'exec-oob' is unexpected"},
        {R"({"execute":"foo"})", "The command foo has not been found"},
        {R"({"a":1 "b"})", "JSON parse error, expected separator in dict"},
    };
    for (const auto& [request, error] : cases) {
        client.send(request);
        EXPECT_EQ(client.json()["error"]["desc"], error) << request;
    }
}

TEST_F(QmpSessionTest, OutOfBandNeedsToBeEnabledAndAllowed)
{
    Client client = qmp(false);
    client.json();
    client.send(R"({"execute":"qmp_capabilities","arguments":{"enable":["oob"]}})");
    EXPECT_EQ(client.line(), "{\"return\": {}}\r\n");
    client.send(R"({"exec-oob":"test-oob","id":5})");
    EXPECT_EQ(client.line(), "{\"return\": \"oob\", \"id\": 5}\r\n");
    client.send(R"({"exec-oob":"test-add"})");
    EXPECT_EQ(client.json()["error"]["desc"], "The command test-add does not support OOB");
    client.send(R"({"execute":"test-oob","exec-oob":"test-oob"})");
    EXPECT_EQ(client.json()["error"]["desc"], "QMP input member 'execute' clashes with 'exec-oob'");
}

TEST_F(QmpSessionTest, AnOutOfBandCommandRunsWhileTheMainLoopIsBlocked)
{
    Client client = qmp(false);
    client.json();
    client.send(R"({"execute":"qmp_capabilities","arguments":{"enable":["oob"]}})");
    EXPECT_EQ(client.line(), "{\"return\": {}}\r\n");
    // A few turns, so that the connection has moved to its thread.
    client.send(R"({"execute":"test-add"})");
    client.line();
    // Nobody turns the loop now: the in-band request waits, the other one does not.
    client.send(R"({"execute":"test-add","id":"slow"}{"exec-oob":"test-oob","id":"fast"})");
    EXPECT_EQ(client.line_without_loop(), "{\"return\": \"oob\", \"id\": \"fast\"}\r\n");
    EXPECT_EQ(client.json()["id"], "slow");
}

TEST_F(QmpSessionTest, EventsReachEveryNegotiatedClientAndEarlyOnesAreKept)
{
    Client first = qmp();
    Client second = qmp(false);
    second.json();
    {
        system::MachineGuardIfNeeded guard(vm_->lock());
        vm_->events().emit("STOP", Json::object());
        vm_->events().emit("RESET", {{"guest", false}});
    }
    for (const char* name : {"STOP", "RESET"}) {
        const Json event = first.json();
        EXPECT_EQ(event["event"], name);
        EXPECT_TRUE(event["timestamp"].contains("microseconds"));
        EXPECT_EQ(event.contains("data"), name == std::string_view("RESET"));
    }
    second.send(R"({"execute":"qmp_capabilities"})");
    EXPECT_EQ(second.line(), "{\"return\": {}}\r\n");
    EXPECT_EQ(second.json()["event"], "STOP");
    EXPECT_EQ(second.json()["event"], "RESET");
}

TEST_F(QmpSessionTest, EventsOfAnotherThreadArrive)
{
    Client client = qmp();
    std::jthread thread([this] { vm_->events().emit("MIGRATION", {{"status", "active"}}); });
    EXPECT_EQ(client.json()["data"]["status"], "active");
}

TEST_F(QmpSessionTest, DescriptorsAreTakenInOrderAndNamed)
{
    Client client = qmp();
    client.send(R"({"execute":"getfd","arguments":{"fdname":"a"}})");
    EXPECT_EQ(client.json()["error"]["desc"], "No file descriptor supplied via SCM_RIGHTS");
    const UniqueFd file(::memfd_create("passed", MFD_CLOEXEC));
    client.send_fd(R"({"execute":"getfd","arguments":{"fdname":"a"}})", file.get());
    EXPECT_EQ(client.line(), "{\"return\": {}}\r\n");
    client.send_fd(R"({"execute":"getfd","arguments":{"fdname":"1a"}})", file.get());
    EXPECT_EQ(client.json()["error"]["desc"],
              "Parameter 'fdname' expects a name not starting with a digit");
    client.send(R"({"execute":"closefd","arguments":{"fdname":"a"}})");
    EXPECT_EQ(client.line(), "{\"return\": {}}\r\n");
    client.send(R"({"execute":"closefd","arguments":{"fdname":"a"}})");
    EXPECT_EQ(client.json()["error"]["desc"], "File descriptor named 'a' not found");
    client.send_fd(R"({"execute":"add-fd","arguments":{"fdset-id":3,"opaque":"x"}})", file.get());
    EXPECT_EQ(client.json()["return"]["fdset-id"], 3);
    EXPECT_TRUE(vm_->fds().open("/dev/fdset/3", O_RDWR));
    client.send(R"({"execute":"query-fdsets"})");
    EXPECT_EQ(client.json()["return"][0]["fds"][0]["opaque"], "x");
    client.send(R"({"execute":"remove-fd","arguments":{"fdset-id":3}})");
    EXPECT_EQ(client.line(), "{\"return\": {}}\r\n");
}

TEST_F(QmpSessionTest, AClientThatDoesNotReadIsNotReadFrom)
{
    table_.add({.name = "test-large"}, [](const Json&, qapi::CommandContext&) -> Result<Json> {
        return Json(std::string(256 << 10, 'x'));
    });
    Client client = qmp();
    std::string requests;
    for (int i = 0; i < 200; ++i)
        requests += R"({"execute":"test-large"})";
    client.send(requests);
    for (int i = 0; i < 100; ++i)
        vm_->loop().run_once(false);
    EXPECT_LT(vm_->chardevs().find("compat_monitor0")->queued(), 4u << 20);
    for (int i = 0; i < 200; ++i)
        EXPECT_GT(client.line().size(), 256u << 10);
}

TEST_F(QmpSessionTest, AClientThatLeavesInTheMiddleOfARequestHarmsNobody)
{
    Client other = qmp();
    {
        Client client = qmp();
        client.send(R"({"execute":"test-add","argu)");
        vm_->loop().run_once(false);
    }
    for (int i = 0; i < 10; ++i)
        vm_->loop().run_once(false);
    other.send(R"({"execute":"test-add"})");
    EXPECT_EQ(other.line(), "{\"return\": 0}\r\n");
}

TEST_F(QmpSessionTest, PrettyTextIsIndentedByFour)
{
    auto [device, client] = connection();
    {
        system::MachineGuardIfNeeded guard(vm_->lock());
        ASSERT_TRUE(monitors_->add_qmp(device, true));
    }
    client.until("}\r\n}\r\n");
    client.send(R"({"execute":"qmp_capabilities","id":1})");
    EXPECT_EQ(client.until("\r\n}\r\n"), "{\r\n    \"return\": {},\r\n    \"id\": 1\r\n}\r\n");
}

TEST_F(QmpSessionTest, TheSchemaNamesEveryCommandOfTheTable)
{
    Client client = qmp();
    client.send(R"({"execute":"query-qmp-schema"})");
    const Json schema = client.json()["return"];
    ASSERT_TRUE(schema.is_array());
    client.send(R"({"execute":"query-commands"})");
    const Json commands = client.json()["return"];
    for (const Json& command : commands) {
        if (command["name"].get<std::string>().starts_with("test-"))
            continue;
        const bool found = std::ranges::any_of(schema, [&](const Json& entry) {
            return entry["meta-type"] == "command" && entry["name"] == command["name"];
        });
        EXPECT_TRUE(found) << command["name"];
    }
}

}  // namespace
}  // namespace godwit::monitor
