// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/device.h"
#include "system/property.h"
#include "system/vm.h"
#include "tests/unit/system/event_recorder.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/log.h"

#include <gtest/gtest.h>

namespace godwit::system {
namespace {

using Words = DeviceManager::Words;

/// A bus for two devices that may come and go.
class Shelf : public Bus {
public:
    Shelf(std::string name, Device* owner) : Bus("SHELF", std::move(name), owner) {}
    bool accepts_hotplug() const override { return true; }
    bool full() const override { return devices().size() >= 2; }
};

class Rack : public Device {
protected:
    Result<void> realize() override
    {
        add_bus(std::make_unique<Shelf>("shelf.0", this));
        return {};
    }
};

class Box : public Device {
public:
    static inline std::string trail;  // what happened to boxes, for one test at a time

    bool open = false;
    std::uint32_t width = 0;
    std::uint64_t bytes = 0;
    std::string colour;
    OnOffAuto lid = OnOffAuto::Auto;
    Object* twin = nullptr;
    bool fails = false;
    std::uint8_t late = 0;

    static std::vector<Property> properties()
    {
        return {property<&Box::open>("open", false, "whether it is open"),
                property<&Box::width>("width", 7),
                size_property<&Box::bytes>("bytes", std::uint64_t{4096}),
                property<&Box::colour>("colour", "red"),
                enum_property<&Box::lid>("lid", "OnOffAuto", kOnOffAutoNames, "auto"),
                link_property<&Box::twin>("twin", "box"),
                property<&Box::fails>("fails", false),
                settable_any_time(property<&Box::late>("late"))};
    }

protected:
    Result<void> realize() override
    {
        add_gpio_in("", 1, [](unsigned, int level) { trail += level ? "1" : "0"; });
        add_gpio_out("out", 1);
        if (fails)
            return Error(Errc::InvalidArgument, "the box is stuck");
        trail += "+" + id();
        return {};
    }
    void reset(ResetKind) override { trail += "r" + id(); }
    void unrealize() noexcept override { trail += "-" + id(); }
};

struct Devices : ::testing::Test {
    Log log;
    FlightRecorder recorder{0};
    std::unique_ptr<Vm> vm = Vm::create(log, recorder).value();
    EventRecorder events;

    Devices()
    {
        vm->set_event_sink(&events);
        Box::trail.clear();
        EXPECT_TRUE(vm->types().add({.name = "box",
                                     .parent = "device",
                                     .hotpluggable = true,
                                     .bus = "SHELF",
                                     .properties = Box::properties(),
                                     .create = [] { return std::make_unique<Box>(); }}));
        EXPECT_TRUE(vm->types().add({.name = "rack", .parent = "device", .create = [] {
                                         return std::make_unique<Rack>();
                                     }}));
        EXPECT_TRUE(vm->types().add(
            {.name = "fixture", .parent = "device", .user_creatable = false, .create = [] {
                 return std::make_unique<Rack>();
             }}));
    }
    ~Devices() override
    {
        vm->set_event_sink(nullptr);
        vm.reset();
    }

