// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /vfio/...: machines with devices behind vfio-user move while the devices write into their memory.
#include "tests/qtest/libqtest/migration.h"
#include "tests/qtest/vfio_side.h"

#include <algorithm>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <memory>
#include <optional>

namespace godwit::qtest {
namespace {

const Vmm::Options kOwnAccel{.qtest = true, .accel = ""};

/// What each device of the target says about its arrival.
void expect_arrived(Side& source, Side& target)
{
    for (std::size_t n = 0; n < source.devices(); ++n) {
        const Json status = target.device(n).wait_for("arrived-at", 1);
        EXPECT_EQ(status["arrived-at"], source.device(n).next()) << "device " << n;
        EXPECT_TRUE(status["arrival"]["right"]) << "device " << n << ": " << status["arrival"];
        EXPECT_EQ(status["arrival"]["checked"], kSlots);
        EXPECT_EQ(status["missed"], 0) << "device " << n;
        EXPECT_EQ(status["load-error"], "");
    }
}

struct Shape {
    const char* name;
    std::size_t devices;
    std::vector<std::string> server;
};

class VfioMoves : public testing::TestWithParam<Shape> {};

TEST_P(VfioMoves, NoRecordIsLostTornOrRepeated)
{
    Side::Options options{.devices = GetParam().devices, .server = GetParam().server};
    options.server.insert(options.server.end(), {"--state", "2M", "--churn", "1000"});
    Ends ends(options);
    ASSERT_TRUE(ends.started());
    auto& [source, target] = ends;
    ASSERT_NO_FATAL_FAILURE(move(source.vmm(), target.vmm(), Transport::Unix));
    target.vmm().wait_status("running");
    ASSERT_NO_FATAL_FAILURE(expect_arrived(source, target));
    target.expect_engines_right();
    const Json info = source.vmm().qmp().execute("query-migrate");
    ASSERT_TRUE(info.contains("vfio")) << info;
    EXPECT_GE(info["vfio"]["transferred"].get<std::uint64_t>(), GetParam().devices * 2 * kMiB);
}

INSTANTIATE_TEST_SUITE_P(
    Devices, VfioMoves,
    testing::Values(Shape{"one", 1, {}}, Shape{"four", 4, {}},
                    Shape{"without-precopy", 1, {"--no-precopy"}},
                    Shape{"without-p2p", 1, {"--no-p2p"}},
                    Shape{"stop-copy-only", 1, {"--no-precopy", "--no-p2p"}},
                    Shape{"as-libvfio-user",
                          1,
                          {"--no-p2p", "--strict", "--no-data-size", "--no-precopy-info"}},
                    Shape{"slow-to-stop", 2, {"--stop-delay", "20", "--p2p-delay", "10"}}),
    [](const auto& p) {
        std::string name = p.param.name;
        std::ranges::replace(name, '-', '_');
        return name;
    });

/// How many devices.
class VfioSoak : public testing::TestWithParam<std::size_t> {};
class VfioKvmGuest : public testing::TestWithParam<std::size_t> {};
class VfioSynthGuest : public testing::TestWithParam<std::size_t> {};

std::string devices_name(const testing::TestParamInfo<std::size_t>& info)
{
    return info.param == 1 ? "one_device" : fmt::format("{}_devices", info.param);
}

INSTANTIATE_TEST_SUITE_P(With, VfioSoak, testing::Values(1, 4), devices_name);
INSTANTIATE_TEST_SUITE_P(With, VfioKvmGuest, testing::Values(1, 4), devices_name);
INSTANTIATE_TEST_SUITE_P(With, VfioSynthGuest, testing::Values(1, 4), devices_name);

TEST_P(VfioSoak, ManyMovesInARowLoseNothing)
{
    const int moves = long_form() ? 200 : 5;
    Side::Options options{.devices = GetParam(), .server = {"--state", "1M", "--churn", "500"}};
    auto here = std::make_unique<Side>(options);
    here->start_engines();
    options.incoming = true;
    for (int n = 0; n < moves; ++n) {
        auto there = std::make_unique<Side>(options);
        ASSERT_TRUE(there->vmm().started());
        ASSERT_NO_FATAL_FAILURE(move(here->vmm(), there->vmm(), Transport::Unix)) << n;
        ASSERT_NO_FATAL_FAILURE(expect_arrived(*here, *there)) << n;
        ASSERT_FALSE(testing::Test::HasFailure()) << "move " << n;
        here = std::move(there);
    }
    here->expect_engines_right();
}

/// How much of such a guest and its devices a busy machine moves in the usual 300 ms nobody can
/// say.
void let_go(Side& source)
{
    source.vmm().qmp().execute("migrate-set-parameters", {{"downtime-limit", 2'000'000}});
}

/// A boot-sector guest under KVM that writes its memory and beats on its serial line.
class BootSector {
public:
    Side::Options options(std::size_t devices, std::string_view side) const
    {
        return {.devices = devices,
                .server = {"--state", "2M", "--churn", "1000"},
                .machine = {"-accel", "kvm", "-drive",
                            fmt::format("file={},format=raw,if=none,id=d0", disk_), "-device",
                            "ide-hd,drive=d0", "-serial", fmt::format("file:{}", serial(side))},
                .incoming = side == "target",
                .vmm = kOwnAccel};
    }
    std::string serial(std::string_view side) const { return dir_.file(side); }

private:
    TempDir dir_;
    std::string disk_ =
        patched_disk(dir_, "memory_writer.img", 494, {kMiB, 9 * kMiB, kMiB, 3 * kMiB});
};

TEST_P(VfioKvmGuest, RunsOnAndNoRecordIsLostTornOrRepeated)
{
    GW_SKIP_WITHOUT_KVM();
    const BootSector guest;
    Side source(guest.options(GetParam(), "source"));
    ASSERT_TRUE(source.vmm().started());
    source.start_engines();
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(guest.serial("source"), "B", 2));
    Side target(guest.options(GetParam(), "target"));
    ASSERT_TRUE(target.vmm().started());
    let_go(source);
    ASSERT_NO_FATAL_FAILURE(move(source.vmm(), target.vmm(), Transport::Unix));
    ASSERT_NO_FATAL_FAILURE(expect_arrived(source, target));
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(guest.serial("target"), "B", 3));
    target.expect_engines_right();
}

