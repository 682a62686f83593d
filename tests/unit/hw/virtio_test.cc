// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/virtio/mmio.h"

#include "hw/block.h"

#include "tests/unit/hw/support.h"

#include <cstdlib>
#include <random>
#include <unistd.h>

namespace godwit::hw {
namespace {

constexpr std::uint64_t kVirtioBase = 0xfeb00000;

struct VirtioBoard : test::House {
    int irq = 0;
    system::RamBlock& ram = add_ram(1 << 20);
    explicit VirtioBoard(bool legacy)
    {
        auto& mmio =
            add<VirtioMmio>("virtio-mmio", Json{{"base", kVirtioBase}, {"force-legacy", legacy}});
        mmio.gpio_out("", 0).connect(system::IrqInput([this](int level) { irq = level; }));
    }
    void add_rng(const Json& properties = Json::object())
    {
        auto device = vm->devices().add("virtio-rng-device", "rng0", properties, false);
        ASSERT_TRUE(device) << device.error().message();
        vm->devices().reset_all(system::ResetKind::Cold);
    }
    std::uint32_t get(unsigned reg)
    {
        return static_cast<std::uint32_t>(vm->memory().load(kVirtioBase + reg, 4));
    }
    void set(unsigned reg, std::uint32_t value) { vm->memory().store(kVirtioBase + reg, value, 4); }
    void start_modern()
    {
        set(0x70, 3);
        set(0x24, 0);
        set(0x20, 1u << 28);
        set(0x24, 1);
        set(0x20, 1);
        set(0x70, 11);
        EXPECT_EQ(get(0x70), 11u);
        set(0x30, 0);
        set(0x38, 8);
        set(0x80, 0x1000);
        set(0x90, 0x2000);
        set(0xa0, 0x3000);
        set(0x44, 1);
        EXPECT_EQ(get(0x44), 1u);
        set(0x70, 15);
    }
    // One writable buffer in descriptor and ring entry `n`.
    void offer(std::uint64_t desc, std::uint64_t avail, unsigned n, std::uint64_t at,
               std::uint32_t bytes)
    {
        auto& memory = vm->memory();
        memory.store(desc + 16 * n, at, 8);
        memory.store(desc + 16 * n + 8, bytes, 4);
        memory.store(desc + 16 * n + 12, 2, 4);
        memory.store(avail + 4 + 2 * n, n, 2);
        memory.store(avail + 2, n + 1, 2);
    }
    bool filled(std::uint64_t at, std::size_t bytes) const
    {
        const auto piece = ram.bytes().subspan(at, bytes);
        return std::ranges::any_of(piece, [](std::byte b) { return b != std::byte{0}; });
    }
};

TEST(VirtioMmio, WithoutADeviceItOnlySaysWhatItIs)
{
    VirtioBoard board(true);
    EXPECT_EQ(board.get(0), 0x74726976u);
    EXPECT_EQ(board.get(4), 1u);
    EXPECT_EQ(board.get(8), 0u);
    EXPECT_EQ(board.get(0xc), 0x554d4551u);
    for (unsigned reg = 0x10; reg < 0x200; reg += 4) {
        board.set(reg, 0xffffffff);
        EXPECT_EQ(board.get(reg), 0u) << reg;
    }
    EXPECT_EQ(VirtioBoard(false).get(4), 2u);
}

TEST(VirtioMmio, ABusTakesOneDevice)
{
    VirtioBoard board(true);
    board.add_rng();
    EXPECT_EQ(board.get(8), 4u);
    const auto second = board.vm->devices().add("virtio-rng-device", "rng1", Json::object(), false);
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message().find("full"), std::string::npos) << second.error().message();
    EXPECT_NE(board.vm->devices().find_bus("virtio-mmio-bus.0"), nullptr);
}

TEST(VirtioMmio, OffersWhatQemuOffers)
{
    VirtioBoard old(true);
    old.add_rng();
    EXPECT_EQ(old.get(0x10), 0x39000000u);
    old.set(0x14, 1);
    EXPECT_EQ(old.get(0x10), 0u);
    VirtioBoard modern(false);
    modern.add_rng();
    EXPECT_EQ(modern.get(0x10), 0x30000000u);
    modern.set(0x14, 1);
    EXPECT_EQ(modern.get(0x10), 0x101u);
}

TEST(VirtioRng, FillsBuffersOfALegacyDriver)
{
    VirtioBoard board(true);
    board.add_rng();
    board.set(0x70, 3);
    board.set(0x20, 0);
    board.set(0x28, 4096);
    board.set(0x30, 0);
    EXPECT_EQ(board.get(0x34), 1024u);
    board.set(0x38, 8);
    board.set(0x3c, 4096);
    board.set(0x40, 0x4);
    EXPECT_EQ(board.get(0x40), 4u);
    board.set(0x70, 7);
    board.offer(0x4000, 0x4080, 0, 0x8000, 64);
    board.set(0x50, 0);
    EXPECT_EQ(board.vm->memory().load(0x5002, 2), 1u);
    EXPECT_EQ(board.vm->memory().load(0x5008, 4), 64u);
    EXPECT_TRUE(board.filled(0x8000, 64));
    EXPECT_FALSE(board.filled(0x8040, 64));
    EXPECT_EQ(board.irq, 1);
    EXPECT_EQ(board.get(0x60), 1u);
    board.set(0x64, 1);
    EXPECT_EQ(board.irq, 0);
}

TEST(VirtioRng, ALimitDelaysRequests)
{
    VirtioBoard board(false);
    board.add_rng(Json{{"max-bytes", 16}, {"period", 100}});
    board.start_modern();
    board.offer(0x1000, 0x2000, 0, 0x8000, 16);
    board.offer(0x1000, 0x2000, 1, 0x9000, 16);
    board.set(0x50, 0);
    EXPECT_TRUE(board.filled(0x8000, 16));
    EXPECT_FALSE(board.filled(0x9000, 16));
    board.step(100'000'000);
    EXPECT_TRUE(board.filled(0x9000, 16));
    EXPECT_EQ(board.vm->memory().load(0x3002, 2), 2u);
}

TEST(VirtioRng, RefusesFeaturesItDoesNotOffer)
{
    VirtioBoard board(false);
    board.add_rng();
    board.set(0x70, 3);
    board.set(0x24, 1);
    board.set(0x20, 0x80000001);
    board.set(0x70, 11);
    EXPECT_EQ(board.get(0x70), 3u);
}

TEST(VirtioRng, BrokenRingsBreakOnlyTheDevice)
{
    VirtioBoard board(false);
    board.add_rng();
    const auto provoke = [&](auto damage) {
        board.set(0x70, 0);
        std::ranges::fill(board.ram.bytes(), std::byte{0});
        board.start_modern();
        board.offer(0x1000, 0x2000, 0, 0x8000, 16);
        damage(board.vm->memory());
        board.set(0x50, 0);
        return (board.get(0x70) & 0x40) != 0;
    };
    EXPECT_FALSE(provoke([](system::AddressSpace&) {}));
    EXPECT_TRUE(provoke([](auto& m) { m.store(0x2002, 100, 2); }));         // too many at once
    EXPECT_TRUE(provoke([](auto& m) { m.store(0x2004, 8, 2); }));           // no such descriptor
    EXPECT_TRUE(provoke([](auto& m) { m.store(0x100c, 3, 4); }));           // chain to itself
    EXPECT_TRUE(provoke([](auto& m) { m.store(0x1000, 0xfee00000, 8); }));  // not memory
    EXPECT_TRUE(provoke([](auto& m) {
        m.store(0x100c, 4, 4);
        m.store(0x1008, 15, 4);
    }));
    board.set(0x70, 0);
    EXPECT_EQ(board.get(0x70), 0u);
}

struct DiskBoard : VirtioBoard {
    std::string path;
    explicit DiskBoard(bool legacy, const char* more = "") : VirtioBoard(legacy)
    {
        path = ::testing::TempDir() + "godwit-vblk-XXXXXX";
        const int fd = ::mkstemp(path.data());
        std::vector<std::uint8_t> bytes(64 * 512);
        for (std::size_t n = 0; n < bytes.size(); ++n)
            bytes[n] = static_cast<std::uint8_t>(n / 512 + n);
        EXPECT_EQ(::write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
        ::close(fd);
        EXPECT_TRUE(BlockSet::of(*vm).add_drive("if=none,id=d0,file=" + path + more));
        const auto disk = vm->devices().add("virtio-blk-device", "b0",
                                            Json{{"drive", "d0"}, {"serial", "abc"}}, false);
        EXPECT_TRUE(disk) << disk.error().message();
        vm->devices().reset_all(system::ResetKind::Cold);
    }
    ~DiskBoard() { ::unlink(path.c_str()); }
    // Header, data and status as three descriptors; returns the status byte.
    unsigned request(std::uint32_t type, std::uint64_t sector, std::uint32_t bytes, bool to_guest)
    {
        auto& memory = vm->memory();
        memory.store(0x7000, type, 8);
        memory.store(0x7008, sector, 8);
        memory.store(0x7100, 0xee, 1);
        const auto put = [&](unsigned n, std::uint64_t at, std::uint32_t length, unsigned flags) {
            memory.store(0x1000 + 16 * n, at, 8);
            memory.store(0x1008 + 16 * n, length, 4);
            memory.store(0x100c + 16 * n, flags, 2);
            memory.store(0x100e + 16 * n, n + 1, 2);
        };
        put(0, 0x7000, 16, 1);
        put(1, 0x8000, bytes, to_guest ? 3 : 1);
        put(2, 0x7100, 1, 2);
        const auto index = static_cast<unsigned>(memory.load(0x2002, 2));
        memory.store(0x2004 + 2 * (index % 8), 0, 2);
        memory.store(0x2002, index + 1, 2);
        set(0x50, 0);
        EXPECT_EQ(memory.load(0x3002, 2), index + 1);
        return static_cast<unsigned>(memory.load(0x7100, 1));
    }
};

TEST(VirtioBlk, OffersWhatQemuOffers)
{
    DiskBoard old(true);
    EXPECT_EQ(old.get(0x10), 0x31006ed4u);
    DiskBoard modern(false);
    EXPECT_EQ(modern.get(0x10), 0x30006e54u);
    EXPECT_EQ(modern.get(0x100), 64u);
    EXPECT_EQ(modern.get(0x10c), 254u);
    EXPECT_EQ(modern.save("virtio-mmio@00000000feb00000/virtio-blk").size(),
              139u + 16384 + 6 + 17 + 27656 + 6 + 18 + 6 + 17);
    EXPECT_EQ(old.save("virtio-mmio@00000000feb00000/virtio-blk").size(), 139u);
    DiskBoard fixed(true, ",readonly=on");
    EXPECT_EQ(fixed.get(0x10) & 0x20, 0x20u);
}

TEST(VirtioBlk, ReadsWritesAndClears)
{
    DiskBoard board(false);
    board.start_modern();
    EXPECT_EQ(board.request(0, 3, 1024, true), 0u);
    EXPECT_EQ(std::to_integer<unsigned>(board.ram.bytes()[0x8005]), (3 + 3 * 512 + 5) & 0xffu);
    EXPECT_EQ(board.vm->memory().load(0x3008, 4), 1025u);
    board.vm->memory().store(0x8000, 0x1122334455667788, 8);
    EXPECT_EQ(board.request(1, 10, 512, false), 0u);
    EXPECT_EQ(board.request(4, 0, 0, false), 0u);
    std::array<std::byte, 8> data{};
    auto* node = BlockSet::of(*board.vm).find_drive("d0")->node;
    ASSERT_TRUE(node->read(10 * 512, data));
    EXPECT_EQ(data[0], std::byte{0x88});
    EXPECT_EQ(board.request(8, 0, 20, true), 0u);
    EXPECT_EQ(board.vm->memory().load(0x8000, 4), 0x636261u);
    for (const unsigned type : {13u, 11u}) {
        board.vm->memory().store(0x8000, type == 13 ? 10 : 20, 8);
        board.vm->memory().store(0x8008, 2, 8);
        EXPECT_EQ(board.request(type, 0, 16, false), 0u);
    }
    ASSERT_TRUE(node->read(11 * 512, data));
    EXPECT_EQ(data[1], std::byte{0});
    ASSERT_TRUE(node->read(21 * 512, data));
    EXPECT_EQ(data[1], std::byte{0});
}

TEST(VirtioBlk, RefusesWhatIsNotThere)
{
    DiskBoard board(false);
    board.start_modern();
    EXPECT_EQ(board.request(0, 63, 1024, true), 1u);
    EXPECT_EQ(board.request(0, ~std::uint64_t{0}, 512, true), 1u);
    EXPECT_EQ(board.request(1, 64, 512, false), 1u);
    EXPECT_EQ(board.request(0, 0, 100, true), 1u);
    EXPECT_EQ(board.request(2, 0, 0, false), 2u);
    board.vm->memory().store(0x8000, 60, 8);
    board.vm->memory().store(0x8008, 5, 8);
    EXPECT_EQ(board.request(11, 0, 16, false), 1u);
    DiskBoard fixed(false, ",readonly=on");
    fixed.start_modern();
    EXPECT_EQ(fixed.request(1, 0, 512, false), 1u);
}

TEST(VirtioBlk, GoesOnAfterAMove)
{
    DiskBoard one(false);
    DiskBoard two(false);
    one.start_modern();
    EXPECT_EQ(one.request(0, 1, 512, true), 0u);
    std::ranges::copy(one.ram.bytes(), two.ram.bytes().begin());
    const std::string name = "virtio-mmio@00000000feb00000/virtio-blk";
    const auto body = one.save(name);
    ASSERT_TRUE(two.load(name, 2, body));
    EXPECT_EQ(two.save(name), body);
    EXPECT_EQ(two.request(0, 2, 512, true), 0u);
    EXPECT_EQ(std::to_integer<unsigned>(two.ram.bytes()[0x8000]), (2 + 2 * 512) & 0xffu);
}

TEST(VirtioRng, SectionsAreAsLongAsQemus)
{
    VirtioBoard idle(true);
    idle.add_rng();
    std::string text;
    EXPECT_EQ(idle.save("virtio-mmio@00000000feb00000/virtio-rng", 0, &text).size(), 81u);
    EXPECT_EQ(text, R"({"vmsd_name": "virtio-rng", "version": 1, "fields": )"
                    R"([{"name": "virtio", "type": "virtio", "size": 81}]})");
    VirtioBoard running(false);
    running.add_rng();
    running.start_modern();
    EXPECT_EQ(running.save("virtio-mmio@00000000feb00000/virtio-rng").size(),
              48329u - 4 * 1024 - 6 - 15);  // the ring there was smaller than its default
}

TEST(VirtioRng, EverythingArrives)
{
    for (const bool legacy : {false, true}) {
        VirtioBoard one(legacy);
        VirtioBoard two(legacy);
        one.add_rng(Json{{"max-bytes", 16}, {"period", 100}});
        two.add_rng();
        if (legacy) {
            one.set(0x70, 3);
            one.set(0x28, 4096);
            one.set(0x38, 4);
            one.set(0x40, 0x1);
            one.set(0x70, 7);
        } else {
            one.start_modern();
            one.offer(0x1000, 0x2000, 0, 0x8000, 16);
            one.offer(0x1000, 0x2000, 1, 0x9000, 16);
            one.set(0x50, 0);
        }
        std::ranges::copy(one.ram.bytes(), two.ram.bytes().begin());
        const std::string name = "virtio-mmio@00000000feb00000/virtio-rng";
        const auto body = one.save(name);
        const auto loaded = two.load(name, 1, body);
        ASSERT_TRUE(loaded) << loaded.error().message();
        EXPECT_EQ(two.save(name), body);
        EXPECT_EQ(two.get(0x70), legacy ? 7u : 15u);
        two.step(1'000'000);
        EXPECT_EQ(two.filled(0x9000, 16), !legacy);  // the waiting request is served here
    }
}

TEST(VirtioRng, LoadRefusesWhatCannotBe)
{
    VirtioBoard one(false);
    one.add_rng();
    one.start_modern();
    const std::string name = "virtio-mmio@00000000feb00000/virtio-rng";
    const auto body = one.save(name);
    VirtioBoard old(true);
    old.add_rng();
    const auto loaded = old.load(name, 1, body);
    ASSERT_FALSE(loaded);
    VirtioBoard two(false);
    two.add_rng();
    for (std::size_t length = 0; length < 46; ++length)
        EXPECT_FALSE(two.load(name, 1, std::span(body).first(length))) << length;
    std::mt19937 random(5);
    for (int n = 0; n < 200; ++n) {
        auto bad = body;
        for (int k = 0; k < 4; ++k)
            bad[random() % 80] = static_cast<std::byte>(random());
        if (two.load(name, 1, bad))
            two.set(0x50, 0);
    }
}

}  // namespace
}  // namespace godwit::hw
