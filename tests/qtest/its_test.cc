// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /migration/its: a device that keeps its tables in guest RAM moves, and translates the same.
#include "tests/qtest/libqtest/migration.h"

#include <array>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <map>
#include <optional>
#include <random>

namespace godwit::qtest {
namespace {

constexpr std::uint64_t kBase = 0xfe000000;
constexpr std::uint64_t kQueue = 0x100000;
constexpr std::uint64_t kQueueBytes = 0x10000;
constexpr std::uint64_t kDeviceTable = 0x200000;      // 512 KiB, flat
constexpr std::uint64_t kCollectionTable = 0x280000;  // 64 KiB
constexpr std::uint64_t kItts = 0x290000;             // 64 KiB: 640 KiB in all
constexpr std::uint64_t kEnd = 0x2a0000;
constexpr std::uint64_t kValid = std::uint64_t{1} << 63;
constexpr std::uint32_t kFirstLpi = 8192;

/// What a guest's driver would do.
class ItsDriver {
public:
    explicit ItsDriver(QtestClient& qtest, std::uint64_t next = 0) : qtest_(qtest), next_(next) {}

    void start()
    {
        set(0x80, kValid | kQueue | (kQueueBytes / 4096 - 1));
        set(0x100, kValid | kDeviceTable | 2 << 8 | 7);
        set(0x108, kValid | kCollectionTable | 2 << 8);
        qtest_.writel(kBase, 1);
    }
    void give(std::array<std::uint64_t, 4> command)
    {
        qtest_.write(kQueue + next_, std::as_bytes(std::span(command)));
        next_ = (next_ + sizeof command) % kQueueBytes;
        set(0x88, next_);
    }
    void map_collection(std::uint64_t n) { give({0x09, 0, n | kValid}); }
    void map_device(std::uint64_t n, std::uint64_t table, unsigned bits)
    {
        give({0x08 | n << 32, bits - 1, table | kValid});
    }
    void map_event(std::uint64_t device, std::uint64_t event, std::uint64_t intid,
                   std::uint64_t collection)
    {
        give({0x0a | device << 32, event | intid << 32, collection});
        expected_[{device, event}] = intid;
    }
    std::uint64_t get(std::uint64_t reg) { return qtest_.readq(kBase + reg); }
    void set(std::uint64_t reg, std::uint64_t value) { qtest_.writeq(kBase + reg, value); }
    std::uint64_t next() const { return next_; }
    /// The interrupt that an event of a device leads to; 0 if to none.
    std::uint64_t translate(std::uint64_t device, std::uint64_t event)
    {
        const std::uint64_t before = get(0xc010);
        qtest_.writel(kBase + 0x10000 + 4 * device, static_cast<std::uint32_t>(event));
        return get(0xc010) == before ? 0 : get(0xc020) & 0xffffffff;
    }
    using Map = std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t>;
    const Map& expected() const { return expected_; }

private:
    QtestClient& qtest_;
    std::uint64_t next_;
    Map expected_;
};

void map_much(ItsDriver& driver)
{
    std::mt19937 random(3);
    driver.map_collection(0);
    driver.map_collection(9);
    for (std::uint64_t n = 0; n < 16; ++n) {
        const std::uint64_t device = n * 4099 % 65536;  // far apart
        driver.map_device(device, kItts + n * 0x1000, 9);
        for (int i = 0; i < 4; ++i)
            driver.map_event(device, random() % 512, kFirstLpi + random() % 5000, random() % 2 * 9);
    }
}

void expect_same(ItsDriver& driver, const ItsDriver::Map& expected)
{
    for (const auto& [where, intid] : expected)
        EXPECT_EQ(driver.translate(where.first, where.second), intid)
            << "device " << where.first << " event " << where.second;
    EXPECT_EQ(driver.translate(1, 0), 0u) << "device 1 was never mapped";
}

std::vector<std::string> machine(std::string_view name)
{
    return {"-machine", std::string(name), "-m", "32M", "-device", "its"};
}

std::vector<std::string> its_target(std::vector<std::string> arguments)
{
    arguments.insert(arguments.end(), {"-incoming", "defer"});
    return arguments;
}

class ItsMoves : public testing::TestWithParam<const char*> {};

TEST_P(ItsMoves, TheOtherSideTranslatesTheSameByTablesThatCameInGuestMemory)
{
    Vmm source(machine(GetParam()));
    Vmm target(its_target(machine(GetParam())));
    ItsDriver driver(source.qtest());
    driver.start();
    map_much(driver);
    ASSERT_EQ(driver.get(0x90), driver.next()) << std::hex << driver.get(0xc000);
    const std::vector<std::byte> none(kEnd - kDeviceTable);
    EXPECT_EQ(source.qtest().read(kDeviceTable, none.size()), none) << "the tables are cached";
    prepare(source);
    prepare(target);
    move(source, target, Transport::Unix);

    const auto tables = source.qtest().read(kDeviceTable, none.size());
    EXPECT_NE(tables, none) << "the flush did not reach memory";
    EXPECT_EQ(target.qtest().read(kDeviceTable, none.size()), tables)
        << "the flush came behind the last pass";
    ItsDriver arrived(target.qtest(), driver.next());
    expect_same(arrived, driver.expected());
    const std::uint64_t errors = arrived.get(0xc008);
    arrived.map_event(0, 511, kFirstLpi + 77, 9);  // and the queue goes on
    EXPECT_EQ(arrived.translate(0, 511), kFirstLpi + 77);
    EXPECT_EQ(arrived.get(0xc008), errors);
}

INSTANTIATE_TEST_SUITE_P(Machines, ItsMoves, testing::Values("microvm", "q35"),
                         [](const auto& p) { return std::string(p.param); });

TEST(Its, AMoveThatFailsAfterTheFlushLeavesTheSourceAsItWas)
{
    Vmm source(machine("microvm"));
    Vmm target({"-machine", "microvm", "-m", "32M", "-incoming", "defer"});
    ItsDriver driver(source.qtest());
    driver.start();
    map_much(driver);
    for (Vmm* vmm : {&source, &target}) {
        prepare(*vmm);
        enable(*vmm, {"return-path"});
    }
    target.qmp().execute("migrate-incoming",
                         {{"uri", "unix:" + source.dir().file("mig")}, {"exit-on-error", false}});
    source.qmp().execute("migrate", {{"uri", "unix:" + source.dir().file("mig")}});
    expect_end(source, "failed");
    source.wait_status("running");
    expect_same(driver, driver.expected());
    driver.map_event(0, 500, kFirstLpi + 9, 0);
    EXPECT_EQ(driver.translate(0, 500), kFirstLpi + 9);
}

/// Where an event stands in the recorder; the last one that matches.
std::optional<std::uint64_t> last_of(const Json& events, std::string_view name,
                                     std::string_view field = {}, std::string_view value = {})
{
    std::optional<std::uint64_t> found;
    for (const Json& event : events)
        if (event["name"] == name && (field.empty() || event["data"][std::string(field)] == value))
            found = event["seq"].get<std::uint64_t>();
    return found;
}

TEST(Its, IsFlushedBetweenTheStopOfTheGuestAndTheLastDirtySync)
{
    Vmm source(machine("microvm"));
    Vmm target(its_target(machine("microvm")));
    ItsDriver driver(source.qtest());
    driver.start();
    map_much(driver);
    prepare(source);
    prepare(target);
    move(source, target, Transport::Unix);
    const Json sent = source.qmp().execute("x-query-trace")["events"];
    const auto stopped = last_of(sent, "run_state_change", "to", "finish-migrate");
    const auto flushed = last_of(sent, "its_flush");
    const auto synced = last_of(sent, "migration_dirty_sync");
    ASSERT_TRUE(stopped && flushed && synced);
    EXPECT_LT(*stopped, *flushed);
    EXPECT_LT(*flushed, *synced);
    const Json loaded = target.qmp().execute("x-query-trace")["events"];
    const auto read_back = last_of(loaded, "its_load");
    const auto section = last_of(loaded, "migration_section_loaded", "section", "its");
    ASSERT_TRUE(read_back && section);
    EXPECT_LT(*read_back, *section);
}

}  // namespace
}  // namespace godwit::qtest
