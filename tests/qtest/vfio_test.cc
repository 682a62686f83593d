// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /vfio/...: machines with devices behind vfio-user move while the devices write into their memory.
#include "tests/qtest/libqtest/migration.h"
#include "tests/qtest/vfio_support.h"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <memory>
#include <optional>

namespace godwit::qtest {
namespace {

constexpr std::uint32_t kMib = 1 << 20;
constexpr std::uint64_t kRings = 40 * kMib;  // one a MiB
constexpr std::uint32_t kSlots = 3000;
constexpr std::uint32_t kRate = 20000;
const Vmm::Options kOwnAccel{.qtest = true, .accel = ""};

std::uint64_t ring_of(std::size_t device)
{
    return kRings + device * kMib;
}

/// GODWIT_CHAOS=long: all there is, not a sample.
bool long_form()
{
    const char* form = std::getenv("GODWIT_CHAOS");
    return form != nullptr && form == std::string_view("long");
}

/// A machine with its devices.
class Side {
public:
    struct Options {
        std::size_t devices = 1;
        std::vector<std::string> server;   ///< options of each device's server
        std::vector<std::string> machine;  ///< besides those of vfio_machine()
        std::string properties;            ///< of each vfio-user-pci
        bool incoming = false;
        Vmm::Options vmm;
    };
    explicit Side(const Options& options)
    {
        std::vector<DeviceServer*> all;
        for (std::size_t n = 0; n < options.devices; ++n) {
            std::vector<std::string> words = options.server;
            words.insert(words.end(), {"--id", std::to_string(n + 1), "--seed",
                                       std::to_string(options.incoming ? 100 : n + 1)});
            servers_.push_back(std::make_unique<DeviceServer>(words));
            all.push_back(servers_.back().get());
        }
        auto arguments = vfio_machine(all, "64M", options.properties);
        arguments.insert(arguments.end(), options.machine.begin(), options.machine.end());
        if (options.incoming)
            arguments.insert(arguments.end(), {"-incoming", "defer"});
        vmm_ = std::make_unique<Vmm>(arguments, options.vmm);
    }
    Vmm& vmm() { return *vmm_; }
    DeviceServer& device(std::size_t n) { return *servers_[n]; }
    std::size_t devices() const { return servers_.size(); }