TEST_P(VfioSynthGuest, RunsOnAndNoRecordIsLostTornOrRepeated)
{
    Side::Options options{.devices = GetParam(),
                          .server = {"--state", "1M", "--churn", "500"},
                          .machine = {"-accel", "synth,working-set=16M,rate=100M", "-smp", "2"},
                          .vmm = kOwnAccel};
    Ends ends(options);
    ASSERT_TRUE(ends.started());
    auto& [source, target] = ends;
    let_go(source);
    ASSERT_NO_FATAL_FAILURE(move(source.vmm(), target.vmm(), Transport::Tcp));
    ASSERT_NO_FATAL_FAILURE(expect_arrived(source, target));
    expect_synth_right(target.vmm());
    target.expect_engines_right();
}

// --- The order of the end ------------------------------------------------------------------------

/// When a device took a step for the last time.
std::int64_t step_time(DeviceServer& device, std::string_view from, std::string_view to)
{
    std::int64_t found = 0;
    for (const Json& step : device.ask("history"))
        if (step["from"] == from && step["to"] == to)
            found = step["ns"].get<std::int64_t>();
    EXPECT_NE(found, 0) << from << " to " << to << " was never taken";
    return found;
}

constexpr const char* kSynced = "migration_dirty_sync";

/// When the recorder last saw an event.
std::int64_t trace_time(const Json& events, std::string_view name, std::string_view field = {},
                        std::string_view value = {})
{
    std::int64_t found = 0;
    for (const Json& event : events)
        if (event["name"] == name && (field.empty() || event["data"][std::string(field)] == value))
            found = event["time-ns"].get<std::int64_t>();
    EXPECT_NE(found, 0) << name << " " << value << " is not in the trace";
    return found;
}

