// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/gsi.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "tests/unit/hw/support.h"

#include <random>

namespace godwit::hw {
namespace {

struct Pics : test::House {
    int intr = 0;
    PicPair pair;
    Pic* master = nullptr;
    Pic* slave = nullptr;
    Pics()
    {
        pair = add_pics(*vm, bridge->bus(), system::IrqInput([this](int l) { intr = l; })).value();
        master = static_cast<Pic*>(pair.master);
        slave = static_cast<Pic*>(pair.slave);
    }
    void start()
    {
        for (const auto& [port, base, cascade] : {std::tuple{0x20, 0x30, 4}, {0xa0, 0x38, 2}}) {
            out(static_cast<std::uint16_t>(port), 0x11);
            out(static_cast<std::uint16_t>(port + 1), static_cast<unsigned>(base));
            out(static_cast<std::uint16_t>(port + 1), static_cast<unsigned>(cascade));
            out(static_cast<std::uint16_t>(port + 1), 0x01);
        }
    }
    void wire(unsigned n, int level) { pair.input(n).set(level); }
    unsigned acknowledge() { return master->acknowledge(*slave); }
};

TEST(Pic, DeliversByPriorityUntilEndOfInterrupt)
{
    Pics pics;
    pics.start();
    pics.wire(4, 1);
    pics.wire(3, 1);
    EXPECT_EQ(pics.intr, 1);
    EXPECT_EQ(pics.acknowledge(), 0x33u);
    EXPECT_EQ(pics.intr, 0);  // 4 waits behind 3
    pics.out(0x20, 0x20);
    EXPECT_EQ(pics.intr, 1);
    EXPECT_EQ(pics.acknowledge(), 0x34u);
    pics.out(0x20, 0x64);  // specific
    EXPECT_EQ(pics.intr, 0);
    pics.wire(3, 1);  // no new edge
    EXPECT_EQ(pics.intr, 0);
    EXPECT_EQ(pics.acknowledge(), 0x37u);  // spurious
}

TEST(Pic, TheSlaveComesThroughInputTwo)
{
    Pics pics;
    pics.start();
    pics.wire(12, 1);
    EXPECT_EQ(pics.intr, 1);
    EXPECT_EQ(pics.acknowledge(), 0x3cu);
    pics.out(0x20, 0x0b);
    pics.out(0xa0, 0x0b);
    EXPECT_EQ(pics.in(0x20), 0x04u);
    EXPECT_EQ(pics.in(0xa0), 0x10u);
    pics.out(0xa0, 0x20);
    pics.out(0x20, 0x20);
    EXPECT_EQ(pics.in(0x20), 0u);
}

TEST(Pic, MasksAndLevelsWork)
{
    Pics pics;
    pics.start();
    pics.out(0x21, 0x20);
    EXPECT_EQ(pics.in(0x21), 0x20u);
    pics.wire(5, 1);
    EXPECT_EQ(pics.intr, 0);
    pics.out(0x21, 0);
    EXPECT_EQ(pics.intr, 1);
    pics.out(0x4d0, 0xff);
    EXPECT_EQ(pics.in(0x4d0), 0xf8u);
    pics.wire(5, 0);
    EXPECT_EQ(pics.intr, 0);  // a level that went is no request
    pics.wire(5, 1);
    EXPECT_EQ(pics.acknowledge(), 0x35u);
    pics.out(0x20, 0x20);
    EXPECT_EQ(pics.intr, 1);  // and one that stays asks again
}

TEST(Pic, AutomaticEndRotationAndPoll)
{
    Pics pics;
    pics.start();
    pics.out(0x20, 0x11);
    pics.out(0x21, 0x30);
    pics.out(0x21, 4);
    pics.out(0x21, 0x03);  // automatic end of interrupt
    pics.out(0x20, 0x80);  // rotate in that mode
    pics.wire(1, 1);
    EXPECT_EQ(pics.acknowledge(), 0x31u);
    pics.wire(1, 0);
    pics.wire(1, 1);
    pics.wire(6, 1);
    EXPECT_EQ(pics.acknowledge(), 0x36u);  // 1 now has the lowest priority
    pics.out(0x20, 0x0c);
    EXPECT_EQ(pics.in(0x20), 0x81u);
    pics.out(0x20, 0x0c);
    EXPECT_EQ(pics.in(0x20), 0u);
}

TEST(Pic, EverythingArrives)
{
    Pics one;
    Pics two;
    one.start();
    one.out(0x21, 0x81);
    one.out(0x4d1, 0x0e);
    one.wire(12, 1);
    one.wire(4, 1);
    (void)one.acknowledge();
    for (unsigned n = 0; n < 2; ++n) {
        const auto body = one.save("i8259", n);
        EXPECT_EQ(body.size(), 16u);
        ASSERT_TRUE(two.load("i8259", 1, body, n));
        EXPECT_EQ(two.save("i8259", n), body);
    }
    EXPECT_EQ(two.in(0x21), 0x81u);
    EXPECT_EQ(two.in(0x4d1), 0x0eu);
    auto bad = one.save("i8259");
    bad[4] = std::byte{8};  // no such input
    EXPECT_FALSE(two.load("i8259", 1, bad));
    one.out(0x20, 0x19);  // level-triggered as a whole: one more part
    EXPECT_EQ(one.save("i8259").size(), 16u + 6 + 10 + 1);
}

TEST(Pic, ARandomGuestDoesNoHarm)
{
    Pics pics;
    std::mt19937 random(4);
    for (int n = 0; n < 20000; ++n) {
        const std::array<std::uint16_t, 6> ports{0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1};
        pics.out(ports[random() % 6], random() & 0xff);
        (void)pics.in(ports[random() % 6]);
        pics.wire(random() % 16, random() & 1);
        (void)pics.acknowledge();
    }
}

struct IoapicBoard : test::House {
    Ioapic* chip = static_cast<Ioapic*>(add_ioapic(*vm).value());
    std::vector<std::pair<std::uint64_t, std::uint32_t>> sent;
    IoapicBoard()
    {
        vm->devices().reset_all(system::ResetKind::Cold);
        chip->on_message([this](std::uint64_t a, std::uint32_t d) { sent.emplace_back(a, d); });
    }
    void select(unsigned reg) { vm->memory().store(kIoapicBase, reg, 4); }
    std::uint32_t get(unsigned reg)
    {
        select(reg);
        return static_cast<std::uint32_t>(vm->memory().load(kIoapicBase + 0x10, 4));
    }
    void set(unsigned reg, std::uint32_t value)
    {
        select(reg);
        vm->memory().store(kIoapicBase + 0x10, value, 4);
    }
    void route(unsigned pin, std::uint64_t entry)
    {
        set(0x11 + 2 * pin, static_cast<std::uint32_t>(entry >> 32));
        set(0x10 + 2 * pin, static_cast<std::uint32_t>(entry));
    }
};

TEST(Ioapic, ResetValuesAndRegisters)
{
    IoapicBoard board;
    EXPECT_EQ(board.get(1), 0x00170020u);
    EXPECT_EQ(board.get(0x10), 0x10000u);
    EXPECT_EQ(board.get(0x3e), 0x10000u);
    EXPECT_EQ(board.get(0x40), 0u);
    EXPECT_EQ(board.get(0xff), 0u);
    board.set(0, 0xff000000);
    EXPECT_EQ(board.get(0), 0x0f000000u);
    board.set(0x12, 0xffffffff);
    EXPECT_EQ(board.get(0x12), 0x1afffu);  // delivery status and remote IRR are the chip's
}

TEST(Ioapic, EdgesAreSentOnceAndLostWhileMasked)
{
    IoapicBoard board;
    auto pin = board.chip->gpio_in("", 4);
    pin.set(1);
    pin.set(0);
    board.route(4, std::uint64_t{3} << 56 | 0x31);
    EXPECT_TRUE(board.sent.empty());
    pin.set(1);
    pin.set(1);
    ASSERT_EQ(board.sent.size(), 1u);
    EXPECT_EQ(board.sent[0].first, 0xfee03000u);
    EXPECT_EQ(board.sent[0].second, 0x31u);
}

TEST(Ioapic, LevelsWaitForTheirAcknowledgement)
{
    IoapicBoard board;
    board.route(10, 0x8055);
    auto pin = board.chip->gpio_in("", 10);
    pin.set(1);
    ASSERT_EQ(board.sent.size(), 1u);
    EXPECT_EQ(board.get(0x24) & 0x4000, 0x4000u);
    pin.set(1);
    EXPECT_EQ(board.sent.size(), 1u);
    board.vm->memory().store(kIoapicBase + 0x40, 0x55, 4);
    EXPECT_EQ(board.sent.size(), 2u);  // still up
    pin.set(0);
    board.chip->end_of_interrupt(0x55);
    EXPECT_EQ(board.sent.size(), 2u);
    EXPECT_EQ(board.get(0x24) & 0x4000, 0u);
}

TEST(Ioapic, WireZeroReachesPinTwo)
{
    IoapicBoard board;
    board.route(2, 0x44);
    board.chip->gpio_in("", 0).set(1);
    ASSERT_EQ(board.sent.size(), 1u);
    EXPECT_EQ(board.sent[0].second, 0x44u);
}

TEST(Ioapic, EverythingArrives)
{
    IoapicBoard one;
    IoapicBoard two;
    one.route(7, std::uint64_t{1} << 56 | 0x8099);
    one.chip->gpio_in("", 7).set(1);
    one.set(0, 0x02000000);
    const auto body = one.save("ioapic");
    EXPECT_EQ(body.size(), 206u);
    ASSERT_TRUE(two.load("ioapic", 3, body));
    EXPECT_EQ(two.save("ioapic"), body);
    EXPECT_EQ(two.get(0x1e), one.get(0x1e));
    test::expect_no_crash_when_cut(two, "ioapic", 3, body, body.size());
}

TEST(Gsi, EveryListenerHears)
{
    Gsi gsi(24);
    int first = 0;
    int second = 0;
    gsi.connect(4, system::IrqInput([&](int level) { first = level; }));
    gsi.connect(4, system::IrqInput([&](int level) { second = level; }));
    const auto wire = gsi.input(4);
    wire.set(1);
    EXPECT_EQ(first + second, 2);
    EXPECT_EQ(gsi.level(4), 1);
    EXPECT_EQ(gsi.level(5), 0);
    gsi = Gsi(1);
    wire.set(0);  // swallowed
    EXPECT_EQ(first, 1);
}

}  // namespace
}  // namespace godwit::hw
