// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/property.h"
#include "system/vm.h"
#include "tests/unit/system/event_recorder.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/log.h"

#include <gtest/gtest.h>

namespace godwit::system {
namespace {

struct House {
    Log log;
    FlightRecorder recorder{0};
    std::unique_ptr<Vm> vm = Vm::create(log, recorder).value();
    EventRecorder events;

    House() { vm->set_event_sink(&events); }
    ~House() { vm->set_event_sink(nullptr); }
};

TEST(Vm, TwoLiveInOneProcessAndDoNotMeet)
{
    House one;
    House two;
    one.vm->devices().add_global("device", "x", "1");
    ASSERT_TRUE(one.vm->run_state().start());
    EXPECT_EQ(one.vm->run_state().state(), RunState::Running);
    EXPECT_EQ(two.vm->run_state().state(), RunState::Prelaunch);
    EXPECT_EQ(one.events.names(), std::vector<std::string>{"RESUME"});
    EXPECT_TRUE(two.events.names().empty());
    EXPECT_NE(&one.vm->types(), &two.vm->types());
}

TEST(Vm, EventsBeforeTheSinkAreKept)
{
    Log log;
    FlightRecorder recorder(0);
    auto vm = Vm::create(log, recorder).value();
    ASSERT_TRUE(vm->run_state().start());
    EventRecorder events;
    vm->set_event_sink(&events);
    EXPECT_EQ(events.names(), std::vector<std::string>{"RESUME"});
    vm->set_event_sink(nullptr);
}

TEST(Vm, ShutdownEndsRunWithItsReason)
{
    House house;
    house.vm->request_shutdown(ShutdownCause::HostQmpQuit);
    house.vm->run();
    EXPECT_EQ(house.events.names(), (std::vector<std::string>{"RESUME", "SHUTDOWN"}));
    EXPECT_EQ(house.events.data(1), R"({"guest":false,"reason":"host-qmp-quit"})");
    EXPECT_EQ(house.vm->exit_status(), 0);
}

TEST(Vm, NoShutdownStopsTheGuestInstead)
{
    House house;
    house.vm->config().no_shutdown = true;
    house.vm->request_shutdown(ShutdownCause::GuestShutdown);
    house.vm->loop().post([&] { house.vm->request_shutdown(ShutdownCause::HostSignal); });
    house.vm->run();
    EXPECT_EQ(house.events.names(),
              (std::vector<std::string>{"RESUME", "SHUTDOWN", "STOP", "SHUTDOWN"}));
}

TEST(Vm, NoRebootTurnsAResetIntoAShutdown)
{
    House house;
    house.vm->config().no_reboot = true;
    house.vm->request_reset(ShutdownCause::GuestReset);
    house.vm->run();
    EXPECT_EQ(house.events.data(1), R"({"guest":true,"reason":"guest-reset"})");
}

TEST(Vm, ResetOfAStoppedGuestGoesToPrelaunch)
{
    House house;
    MachineGuard guard(house.vm->lock());
    ASSERT_TRUE(house.vm->run_state().start());
    ASSERT_TRUE(house.vm->run_state().stop(RunState::Paused));
    house.vm->request_reset(ShutdownCause::HostQmpSystemReset);
    while (house.events.names().size() < 3)
        house.vm->loop().run_once(true);
    EXPECT_EQ(house.events.names().back(), "RESET");
    EXPECT_EQ(house.vm->run_state().state(), RunState::Prelaunch);
}

TEST(Vm, SleepsAndWakes)
{
    House house;
    MachineGuard guard(house.vm->lock());
    ASSERT_TRUE(house.vm->run_state().start());
    auto early = house.vm->request_wakeup();
    ASSERT_FALSE(early);
    EXPECT_EQ(early.error().message(), "Unable to wake up: guest is not in suspended state");
    house.vm->request_suspend();
    while (house.events.names().size() < 2)
        house.vm->loop().run_once(true);
    EXPECT_EQ(house.vm->run_state().state(), RunState::Suspended);
    ASSERT_TRUE(house.vm->request_wakeup());
    while (house.events.names().size() < 3)
        house.vm->loop().run_once(true);
    EXPECT_EQ(house.events.names(), (std::vector<std::string>{"RESUME", "SUSPEND", "WAKEUP"}));
    EXPECT_TRUE(house.vm->run_state().running());
}

TEST(Vm, ShutdownHooksRunLatestFirst)
{
    House house;
    std::string order;
    auto first = house.vm->on_shutdown([&] { order += "1"; });
    auto second = house.vm->on_shutdown([&] { order += "2"; });
    auto gone = house.vm->on_shutdown([&] { order += "3"; });
    gone.reset();
    house.vm->request_shutdown(ShutdownCause::HostSignal);
    house.vm->run();
    EXPECT_EQ(order, "21");
}

class Thing : public UserObject {
public:
    std::uint64_t size = 0;
    bool used = false;
    Result<void> complete(Vm&) override
    {
        if (size == 0)
            return Error(Errc::InvalidArgument, "Parameter 'size' is missing");
        return {};
    }
    bool in_use() const noexcept override { return used; }
};

void add_thing(Vm& vm)
{
    ASSERT_TRUE(vm.types().add({.name = "thing",
                                .parent = "object",
                                .properties = {size_property<&Thing::size>("size")},
                                .create = [] { return std::make_unique<Thing>(); }}));
}

std::string object_error(Vm& vm, std::string_view type, std::string id, const Json& properties,
                         DeviceManager::Words words = DeviceManager::Words::Typed)
{
    const auto made = vm.add_object(type, std::move(id), properties, words);
    return made ? "" : made.error().message();
}

TEST(ObjectStore, SpeaksQemusErrors)
{
    House house;
    Vm& vm = *house.vm;
    add_thing(vm);
    EXPECT_EQ(object_error(vm, "foo", "x", Json::object()),
              "Parameter 'qom-type' does not accept value 'foo'");
    EXPECT_EQ(object_error(vm, "device", "x", Json::object()),
              "Parameter 'qom-type' does not accept value 'device'");
    EXPECT_EQ(object_error(vm, "thing", "1x", Json::object()),
              "Parameter 'id' expects an identifier");
    EXPECT_EQ(object_error(vm, "thing", "x", Json::object()), "Parameter 'size' is missing");
    EXPECT_EQ(object_error(vm, "thing", "x", {{"size", "1M"}}), "Parameter 'size' expects uint64");
    EXPECT_EQ(object_error(vm, "thing", "x", {{"foo", 1}}), "Parameter 'foo' is unexpected");
    EXPECT_EQ(object_error(vm, "thing", "x", {{"foo", "1"}}, DeviceManager::Words::Text),
              "Invalid parameter 'foo'");
    EXPECT_EQ(object_error(vm, "thing", "x", {{"size", "x"}}, DeviceManager::Words::Text),
              "Parameter 'size' expects a size value");
    EXPECT_EQ(vm.find_object("x"), nullptr) << "what failed leaves nothing behind";
}

TEST(ObjectStore, KeepsWhatIsInUse)
{
    House house;
    Vm& vm = *house.vm;
    add_thing(vm);
    auto made = vm.add_object("thing", "x", {{"size", "1M"}}, DeviceManager::Words::Text);
    ASSERT_TRUE(made);
    EXPECT_EQ(static_cast<Thing*>(*made)->size, 1u << 20);
    EXPECT_EQ((*made)->path(), "/objects/x");
    EXPECT_EQ(object_error(vm, "thing", "x", {{"size", 1}}),
              "attempt to add duplicate property 'x' to object (type 'container')");
    static_cast<Thing*>(*made)->used = true;
    EXPECT_EQ(vm.remove_object("x").error().message(), "object 'x' is in use, can not be deleted");
    static_cast<Thing*>(*made)->used = false;
    EXPECT_TRUE(vm.remove_object("x"));
    EXPECT_EQ(vm.remove_object("x").error().message(), "object 'x' not found");
}

}  // namespace
}  // namespace godwit::system