    Box& add_box(std::string id, const Json& properties = Json::object(), bool hotplug = false)
    {
        return static_cast<Box&>(
            *vm->devices().add("box", std::move(id), properties, hotplug).value());
    }
    std::string add_error(std::string_view driver, std::string id, const Json& properties,
                          bool hotplug = false, Words words = Words::Typed)
    {
        const auto made = vm->devices().add(driver, std::move(id), properties, hotplug, words);
        return made ? "" : made.error().message();
    }
    void add_rack() { ASSERT_TRUE(vm->devices().add("rack", "rack", Json::object(), false)); }
};

TEST_F(Devices, StandWhereQemuPutsThem)
{
    add_rack();
    EXPECT_EQ(add_box("a").path(), "/machine/peripheral/a");
    EXPECT_EQ(add_box("").path(), "/machine/peripheral-anon/device[0]");
    const auto builtin = vm->devices().add_builtin("fixture", nullptr, Json::object());
    EXPECT_EQ((*builtin)->path(), "/machine/unattached/device[0]");
    const auto named = vm->devices().add_builtin("fixture", nullptr, Json::object(), "pit");
    EXPECT_EQ((*named)->path(), "/machine/unattached/pit");
    EXPECT_EQ(vm->root().resolve("a")->path(), "/machine/peripheral/a") << "a unique partial path";
    EXPECT_EQ(vm->root().resolve("device[0]"), nullptr) << "not unique";
    EXPECT_EQ(vm->root().resolve("/machine/peripheral/zz"), nullptr);
}

TEST_F(Devices, DefaultsAreSetWhenMade)
{
    add_rack();
    const Box& box = add_box("a");
    EXPECT_EQ(box.width, 7u);
    EXPECT_EQ(box.bytes, 4096u);
    EXPECT_EQ(box.colour, "red");
}

TEST_F(Devices, TextIsConvertedByTheTypeOfTheProperty)
{
    add_rack();
    const Json words = {{"open", "on"}, {"width", "0x10"}, {"bytes", "16M"}, {"lid", "off"}};
    const auto made = vm->devices().add("box", "a", words, false, Words::Text);
    ASSERT_TRUE(made) << made.error().message();
    const auto& box = static_cast<const Box&>(**made);
    EXPECT_TRUE(box.open);
    EXPECT_EQ(box.width, 16u);
    EXPECT_EQ(box.bytes, 16u << 20);
    EXPECT_EQ(box.lid, OnOffAuto::Off);
}

TEST_F(Devices, ComplainInQemusWords)
{
    add_rack();
    const Json none = Json::object();
    EXPECT_EQ(add_error("foo", "", none), "'foo' is not a valid device model name");
    EXPECT_EQ(add_error("device", "", none),
              "Parameter 'driver' expects a non-abstract device type");
    EXPECT_EQ(add_error("fixture", "", none), "Parameter 'driver' expects a pluggable device type");
    EXPECT_EQ(add_error("rack", "r2", none, true),
              "Parameter 'driver' expects a pluggable device type");
    EXPECT_EQ(add_error("box", "1a", none), "Parameter 'id' expects an identifier");
    EXPECT_EQ(add_error("box", "rack", none), "Duplicate device ID 'rack'");
    EXPECT_EQ(add_error("box", "", {{"bus", "foo"}}), "Bus 'foo' not found");
    EXPECT_EQ(add_error("box", "", {{"foo", 1}}), "Property 'box.foo' not found");
    EXPECT_EQ(add_error("box", "", {{"open", "on"}}),
              "Invalid parameter type for 'open', expected: boolean");
    EXPECT_EQ(add_error("box", "", {{"width", true}}), "Parameter 'width' expects uint64");
    EXPECT_EQ(add_error("box", "", {{"width", 5'000'000'000}}),
              "Parameter 'width' expects uint32_t");
    EXPECT_EQ(add_error("box", "", {{"lid", "ajar"}}),
              "Parameter 'lid' does not accept value 'ajar'");
    EXPECT_EQ(add_error("box", "", {{"twin", "b"}}), "Device 'b' not found");
    EXPECT_EQ(add_error("box", "", {{"realized", true}}),
              "Property 'box.realized' is not writable");
    EXPECT_EQ(add_error("box", "", {{"open", "ajar"}}, false, Words::Text),
              "Parameter 'open' expects 'on' or 'off'");
    EXPECT_EQ(add_error("box", "", {{"width", "wide"}}, false, Words::Text),
              "Parameter 'width' expects integer");
    EXPECT_EQ(add_error("box", "", {{"width", "-1"}}, false, Words::Text),
              "Parameter 'width' expects uint32_t");
    EXPECT_EQ(vm->devices().devices().size(), 1u) << "only the rack";
}

TEST_F(Devices, FindNoBusInQemusWords)
{
    EXPECT_EQ(add_error("box", "", Json::object()), "No 'SHELF' bus found for device 'box'");
    add_rack();
    EXPECT_EQ(add_error("box", "", {{"bus", "main-system-bus"}}),
              "Device 'box' can't go on System bus");
    add_box("a");
    add_box("b");
    EXPECT_EQ(add_error("box", "", Json::object()), "Bus 'shelf.0' is full");
}

TEST_F(Devices, OneThatDoesNotRealizeLeavesNothingBehind)
{
    add_rack();
    EXPECT_EQ(add_error("box", "a", {{"fails", true}}), "the box is stuck");
    EXPECT_EQ(vm->devices().find("a"), nullptr);
    EXPECT_TRUE(vm->devices().find_bus("shelf.0")->devices().empty());
    add_box("a");
}

TEST_F(Devices, PropertiesAreFixedOnceRealized)
{
    add_rack();
    Box& box = add_box("a");
    EXPECT_EQ(box.set_property("width", 3).error().message(),
              "Attempt to set property 'width' on device 'a' (type 'box') after it was realized");
    EXPECT_EQ(add_box("").set_property("width", 3).error().message(),
              "Attempt to set property 'width' on anonymous device (type 'box') after it was "
              "realized");
    EXPECT_TRUE(box.set_property("late", 3));
    EXPECT_EQ(box.late, 3);
    EXPECT_EQ(box.get_property("realized").value(), true);
    EXPECT_EQ(box.get_property("parent_bus").value(), "/machine/peripheral/rack/shelf.0");
    EXPECT_EQ(box.get_property("zz").error().message(), "Property 'box.zz' not found");
}

TEST_F(Devices, LinksAreSetByIdOrPath)
{
    add_rack();
    Box& a = add_box("a");
    EXPECT_EQ(add_box("b", {{"twin", "a"}}).twin, &a);
    EXPECT_EQ(vm->root().resolve("/machine/peripheral/b/twin"), &a) << "paths follow links";
}

TEST_F(Devices, GlobalsApplyToLaterOnesAndAreNamedWhenWrong)
{
    add_rack();
    vm->devices().add_global("box", "width", "3");
    EXPECT_EQ(add_box("a").width, 3u);
    EXPECT_EQ(add_box("b", {{"width", 4}}).width, 4u) << "what is said at the device wins";
    ASSERT_TRUE(vm->devices().remove("b"));
    vm->devices().add_global("box", "foo", "1");
    EXPECT_EQ(add_error("box", "c", Json::object()),
              "can't apply global box.foo=1: Property 'box.foo' not found");
}

TEST_F(Devices, UnusedGlobalsAreReported)
{
    vm->devices().add_global("nobody", "x", "1");
    vm->devices().add_global("rack", "y", "2");
    vm->devices().add_global("migration", "x-events", "on");
    const auto taken = vm->devices().take_globals("migration");
    ASSERT_EQ(taken.size(), 1u);
    EXPECT_EQ(taken[0].first, "x-events");
    EXPECT_EQ(vm->devices().unused_globals(),
              (std::vector<std::string>{"global nobody.x has invalid class name",
                                        "global rack.y=2 not used"}));
}

TEST_F(Devices, ResetGoesInOrderOfRealizationAndTakeDownInReverse)
{
    add_rack();
    add_box("a");
    add_box("b");
    vm->devices().reset_all(ResetKind::Cold);
    vm->devices().unrealize_all();
    EXPECT_EQ(Box::trail, "+a+brarb-b-a");
    EXPECT_TRUE(vm->devices().devices().empty());
}

TEST_F(Devices, HotPlugResetsAndUnplugTells)
{
    add_rack();
    add_box("a", Json::object(), true);
    EXPECT_EQ(Box::trail, "+ara");
    ASSERT_TRUE(vm->devices().remove("a"));
    EXPECT_EQ(Box::trail, "+ara-a");
    EXPECT_EQ(events.names(), std::vector<std::string>{"DEVICE_DELETED"});
    EXPECT_EQ(events.data(0), R"({"device":"a","path":"/machine/peripheral/a"})");
    const auto again = vm->devices().remove("a");
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code(), Errc::DeviceNotFound);
    EXPECT_EQ(again.error().message(), "Device 'a' not found");
    add_box("a", Json::object(), true);
}

TEST_F(Devices, WhatIsNotHotPluggableStays)
{
    add_rack();
    EXPECT_EQ(vm->devices().remove("rack").error().message(),
              "Device 'rack' does not support hotplugging");
}

TEST_F(Devices, AMigrationMayForbidHotPlug)
{
    add_rack();
    vm->devices().set_hotplug_gate([](std::string_view command) -> Result<void> {
        return Error(Errc::Busy, std::string(command) + " not allowed while migrating");
    });
    EXPECT_EQ(add_error("box", "a", Json::object(), true),
              "device_add not allowed while migrating");
    add_box("a");
    EXPECT_EQ(vm->devices().remove("a").error().message(),
              "device_del not allowed while migrating");
}

TEST_F(Devices, WiresCarryLevels)
{
    add_rack();
    Box& a = add_box("a");
    Box& b = add_box("b");
    Box::trail.clear();
    a.gpio_out("out", 0).connect(b.gpio_in("", 0));
    a.gpio_out("out", 0).pulse();
    EXPECT_EQ(Box::trail, "10");
    EXPECT_FALSE(b.gpio_in("", 1)) << "there is no such pin";
    std::vector<int> seen;
    b.gpio_in("", 0).intercept([&](int level) { seen.push_back(level); });
    a.gpio_out("out", 0).raise();
    EXPECT_EQ(seen, std::vector<int>{1});
    EXPECT_EQ(Box::trail, "101") << "who listens takes nothing away";
}

TEST_F(Devices, TypesKnowTheirAncestors)
{
    const TypeRegistry& types = vm->types();
    EXPECT_TRUE(types.is_a("box", "device"));
    EXPECT_TRUE(types.is_a("box", "object"));
    EXPECT_FALSE(types.is_a("box", "rack"));
    EXPECT_FALSE(types.is_a("nobody", "object"));
    EXPECT_FALSE(types.is_a("box", "user-creatable"));
    EXPECT_EQ(vm->types().add({.name = "box", .parent = "device"}).error().code(), Errc::Exists);
    EXPECT_EQ(vm->types().add({.name = "x", .parent = "nobody"}).error().code(), Errc::NotFound);
}

}  // namespace
}  // namespace godwit::system
