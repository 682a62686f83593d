// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/intc/its.h"
#include "tests/unit/hw/support.h"

#include <cstring>
#include <random>

namespace godwit::hw {
namespace {

constexpr std::uint64_t kItsBase = 0xfe000000;
constexpr std::uint64_t kQueue = 0x100000;
constexpr std::uint64_t kQueuePages = 4;
constexpr std::uint64_t kDeviceTable = 0x200000;  // 512 KiB
constexpr std::uint64_t kCollectionTable = 0x300000;
constexpr std::uint64_t kItts = 0x400000;
constexpr std::uint64_t kValid = std::uint64_t{1} << 63;

using Command = std::array<std::uint64_t, 4>;

Command mapd(std::uint64_t device, std::uint64_t table, unsigned bits, bool valid = true)
{
    return {0x08 | device << 32, bits - 1, table | (valid ? kValid : 0)};
}
Command mapc(std::uint64_t collection, std::uint64_t processor, bool valid = true)
{
    return {0x09, 0, collection | processor << 16 | (valid ? kValid : 0)};
}
Command mapti(std::uint64_t device, std::uint64_t event, std::uint64_t intid, std::uint64_t into)
{
    return {0x0a | device << 32, event | intid << 32, into};
}
Command on_event(unsigned opcode, std::uint64_t device, std::uint64_t event, std::uint64_t into = 0)
{
    return {opcode | device << 32, event, into};
}

struct ItsHouse : test::House {
    Its* its = nullptr;
    std::uint64_t next = 0;
    ItsHouse()
    {
        vm->config().max_cpus = 4;
        add_ram(16 << 20);
        its = &add<Its>("its");
    }
    std::uint64_t get(std::uint64_t reg) { return vm->memory().load(kItsBase + reg, 8); }
    void set(std::uint64_t reg, std::uint64_t value)
    {
        vm->memory().store(kItsBase + reg, value, 8);
    }
    void start(std::uint64_t device_table = kDeviceTable | 2 << 8 | 7)  // 8 pages of 64 KiB
    {
        set(0x80, kValid | kQueue | (kQueuePages - 1));
        set(0x100, kValid | device_table);
        set(0x108, kValid | kCollectionTable);
        vm->memory().store(kItsBase, 1, 4);
    }
    void give(const Command& command, std::uint64_t flags = 0)
    {
        ASSERT_TRUE(vm->memory().write(kQueue + next, std::as_bytes(std::span(command))));
        next = (next + 32) % (kQueuePages * 4096);
        set(0x88, next | flags);
    }
    /// The last command stopped the queue with this code.
    void expect_mistake(std::uint64_t code)
    {
        EXPECT_EQ(get(0x90) & 1, 1u);
        EXPECT_EQ(get(0xc000), code) << std::hex << get(0xc000);
        // Over it: replaced by a SYNC, tried again.
        const Command sync{0x05};
        const std::uint64_t at = get(0x90) & ~std::uint64_t{1};
        ASSERT_TRUE(vm->memory().write(kQueue + at, std::as_bytes(std::span(sync))));
        set(0x88, next | 1);
        EXPECT_EQ(get(0x90), next);
        set(0xc000, 0);
    }
    void write_event(std::uint64_t device, std::uint32_t event)
    {
        vm->memory().store(kItsBase + Its::kRegisterBytes + 4 * device, event, 4);
    }
    void map_some()
    {
        give(mapc(3, 2));
        give(mapc(5, 1));
        give(mapd(7, kItts, 5));
        give(mapd(60000, kItts + 0x1000, 12));
        give(mapti(7, 0, 8192 + 64, 3));
        give(mapti(7, 31, 8192 + 65, 5));
        give(mapti(60000, 4000, 8192 + 66, 3));
        ASSERT_EQ(get(0x90), next) << std::hex << get(0xc000);
    }
};

TEST(Its, TranslatesWhatWasMapped)
{
    ItsHouse h;
    h.start();
    h.map_some();
    h.write_event(60000, 4000);
    EXPECT_EQ(h.get(0xc010), 1u);
    EXPECT_EQ(h.get(0xc018), 60000 | std::uint64_t{4000} << 32);
    EXPECT_EQ(h.get(0xc020), (8192 + 66) | std::uint64_t{2} << 32);
    h.give(on_event(0x01, 7, 0, 5));  // MOVI
    h.give(on_event(0x03, 7, 0));     // INT
    EXPECT_EQ(h.get(0xc020), (8192 + 64) | std::uint64_t{1} << 32);
    h.give(on_event(0x0f, 7, 0));  // DISCARD
    h.write_event(7, 0);
    EXPECT_EQ(h.get(0xc010), 2u);
    EXPECT_EQ(h.get(0xc008), 1u);
    h.give(mapd(7, 0, 1, false));
    EXPECT_EQ(h.its->tables().devices().size(), 1u);
}

// What it caches is what the guest gave it, and nothing is ever under way: these change no
// translation.
TEST(Its, InvalidationsMovesOfPendingOnesAndClearsKeepTheMap)
{
    ItsHouse h;
    h.start();
    h.map_some();
    h.give(mapd(9, kItts + 0x10000, 14));
    h.give({0x0b | std::uint64_t{9} << 32, 8192 + 70, 3});  // MAPI: the event is the interrupt
    const auto before = h.its->tables();
    h.give(on_event(0x04, 7, 0));                                       // CLEAR
    h.give(on_event(0x0c, 7, 0));                                       // INV
    h.give({0x0d, 0, 3});                                               // INVALL
    h.give({0x0e, 0, std::uint64_t{2} << 16, std::uint64_t{1} << 16});  // MOVALL
    h.give({0x05});                                                     // SYNC
    EXPECT_EQ(h.get(0x90), h.next) << std::hex << h.get(0xc000);
    EXPECT_EQ(h.get(0xc008), 0u);
    EXPECT_EQ(h.its->tables(), before);
    h.write_event(9, 8192 + 70);
    EXPECT_EQ(h.get(0xc020), (8192 + 70) | std::uint64_t{2} << 32);
    h.give(mapc(3, 0, false));  // MAPC takes a collection away, and its interrupts with it
    h.write_event(9, 8192 + 70);
    EXPECT_EQ(h.get(0xc010), 1u);
}

TEST(Its, DoesNothingUntilItIsEnabled)
{
    ItsHouse h;
    h.give(mapc(0, 0));
    EXPECT_EQ(h.get(0x90), 0u);
    h.start();
    h.next = 0;
    h.give(mapc(0, 0));
    EXPECT_EQ(h.get(0x90), 32u);
    h.set(0x80, kValid | 0x500000);  // the queue stays while it runs
    EXPECT_EQ(h.get(0x80), kValid | kQueue | (kQueuePages - 1));
}

TEST(Its, MistakesStopTheQueueWithTheirCode)
{
    ItsHouse h;
    h.start();
    h.map_some();
    const std::pair<Command, std::uint64_t> wrong[] = {
        {mapd(0x10000, kItts, 5), 0x010801},
        {mapd(1, kItts, 17), 0x010802},
        {mapd(1, 0xfff000, 16), 0x010802},  // past the end of RAM
        {mapc(512, 0), 0x010903},
        {mapc(1, 4), 0x010920},
        {mapti(8, 0, 8192, 3), 0x010a04},
        {mapti(7, 32, 8192, 3), 0x010a05},
        {mapti(7, 1, 8191, 3), 0x010a06},
        {mapti(7, 1, 65536, 3), 0x010a06},
        {mapti(7, 1, 8192, 512), 0x010a03},
        {on_event(0x0b, 7, 1), 0x010b06},  // MAPI: the event is no LPI
        {on_event(0x01, 7, 1, 5), 0x010107},
        {on_event(0x01, 7, 0, 9), 0x010109},
        {on_event(0x03, 7, 1), 0x010307},
        {on_event(0x0c, 9, 1), 0x010c04},
        {Command{0x0d, 0, 9}, 0x010d09},
        {Command{0x0e, 0, 9 << 16, 0}, 0x010e20},
        {Command{0x77}, 0x0177f0},
    };
    for (const auto& [command, code] : wrong) {
        h.give(command);
        h.expect_mistake(code);
    }
    EXPECT_EQ(h.get(0xc008), std::size(wrong));
}

TEST(Its, AQueueThatIsNowhereStopsAtOnce)
{
    ItsHouse h;
    h.start();
    h.set(0x88, 0x8000);  // past its end
    EXPECT_EQ(h.get(0xc000), 0x0100f1u);
    h.vm->memory().store(kItsBase, 0, 4);
    h.set(0x80, kValid | 0xff0000000);
    h.vm->memory().store(kItsBase, 1, 4);
    h.set(0x88, 32);
    EXPECT_EQ(h.get(0x90), 1u);
    EXPECT_EQ(h.get(0xc008), 2u);
}

TEST(Its, TablesHaveTheArchitectedFormat)
{
    ItsHouse h;
    h.start();
    h.map_some();
    h.its->flush();
    auto& memory = h.vm->memory();
    EXPECT_EQ(memory.load(kDeviceTable + 7 * 8, 8),
              kValid | std::uint64_t{16383} << 49 | kItts >> 8 << 5 | 4);
    EXPECT_EQ(memory.load(kDeviceTable + 60000 * 8, 8), kValid | (kItts + 0x1000) >> 8 << 5 | 11);
    EXPECT_EQ(memory.load(kItts, 8), std::uint64_t{31} << 48 | (8192 + 64) << 16 | 3);
    EXPECT_EQ(memory.load(kItts + 31 * 8, 8), std::uint64_t{8192 + 65} << 16 | 5);
    EXPECT_EQ(memory.load(kCollectionTable, 8), kValid | 2 << 16 | 3);
    EXPECT_EQ(memory.load(kCollectionTable + 8, 8), kValid | 1 << 16 | 5);
    EXPECT_EQ(memory.load(kCollectionTable + 16, 8), 0u);
}

TEST(Its, OnlyPagesThatDifferAreWritten)
{
    ItsHouse h;
    h.start();
    h.map_some();
    // Of 160 pages of tables: two of the device table, two of the events, one of the collections.
    EXPECT_EQ(h.its->flush(), 5u);
    EXPECT_EQ(h.its->flush(), 0u);
    h.give(on_event(0x0f, 60000, 4000));
    EXPECT_EQ(h.its->flush(), 1u);
}

TEST(Its, AnotherOneTranslatesTheSameFromTheFlushedMemory)
{
    for (const bool indirect : {false, true}) {
        ItsHouse h;
        ItsHouse other;
        if (indirect) {
            // Two levels: 128 first-level entries lead to pages of 4 KiB for devices 0..511 and
            // 59904..60415.
            h.vm->memory().store(kDeviceTable, kValid | 0x280000, 8);
            h.vm->memory().store(kDeviceTable + 117 * 8, kValid | 0x281000, 8);
            h.start(kDeviceTable | std::uint64_t{1} << 62);
        } else {
            h.start();
        }
        h.map_some();
        std::mt19937 random(7);
        for (int n = 0; n < 300; ++n)
            h.give(mapti(60000, random() % 4096, 8192 + random() % 1000, random() % 2 ? 3 : 5));
        h.its->flush();
        std::vector<std::byte> ram(16 << 20);
        ASSERT_TRUE(h.vm->memory().read(0, ram));
        ASSERT_TRUE(other.vm->memory().write(0, ram));
        const auto loaded = other.load("its", 1, h.save("its"));
        ASSERT_TRUE(loaded) << loaded.error().message();
        EXPECT_EQ(other.its->tables(), h.its->tables());
        EXPECT_EQ(other.get(0xc008), 0u);
    }
}

TEST(Its, SectionsThatAreCutOrWrongAreRefused)
{
    ItsHouse h;
    h.start();
    h.map_some();
    h.its->flush();
    const auto body = h.save("its");
    test::expect_no_crash_when_cut(h, "its", 1, body, body.size());
    auto wrong = body;
    wrong[4 + 3 * 8] ^= std::byte{0x07};  // the kind of the first table
    EXPECT_FALSE(h.load("its", 1, wrong));
    EXPECT_EQ(h.its->tables().devices().size(), 2u);
}

TEST(Its, TablesFullOfAnythingAreTheGuestsMistakeOnly)
{
    std::mt19937_64 random(11);
    ItsHouse h;
    h.start();
    const auto body = h.save("its");
    std::vector<std::uint64_t> words((8 << 20) / 8);
    for (std::uint64_t& word : words)
        word = random();
    ASSERT_TRUE(h.vm->memory().write(0x100000, std::as_bytes(std::span(words))));
    EXPECT_TRUE(h.load("its", 1, body));
    EXPECT_GT(h.get(0xc008), 0u);
    h.its->flush();
}

TEST(Its, AGuestCannotMakeItRememberWithoutEnd)
{
    ItsHouse h;
    h.start();
    for (std::uint64_t device = 0; device < 9; ++device) {
        h.give(mapd(device, kItts, 16));
        if (device == 8)
            h.expect_mistake(0x010802);
    }
    EXPECT_EQ(h.its->tables().devices().size(), 8u);
}

}  // namespace
}  // namespace godwit::hw