    void start_engines()
    {
        for (std::size_t n = 0; n < devices(); ++n)
            device(n).start(ring_of(n), kSlots, kRate);
        for (std::size_t n = 0; n < devices(); ++n)
            device(n).wait_for("next", kSlots);
    }
    /// The engines go on, and then their rings are right.
    void expect_engines_right()
    {
        for (std::size_t n = 0; n < devices(); ++n) {
            device(n).wait_for("next", device(n).next() + kSlots / 2);
            device(n).ask("stop");
            expect_ring_right(vmm().qtest(), device(n), ring_of(n), kSlots);
            device(n).start(ring_of(n), kSlots, kRate);
        }
    }

private:
    std::vector<std::unique_ptr<DeviceServer>> servers_;
    std::unique_ptr<Vmm> vmm_;
};

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
    Side source(options);
    ASSERT_TRUE(source.vmm().started());
    source.start_engines();
    options.incoming = true;
    Side target(options);
    ASSERT_TRUE(target.vmm().started());
    ASSERT_NO_FATAL_FAILURE(move(source.vmm(), target.vmm(), Transport::Unix));
    target.vmm().wait_status("running");
    ASSERT_NO_FATAL_FAILURE(expect_arrived(source, target));
    target.expect_engines_right();
    const Json info = source.vmm().qmp().execute("query-migrate");
    ASSERT_TRUE(info.contains("vfio")) << info;
    EXPECT_GE(info["vfio"]["transferred"].get<std::uint64_t>(), GetParam().devices * 2 * kMib);
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

TEST(VfioSoak, ManyMovesInARowLoseNothing)
{
    const int moves = long_form() ? 200 : 10;
    Side::Options options{.devices = 2, .server = {"--state", "1M", "--churn", "500"}};
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

TEST(VfioGuests, ABootSectorGuestUnderKvmMovesWithItsDevice)
{
    GW_SKIP_WITHOUT_KVM();
    const TempDir dir;
    const std::string disk =
        patched_disk(dir, "memory_writer.img", 494, {kMib, 9 * kMib, kMib, 3 * kMib});
    const auto options = [&](std::string_view side) {
        return Side::Options{.devices = 1,
                             .server = {"--state", "2M", "--churn", "1000"},
                             .machine = {"-accel", "kvm", "-drive",
                                         fmt::format("file={},format=raw,if=none,id=d0", disk),
                                         "-device", "ide-hd,drive=d0", "-serial",
                                         fmt::format("file:{}", dir.file(side))},
                             .incoming = side == "target",
                             .vmm = kOwnAccel};
    };
    Side source(options("source"));
    ASSERT_TRUE(source.vmm().started());
    source.start_engines();
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(dir.file("source"), "B", 2));
    Side target(options("target"));
    ASSERT_TRUE(target.vmm().started());
    ASSERT_NO_FATAL_FAILURE(move(source.vmm(), target.vmm(), Transport::Unix));
    ASSERT_NO_FATAL_FAILURE(expect_arrived(source, target));
    ASSERT_NO_FATAL_FAILURE(wait_for_beats(dir.file("target"), "B", 3));
    target.expect_engines_right();
}

TEST(VfioGuests, ASyntheticGuestMovesWithItsDevices)
{
    Side::Options options{.devices = 4,
                          .server = {"--state", "1M", "--churn", "500"},
                          .machine = {"-accel", "synth,working-set=16M,rate=100M", "-smp", "2"},
                          .vmm = kOwnAccel};
    Side source(options);
    ASSERT_TRUE(source.vmm().started());
    source.start_engines();
    options.incoming = true;
    Side target(options);
    ASSERT_TRUE(target.vmm().started());
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
    Side source(options);
    ASSERT_TRUE(source.vmm().started());
    source.start_engines();
    options.incoming = true;
    Side target(options);
    ASSERT_TRUE(target.vmm().started());
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
    EXPECT_LT(flushed, trace_time(sent, "migration_dirty_sync"));

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

// --- Faults --------------------------------------------------------------------------------------

struct Trouble {
    std::string name;
    Json fault;
    bool device_gone = false;  ///< the connection is lost: it cannot run on
};

void PrintTo(const Trouble& trouble, std::ostream* out)
{
    *out << trouble.name;
}

std::string trouble_name(const testing::TestParamInfo<Trouble>& info)
{
    return info.param.name;
}

/// For a device that is not going to answer. Others are given all their time: the machine may be
/// busy.
std::string patience_with(const Trouble& trouble)
{
    const bool silent = trouble.fault["kind"] == "hang" || trouble.fault["kind"] == "bad-length";
    return silent ? "x-msg-timeout=1500" : "";
}

/// Each kind of fault at each place: "arc" and two states, or "command" and its name. Those that
/// take seconds, because somebody waits in vain, only for commands unless in the long form.
std::vector<Trouble> every_trouble(const std::vector<std::pair<const char*, const char*>>& places)
{
    std::vector<Trouble> all;
    for (const auto& [where, place] : places)
        for (const char* kind : {"refuse", "hang", "disconnect", "bad-length", "reset"}) {
            const bool slow =
                kind == std::string_view("hang") || kind == std::string_view("bad-length");
            if (slow && std::string_view(where) == "arc" && !long_form())
                continue;
            std::string name = fmt::format("{}_at_{}", kind, place);
            std::ranges::replace_if(
                name, [](char c) { return c == '-' || c == ':' || c == '*'; }, '_');
            Json fault{{"kind", kind}, {where, place}};
            if (std::string_view(where) == "command")
                fault["after"] = 1;
            const bool gone =
                std::string_view(kind) != "refuse" && std::string_view(kind) != "reset";
            all.push_back({name, std::move(fault), gone});
        }
    return all;
}

/// The migration fails with an error that names the device; the source's guest and devices run on.
void expect_failed_move(Side& source, Side& target, const Trouble& trouble)
{
    for (Side* side : {&source, &target}) {
        prepare(side->vmm());
        enable(side->vmm(), {"return-path"});
    }
    const TempDir dir;
    const std::string uri = "unix:" + dir.file("mig");
    target.vmm().qmp().execute("migrate-incoming", {{"uri", uri}, {"exit-on-error", false}});
    source.vmm().qmp().execute("migrate", {{"uri", uri}});
    ASSERT_NO_FATAL_FAILURE(expect_end(source.vmm(), "failed"));
    source.vmm().wait_status("running");
}

class VfioSourceTrouble : public testing::TestWithParam<Trouble> {};

TEST_P(VfioSourceTrouble, FailsTheMoveAndTheGuestRunsOn)
{
    const Trouble& trouble = GetParam();
    Side::Options options{
        .devices = 2, .server = {"--state", "4M"}, .properties = patience_with(trouble)};
    Side source(options);
    ASSERT_TRUE(source.vmm().started());
    source.start_engines();
    options.incoming = true;
    Side target(options);
    ASSERT_TRUE(target.vmm().started());
    source.device(1).inject(trouble.fault);
    ASSERT_NO_FATAL_FAILURE(expect_failed_move(source, target, trouble));
    const std::string error =
        source.vmm().qmp().execute("query-migrate").value("error-desc", std::string());
    EXPECT_NE(error.find(source.device(1).socket()), std::string::npos) << error;
    EXPECT_GE(source.device(1).status()["faults"], 1);
    EXPECT_EQ(source.device(0).state(), "RUNNING");
    source.device(0).wait_for("next", source.device(0).next() + kSlots);
    if (!trouble.device_gone)
        source.device(1).wait_state("RUNNING");
}

INSTANTIATE_TEST_SUITE_P(Places, VfioSourceTrouble,
                         testing::ValuesIn(every_trouble({{"arc", "RUNNING:PRE_COPY"},
                                                          {"arc", "PRE_COPY:PRE_COPY_P2P"},
                                                          {"arc", "PRE_COPY_P2P:STOP_COPY"},
                                                          {"command", "MIG_DATA_READ"}})),
                         trouble_name);

class VfioTargetTrouble : public testing::TestWithParam<Trouble> {};

TEST_P(VfioTargetTrouble, FailsTheMoveAndTheSourceRunsOn)
{
    const Trouble& trouble = GetParam();
    Side::Options options{
        .devices = 2, .server = {"--state", "4M"}, .properties = patience_with(trouble)};
    Side source(options);
    ASSERT_TRUE(source.vmm().started());
    source.start_engines();
    options.incoming = true;
    Side target(options);
    ASSERT_TRUE(target.vmm().started());
    target.device(1).inject(trouble.fault);
    ASSERT_NO_FATAL_FAILURE(expect_failed_move(source, target, trouble));
    const std::string error =
        target.vmm().qmp().execute("query-migrate").value("error-desc", std::string());
    EXPECT_NE(error.find(target.device(1).socket()), std::string::npos) << error;
    for (std::size_t n = 0; n < source.devices(); ++n)
        source.device(n).wait_state("RUNNING");
    source.expect_engines_right();
}

INSTANTIATE_TEST_SUITE_P(Places, VfioTargetTrouble,
                         testing::ValuesIn(every_trouble({{"arc", "*:RESUMING"},
                                                          {"arc", "RESUMING:STOP"},
                                                          {"command", "MIG_DATA_WRITE"}})),
                         trouble_name);

class VfioDamagedData : public testing::TestWithParam<Trouble> {};

TEST_P(VfioDamagedData, IsFoundByTheDeviceOnTheOtherSide)
{
    Side::Options options{.devices = 1, .server = {"--state", "4M"}};
    Side source(options);
    ASSERT_TRUE(source.vmm().started());
    source.start_engines();
    options.incoming = true;
    Side target(options);
    ASSERT_TRUE(target.vmm().started());
    source.device(0).inject(GetParam().fault);
    ASSERT_NO_FATAL_FAILURE(expect_failed_move(source, target, GetParam()));
    EXPECT_NE(target.device(0).status()["load-error"], "");
    source.device(0).wait_state("RUNNING");
    source.expect_engines_right();
}

INSTANTIATE_TEST_SUITE_P(
    Ways, VfioDamagedData,
    testing::Values(Trouble{"a_wrong_byte",
                            {{"kind", "corrupt"}, {"command", "MIG_DATA_READ"}, {"after", "1"}}},
                    Trouble{"an_early_end",
                            {{"kind", "short-read"}, {"arc", "PRE_COPY_P2P:STOP_COPY"}}}),
    trouble_name);

}  // namespace
}  // namespace godwit::qtest