TEST(VfioOrder, AllLeaveTheirPeersThenAllStopThenTablesAreFlushedThenMemoryGoesThenDevices)
{
    Side::Options options{.devices = 3, .server = {}, .machine = {"-device", "its"}};
    Ends ends(options);
    ASSERT_TRUE(ends.started());
    auto& [source, target] = ends;
    ASSERT_NO_FATAL_FAILURE(move(source.vmm(), target.vmm(), Transport::Unix));

    const Json sent = source.vmm().qmp().execute("x-query-trace")["events"];
    std::int64_t first_p2p = INT64_MAX, last_p2p = 0, first_stop = INT64_MAX, last_stop = 0;
    for (std::size_t n = 0; n < source.devices(); ++n) {
        const std::int64_t p2p = step_time(source.device(n), "PRE_COPY", "PRE_COPY_P2P");
        const std::int64_t stop = step_time(source.device(n), "PRE_COPY_P2P", "STOP_COPY");
        first_p2p = std::min(first_p2p, p2p);
        last_p2p = std::max(last_p2p, p2p);
        first_stop = std::min(first_stop, stop);
        last_stop = std::max(last_stop, stop);
    }
    const std::int64_t flushed = trace_time(sent, "its_flush");
    EXPECT_LT(last_p2p, first_stop) << "one stopped while another could still reach it";
    EXPECT_LT(last_stop, flushed);
    EXPECT_LT(flushed, trace_time(sent, "vfio_dirty_sync"));
    EXPECT_LT(trace_time(sent, "vfio_dirty_sync"), trace_time(sent, kSynced));

    std::vector<std::string> parts;
    for (const Json& event : sent)
        if (event["name"] == "migration_switchover_part")
            parts.push_back(event["data"]["part"].get<std::string>());
    const auto place = [&](std::string_view part) { return std::ranges::find(parts, part); };
    std::vector<std::string>::iterator before = parts.begin();
    for (const char* part : {"stop", "last-sync", "ram", "0000:00:04.0/vfio", "0000:00:05.0/vfio",
                             "0000:00:06.0/vfio", "timer", "its", "globalstate", "flush"}) {
        EXPECT_NE(place(part), parts.end()) << part;
        EXPECT_LE(before, place(part)) << part;
        before = place(part);
    }
    EXPECT_GT(trace_time(sent, "migration_switchover_part", "part", "last-sync"), flushed);
    // Their configuration goes among the devices, behind all data.
    for (const char* device : {"0000:00:04.0/vfio", "0000:00:06.0/vfio"})
        EXPECT_NE(std::find(place("timer"), parts.end(), device), parts.end()) << device;
}

/// The order in which the memory listeners were asked for their dirty pages between two events.
std::vector<std::string> listeners_between(const Json& events, std::int64_t from, std::int64_t to)
{
    std::vector<std::string> asked;
    for (const Json& event : events) {
        const std::int64_t when = event["time-ns"].get<std::int64_t>();
        const std::string name = event["name"];
        if (when >= from && when <= to && name.ends_with("_dirty_sync") && name != kSynced &&
            (asked.empty() || asked.back() != name))
            asked.push_back(name);
    }
    return asked;
}

// Every sync asks the devices first and the accelerator behind them: the first ones in pre-copy,
// and the last one behind the flush of what devices keep in guest memory, and before that goes.
TEST(VfioOrder, EachSyncAsksTheDevicesBeforeTheAccelerator)
{
    GW_SKIP_WITHOUT_KVM();
    const BootSector guest;
    auto options = guest.options(2, "source");
    options.machine.insert(options.machine.end(), {"-device", "its"});
    Side source(options);
    ASSERT_TRUE(source.vmm().started());
    source.start_engines();
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(guest.serial("source"), "B", 1));
    options = guest.options(2, "target");
    options.machine.insert(options.machine.end(), {"-device", "its"});
    Side target(options);
    ASSERT_TRUE(target.vmm().started());
    let_go(source);
    ASSERT_NO_FATAL_FAILURE(move(source.vmm(), target.vmm(), Transport::Unix));

    const Json sent = source.vmm().qmp().execute("x-query-trace")["events"];
    const auto asked =
        listeners_between(sent, trace_time(sent, "migration_status", "to", "active"), INT64_MAX);
    EXPECT_GE(asked.size(), 4u) << "one sync in pre-copy, and the last one";
    for (std::size_t n = 0; n < asked.size(); ++n)
        EXPECT_EQ(asked[n], n % 2 == 0 ? "vfio_dirty_sync" : "kvm_dirty_sync") << n;
    const std::int64_t flushed = trace_time(sent, "its_flush");
    const std::int64_t memory = trace_time(sent, "migration_switchover_part", "part", "ram");
    EXPECT_EQ(listeners_between(sent, flushed, memory),
              (std::vector<std::string>{"vfio_dirty_sync", "kvm_dirty_sync"}));
    bool last_seen = false;
    for (const Json& event : sent)
        if (event["name"] == "vfio_dirty_sync" && event["time-ns"].get<std::int64_t>() > flushed)
            last_seen = event["data"]["last"] == 1;
    EXPECT_TRUE(last_seen);
}

// --- What a user sees
// -----------------------------------------------------------------------------

