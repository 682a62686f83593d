// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/qmp.h"

#include "qapi/command_context.h"
#include "qapi/command_table.h"
#include "qapi/system_commands.h"
#include "system/command_line.h"
#include "system/startup.h"
#include "system/vm.h"
#include "tests/unit/system/event_recorder.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/log.h"

#include <gtest/gtest.h>

namespace godwit::system {
namespace {

/// The commands of the room on a Vm without a machine, asked by name as a client does.
struct SystemQmpTest : ::testing::Test {
    Log log;
    FlightRecorder recorder{16};
    std::unique_ptr<Vm> vm = Vm::create(log, recorder).value();
    CommandLine line;
    std::unique_ptr<qapi::SystemCommands> commands = make_system_commands(*vm, line);
    qapi::CommandTable table;
    EventRecorder events;
    MachineGuard guard{vm->lock()};

    SystemQmpTest()
    {
        vm->set_event_sink(&events);
        EXPECT_TRUE(register_types(vm->types()));
        qapi::register_commands(table, *commands);
    }
    ~SystemQmpTest() override { vm->set_event_sink(nullptr); }

    Result<Json> run(std::string_view command, const Json& arguments = Json::object())
    {
        qapi::CommandContext context;
        return table.dispatch(command, arguments, context);
    }
    std::string reply(std::string_view command, const Json& arguments = Json::object())
    {
        const auto done = run(command, arguments);
        return done ? dump_json(*done) : "error: " + done.error().message();
    }
    std::string error_of(std::string_view command, const Json& arguments = Json::object())
    {
        const auto done = run(command, arguments);
        return done ? "" : done.error().message();
    }
    std::string status()
    {
        const auto done = run("query-status");
        return done ? done->at("status").get<std::string>() : done.error().message();
    }
};

TEST_F(SystemQmpTest, StopAndContMoveTheGuestAsInQemu)
{
    EXPECT_EQ(error_of("stop"), "") << "stopping what never ran is no error";
    EXPECT_EQ(status(), "prelaunch");
    EXPECT_EQ(error_of("cont"), "");
    EXPECT_EQ(status(), "running");
    EXPECT_EQ(error_of("stop"), "");
    EXPECT_EQ(error_of("stop"), "");
    EXPECT_EQ(status(), "paused");
    EXPECT_EQ(events.names(), (std::vector<std::string>{"RESUME", "STOP"}));
}

TEST_F(SystemQmpTest, StopWhileLoadingMeansDoNotStart)
{
    ASSERT_TRUE(vm->run_state().set(RunState::Inmigrate));
    EXPECT_EQ(error_of("stop"), "");
    EXPECT_FALSE(vm->run_state().autostart());
    EXPECT_EQ(error_of("cont"), "");
    EXPECT_TRUE(vm->run_state().autostart());
    EXPECT_EQ(status(), "inmigrate");
}

TEST_F(SystemQmpTest, NameAndUuidAreWhatWasSaid)
{
    EXPECT_EQ(reply("query-name"), "{}");
    EXPECT_NE(reply("query-uuid").find("00000000-0000-0000-0000-000000000000"), std::string::npos);
    vm->config().name = "vm1";
    vm->config().uuid = {0,    0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                         0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    EXPECT_NE(reply("query-name").find("vm1"), std::string::npos);
    EXPECT_NE(reply("query-uuid").find("00112233-4455-6677-8899-aabbccddeeff"), std::string::npos);
}

TEST_F(SystemQmpTest, ObjectsComeAndGo)
{
    const Json secret = {{"qom-type", "secret"}, {"id", "s"}, {"data", "x"}};
    EXPECT_EQ(error_of("object-add", Json::object()), "Parameter 'qom-type' is missing");
    EXPECT_EQ(error_of("object-add", {{"qom-type", "secret"}}), "Parameter 'id' is missing");
    EXPECT_EQ(error_of("object-add", {{"qom-type", "foo"}, {"id", "x"}}),
              "Parameter 'qom-type' does not accept value 'foo'");
    EXPECT_EQ(error_of("object-add", secret), "");
    EXPECT_EQ(error_of("object-add", secret),
              "attempt to add duplicate property 's' to object (type 'container')");
    EXPECT_NE(reply("qom-get", {{"path", "/objects/s"}, {"property", "type"}}).find("secret"),
              std::string::npos);
    EXPECT_EQ(error_of("object-del", {{"id", "s"}}), "");
    EXPECT_EQ(error_of("object-del", {{"id", "s"}}), "object 's' not found");
}

TEST_F(SystemQmpTest, WhatDoesNotExistIsNamed)
{
    EXPECT_EQ(run("qom-list", {{"path", "/foo"}}).error().code(), Errc::DeviceNotFound);
    EXPECT_EQ(error_of("qom-list", {{"path", "/foo"}}), "Device '/foo' not found");
    EXPECT_EQ(error_of("qom-get", {{"path", "/objects"}, {"property", "x"}}),
              "Property 'container.x' not found");
    EXPECT_EQ(error_of("qom-list-properties", {{"typename", "foo"}}), "Class 'foo' not found");
    EXPECT_EQ(error_of("device-list-properties", {{"typename", "foo"}}), "Device 'foo' not found");
    EXPECT_EQ(error_of("device-list-properties", {{"typename", "secret"}}),
              "Parameter 'typename' expects a non-abstract device type");
    EXPECT_EQ(error_of("device_add", Json::object()), "Parameter 'driver' is missing");
    EXPECT_EQ(error_of("device_add", {{"driver", "foo"}}),
              "'foo' is not a valid device model name");
    EXPECT_EQ(run("device_del", {{"id", "foo"}}).error().code(), Errc::DeviceNotFound);
    EXPECT_EQ(error_of("query-command-line-options", {{"option", "foo"}}),
              "invalid option name: foo");
    EXPECT_EQ(error_of("dumpdtb", {{"filename", "/dev/null"}}), "This machine doesn't have an FDT");
    EXPECT_EQ(error_of("inject-nmi"), "machine does not provide NMIs");
    EXPECT_EQ(error_of("system_wakeup"), "wake-up from suspend is not supported by this guest");
}

TEST_F(SystemQmpTest, ARingIsWrittenAndRead)
{
    const Json ring = {{"id", "r"}, {"backend", {{"type", "ringbuf"}, {"data", Json::object()}}}};
    EXPECT_EQ(error_of("chardev-add", ring), "");
    EXPECT_EQ(error_of("chardev-add", ring), "Chardev with id 'r' already exists");
    EXPECT_EQ(
        error_of("ringbuf-write", {{"device", "r"}, {"data", "aGVsbG8="}, {"format", "base64"}}),
        "");
    EXPECT_EQ(reply("ringbuf-read", {{"device", "r"}, {"size", 10}}), "\"hello\"");
    EXPECT_EQ(error_of("ringbuf-read", {{"device", "r"}, {"size", 0}}),
              "size must be greater than zero");
    EXPECT_EQ(error_of("ringbuf-read", {{"device", "z"}, {"size", 1}}), "Device 'z' not found");
    EXPECT_EQ(error_of("chardev-remove", {{"id", "r"}}), "");
    EXPECT_EQ(error_of("chardev-remove", {{"id", "r"}}), "Chardev 'r' not found");
}

TEST_F(SystemQmpTest, TheRecorderShowsChangesOfTheRunState)
{
    ASSERT_EQ(error_of("cont"), "");
    const std::string trace = reply("x-query-trace");
    EXPECT_NE(trace.find("run_state_change"), std::string::npos);
    EXPECT_NE(trace.find("prelaunch"), std::string::npos);
}

}  // namespace
}  // namespace godwit::system