TEST(VfioEvents, OneForEachStateThatADeviceWasBroughtTo)
{
    Ends ends({.devices = 1, .server = {"--state", "1M"}, .properties = "migration-events=on"});
    ASSERT_TRUE(ends.started());
    auto& [source, target] = ends;
    ASSERT_NO_FATAL_FAILURE(move(source.vmm(), target.vmm(), Transport::Unix));
    target.vmm().wait_status("running");
    const auto expect = [](Side& side, std::initializer_list<const char*> states) {
        for (const char* state : states) {
            const Json event = side.vmm().qmp().wait_event("VFIO_MIGRATION");
            ASSERT_TRUE(event.contains("data")) << state;
            EXPECT_EQ(event["data"]["device-state"], state);
            EXPECT_TRUE(event["data"].contains("device-id"));
            EXPECT_NE(event["data"].value("qom-path", "").find("/machine/"), std::string::npos)
                << event;
        }
    };
    expect(source, {"pre-copy", "pre-copy-p2p", "stop-copy", "stop"});
    expect(target, {"resuming", "stop", "running-p2p", "running"});
}

// --- A driver in the guest -----------------------------------------------------------------------

constexpr std::uint64_t kRegisters = 0xe0000000;
constexpr std::uint64_t kMemoryBar = 0xe1000000;
constexpr std::uint64_t kVectorBar = 0xe2000000;
constexpr std::uint64_t kMessage = 0x5000;  // where vector 1's message goes: guest memory

class Driver {
public:
    explicit Driver(QtestClient& qtest) : qtest_(qtest) {}
    std::uint32_t config(unsigned offset)
    {
        qtest_.outl(0xcf8, 0x80000000 | 4 << 11 | offset);
        return qtest_.inl(0xcfc);
    }
    void set_config(unsigned offset, std::uint32_t value)
    {
        qtest_.outl(0xcf8, 0x80000000 | 4 << 11 | offset);
        qtest_.outl(0xcfc, value);
    }
    void start()
    {
        set_config(0x10, kRegisters);
        set_config(0x18, kMemoryBar);
        set_config(0x1c, 0);
        set_config(0x20, kVectorBar);
        set_config(0x04, 0x406);  // memory, bus master, no INTx
        qtest_.writeq(kVectorBar + 16, kMessage);
        qtest_.writel(kVectorBar + 24, 0xabcd);
        qtest_.writel(kVectorBar + 28, 0);
        set_config(0x40, config(0x40) | 0x80000000);  // MSI-X on
        qtest_.writeq(kRegisters + 0x10, kRings);
        qtest_.writel(kRegisters + 0x18, kSlots);
        qtest_.writel(kRegisters + 0x08, 2);  // interrupts; the engine only by doorbell
    }
    void ring_doorbell(std::uint32_t records) { qtest_.writel(kRegisters + 0x104, records); }
    /// The message of vector 1 has come.
    void wait_interrupt()
    {
        const Deadline deadline;
        while (!deadline.passed() && qtest_.readl(kMessage) == 0) {
        }
        ASSERT_EQ(qtest_.readl(kMessage), 0xabcdu) << "no interrupt came";
        qtest_.writel(kMessage, 0);
    }

private:
    QtestClient& qtest_;
};

TEST(VfioDriver, ADriverGoesOnWithItsRegistersMemoryAndInterruptsOnTheOtherSide)
{
    Side::Options options{.devices = 1};
    Side source(options);
    ASSERT_TRUE(source.vmm().started());
    Driver driver(source.vmm().qtest());
    EXPECT_EQ(driver.config(0), 0x00fd1b36u);
    driver.start();
    EXPECT_EQ(source.vmm().qtest().readl(kRegisters), 0x56445747u);
    driver.ring_doorbell(5);
    ASSERT_NO_FATAL_FAILURE(driver.wait_interrupt());
    EXPECT_EQ(source.vmm().qtest().readq(kRegisters + 0x20), 5u);
    source.vmm().qtest().writeq(kMemoryBar + 0x1008, 0x1122334455667788);  // mapped
    source.vmm().qtest().writeq(kMemoryBar + 0x4010, 0x99aabbccddeeff00);  // by message

    options.incoming = true;
    Side target(options);
    ASSERT_TRUE(target.vmm().started());
    ASSERT_NO_FATAL_FAILURE(move(source.vmm(), target.vmm(), Transport::Unix));
    target.vmm().wait_status("running");
    Driver arrived(target.vmm().qtest());
    EXPECT_EQ(target.vmm().qtest().readq(kRegisters + 0x20), 5u);
    EXPECT_EQ(target.vmm().qtest().readq(kMemoryBar + 0x1008), 0x1122334455667788u);
    EXPECT_EQ(target.vmm().qtest().readq(kMemoryBar + 0x4010), 0x99aabbccddeeff00u);
    arrived.ring_doorbell(7);
    ASSERT_NO_FATAL_FAILURE(arrived.wait_interrupt());
    EXPECT_EQ(target.device(0).next(), 12u);
    expect_ring_right(target.vmm().qtest(), target.device(0), kRings, kSlots);
}

}  // namespace
}  // namespace godwit::qtest
