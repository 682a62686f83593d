// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/char/serial.h"

#include "tests/unit/hw/support.h"

#include <cstring>
#include <deque>
#include <unistd.h>

namespace godwit::hw {
namespace {

// A back end whose room the test decides.
class Pipe final : public system::Chardev {
public:
    Pipe() : Chardev("pipe") {}
    std::string filename() const override { return "pipe"; }
    using Chardev::write;
    bool write(std::span<const std::byte> data) override { return write_some(data) == data.size(); }
    std::size_t write_some(std::span<const std::byte> data) override
    {
        const std::size_t taken = std::min(room, data.size());
        for (const std::byte byte : data.first(taken))
            sent.push_back(static_cast<char>(byte));
        room -= taken;
        return taken;
    }
    void on_writable(std::function<void()> ready) override { waiting.push_back(std::move(ready)); }
    bool connected() const noexcept override { return online; }
    void accept_input() override
    {
        while (!pending.empty() && can_receive() > 0) {
            const std::byte byte{static_cast<std::uint8_t>(pending.front())};
            pending.pop_front();
            give(std::span(&byte, 1));
        }
    }
    void type(std::string_view text)
    {
        pending.insert(pending.end(), text.begin(), text.end());
        accept_input();
    }
    void break_line() { tell(FrontEnd::Event::Break); }
    void make_room(std::size_t bytes)
    {
        room = bytes;
        for (auto& ready : std::exchange(waiting, {}))
            ready();
    }

    std::string sent;
    std::deque<char> pending;
    std::vector<std::function<void()>> waiting;
    std::size_t room = 1 << 20;
    bool online = true;
};

struct Line {
    test::House house;
    Pipe pipe;
    int level = 0;
    Uart uart{house.vm->clocks(), [this](int l) { level = l; }, 115200};
    Line() { EXPECT_TRUE(uart.connect(&pipe)); }
    std::uint8_t in(unsigned reg) { return static_cast<std::uint8_t>(uart.read(reg, 1)); }
    void out(unsigned reg, std::uint8_t value) { uart.write(reg, value, 1); }
    void say(std::string_view text)
    {
        for (const char c : text)
            out(0, static_cast<std::uint8_t>(c));
    }
};

TEST(Uart, SendsWithoutAnySetUp)
{
    Line line;
    line.say("A heartbeat");
    EXPECT_EQ(line.pipe.sent, "A heartbeat");
    EXPECT_EQ(line.in(5) & 0x60, 0x60);
    EXPECT_EQ(line.level, 0);
}

TEST(Uart, ResetValuesAreThoseOfTheChip)
{
    Line line;
    line.uart.reset();
    EXPECT_EQ(line.in(1), 0);
    EXPECT_EQ(line.in(2), 1);
    EXPECT_EQ(line.in(3), 0);
    EXPECT_EQ(line.in(4), 8);
    EXPECT_EQ(line.in(5), 0x60);
    EXPECT_EQ(line.in(6), 0xb0);
    line.out(3, 0x80);
    EXPECT_EQ(line.in(0), 12);
    EXPECT_EQ(line.in(1), 0);
}

TEST(Uart, KeepsBytesInOrderWhileTheBackEndIsFull)
{
    Line line;
    line.out(2, 0x01);
    line.pipe.room = 2;
    line.say("abcdefgh");
    EXPECT_EQ(line.pipe.sent, "ab");
    EXPECT_EQ(line.in(5) & 0x40, 0);  // something is still to be sent
    line.pipe.make_room(3);
    EXPECT_EQ(line.pipe.sent, "abcde");
    line.pipe.make_room(100);
    EXPECT_EQ(line.pipe.sent, "abcdefgh");
    EXPECT_EQ(line.in(5) & 0x60, 0x60);
}

TEST(Uart, AResetForgetsWhatWaited)
{
    Line line;
    line.pipe.room = 0;
    line.say("x");
    line.uart.reset();
    line.pipe.make_room(100);
    EXPECT_EQ(line.pipe.sent, "");
    line.say("y");
    EXPECT_EQ(line.pipe.sent, "y");
}

TEST(Uart, WithNobodyConnectedBytesAreLostAndTheLineIsReady)
{
    Line line;
    line.pipe.online = false;
    line.pipe.room = 0;
    line.say("lost");
    EXPECT_EQ(line.in(5), 0x60);
}

TEST(Uart, ThreInterruptComesWhenEnabledAndGoesWhenIirIsRead)
{
    Line line;
    line.out(1, 0x02);
    EXPECT_EQ(line.level, 1);
    EXPECT_EQ(line.in(2), 0x02);
    EXPECT_EQ(line.level, 0);
    EXPECT_EQ(line.in(2), 0x01);
    line.out(0, 'x');
    EXPECT_EQ(line.level, 1);
    line.out(1, 0);
    EXPECT_EQ(line.level, 0);
}

TEST(Uart, ReceivesWithoutFifoOneByteAtATime)
{
    Line line;
    line.out(1, 0x01);
    line.pipe.type("hi");
    EXPECT_EQ(line.level, 1);
    EXPECT_EQ(line.in(2), 0x04);
    EXPECT_EQ(line.in(5) & 1, 1);
    EXPECT_EQ(line.in(0), 'h');
    EXPECT_EQ(line.in(0), 'i');
    EXPECT_EQ(line.in(5) & 1, 0);
    EXPECT_EQ(line.level, 0);
}

TEST(Uart, FifoInterruptsAtItsTriggerLevelOrAfterFourCharacters)
{
    Line line;
    line.out(2, 0x81);  // trigger at 8
    line.out(1, 0x01);
    EXPECT_EQ(line.in(2), 0xc1);
    line.pipe.type("1234567");
    EXPECT_EQ(line.level, 0);
    line.house.step(10'000'000);
    EXPECT_EQ(line.in(2), 0xcc);
    EXPECT_EQ(line.in(0), '1');
    EXPECT_EQ(line.level, 0);
    line.pipe.type("89");
    EXPECT_EQ(line.in(2), 0xc4);
    std::string rest;
    while ((line.in(5) & 1) != 0)
        rest.push_back(static_cast<char>(line.in(0)));
    EXPECT_EQ(rest, "23456789");
    EXPECT_EQ(line.level, 0);
}

TEST(Uart, AFullFifoHoldsTheBackEndOff)
{
    Line line;
    line.out(2, 0x01);
    line.pipe.type("0123456789abcdefXYZ");
    EXPECT_EQ(line.pipe.pending.size(), 3u);
    EXPECT_EQ(line.in(5) & 2, 0);  // nothing overran
    std::string all;
    while ((line.in(5) & 1) != 0)
        all.push_back(static_cast<char>(line.in(0)));
    EXPECT_EQ(all, "0123456789abcdefXYZ");
}

TEST(Uart, LoopbackReturnsDataAndModemLines)
{
    Line line;
    line.out(4, 0x10 | 0x0b);
    line.out(0, 0x5a);
    EXPECT_EQ(line.pipe.sent, "");
    EXPECT_EQ(line.in(0), 0x5a);
    EXPECT_EQ(line.in(6), 0xb0);  // DCD, DSR, CTS from OUT2, DTR, RTS
    line.out(4, 0x10);
    EXPECT_EQ(line.in(6), 0);
    line.out(2, 0x01);
    for (int n = 0; n < 20; ++n)
        line.out(0, static_cast<std::uint8_t>(n));
    EXPECT_EQ(line.in(5) & 2, 2);  // four of them had no room
}

TEST(Uart, BreakIsReportedOnce)
{
    Line line;
    line.out(1, 0x04);
    line.pipe.break_line();
    EXPECT_EQ(line.in(2), 0x06);
    EXPECT_EQ(line.in(5) & 0x11, 0x11);
    EXPECT_EQ(line.in(5) & 0x10, 0);
    EXPECT_EQ(line.level, 0);
}

TEST(Uart, AccessesOutOfRangeDoNothing)
{
    Line line;
    for (std::uint64_t reg : {std::uint64_t{8}, std::uint64_t{255}, ~std::uint64_t{0}}) {
        EXPECT_EQ(line.uart.read(reg, 1), 0xff);
        line.uart.write(reg, 0xff, 1);
    }
    EXPECT_EQ(line.in(5), 0x60);
}

TEST(IsaSerial, SectionIsThatOfQemu)
{
    test::House house;
    house.add<IsaSerial>("isa-serial");
    std::string text;
    const auto body = house.save("serial", 0, &text);
    EXPECT_EQ(body.size(), 11u);
    EXPECT_EQ(
        text,
        R"({"vmsd_name": "serial", "version": 3, "fields": [{"name": "state", "type": "struct", )"
        R"("struct": {"vmsd_name": "serial", "version": 3, "fields": [{"name": "divider", "type": "uint16", "size": 2}, )"
        R"({"name": "rbr", "type": "uint8", "size": 1}, {"name": "ier", "type": "uint8", "size": 1}, )"
        R"({"name": "iir", "type": "uint8", "size": 1}, {"name": "lcr", "type": "uint8", "size": 1}, )"
        R"({"name": "mcr", "type": "uint8", "size": 1}, {"name": "lsr", "type": "uint8", "size": 1}, )"
        R"({"name": "msr", "type": "uint8", "size": 1}, {"name": "scr", "type": "uint8", "size": 1}, )"
        R"({"name": "fcr_vmstate", "type": "uint8", "size": 1}]}, "size": 11}]})");
    const std::array<std::uint8_t, 11> expected{0, 12, 0, 0, 1, 0, 8, 0x60, 0xb0, 0, 0};
    EXPECT_EQ(std::memcmp(body.data(), expected.data(), 11), 0);
}

TEST(IsaSerial, EverythingArrives)
{
    test::House one;
    test::House two;
    auto& from = one.add<IsaSerial>("isa-serial").uart();
    auto& to = two.add<IsaSerial>("isa-serial").uart();
    from.write(2, 0xc1, 1);
    from.write(1, 0x07, 1);
    from.write(7, 0x42, 1);
    from.write(4, 0x10, 1);  // loopback fills the receive FIFO
    for (const char c : {'a', 'b', 'c'})
        from.write(0, static_cast<std::uint8_t>(c), 1);
    const auto body = one.save("serial");
    ASSERT_TRUE(two.load("serial", 3, body));
    EXPECT_EQ(to.state().scr, 0x42);
    EXPECT_EQ(to.state().recv.num, 3u);
    EXPECT_EQ(two.save("serial"), body);
    two.step(1'000'000'000);  // the character timeout arrived too
    EXPECT_EQ(to.read(2, 1), 0xccu);
    EXPECT_EQ(to.read(0, 1), 'a');
    EXPECT_EQ(to.read(0, 1), 'b');
    EXPECT_EQ(to.read(0, 1), 'c');
}

TEST(IsaSerial, LoadRefusesWhatCannotBe)
{
    test::House house;
    auto& uart = house.add<IsaSerial>("isa-serial").uart();
    uart.write(7, 0x77, 1);
    auto body = house.save("serial");
    test::expect_no_crash_when_cut(house, "serial", 3, body, body.size());
    body[7] = std::byte{0x20};
    const auto loaded = house.load("serial", 3, body);
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().message().find("inconsistent state in serial device "
                                            "(tsr not empty, tsr_retry=0"),
              std::string::npos)
        << loaded.error().message();
    EXPECT_EQ(uart.state().lsr, 0x60);
    EXPECT_EQ(uart.state().scr, 0x77);
}

TEST(IsaSerial, PortsAndWiresFollowTheIndex)
{
    test::House house;
    house.add<IsaSerial>("isa-serial");
    house.add<IsaSerial>("isa-serial");
    house.add<IsaSerial>("isa-serial", Json{{"index", 3}, {"irq", 5}});
    house.out(0x2f8 + 7, 0x22);
    house.out(0x2e8 + 7, 0x33);
    EXPECT_EQ(house.in(0x3f8 + 7), 0u);
    EXPECT_EQ(house.in(0x2f8 + 7), 0x22u);
    EXPECT_EQ(house.in(0x2e8 + 7), 0x33u);
    EXPECT_EQ(house.in(0x3e8 + 7), 0xffu);
    house.out(0x2f8 + 1, 0x02);
    EXPECT_EQ(house.wires[3], 1);
    house.out(0x2e8 + 1, 0x02);
    EXPECT_EQ(house.wires[5], 1);
    const auto fifth =
        house.vm->devices().add_builtin("isa-serial", &house.bridge->bus(), Json{{"index", 4}});
    ASSERT_FALSE(fifth);
    EXPECT_EQ(fifth.error().message(), "Max. supported number of ISA serial ports is 4.");
}

TEST(IsaSerial, WritesToItsChardev)
{
    test::House house;
    const std::string path = ::testing::TempDir() + "godwit-serial-out";
    ASSERT_TRUE(house.vm->chardevs().add_short("file:" + path, "serial0"));
    house.add<IsaSerial>("isa-serial", Json{{"chardev", "serial0"}});
    for (const char c : std::string("over the wire"))
        house.out(0x3f8, static_cast<std::uint8_t>(c));
    std::string text(64, '\0');
    FILE* file = std::fopen(path.c_str(), "r");
    ASSERT_NE(file, nullptr);
    text.resize(std::fread(text.data(), 1, text.size(), file));
    std::fclose(file);
    EXPECT_EQ(text, "over the wire");
    ::unlink(path.c_str());
    const auto second = house.vm->devices().add_builtin("isa-serial", &house.bridge->bus(),
                                                        Json{{"chardev", "nobody"}});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().message(), "Property 'isa-serial.chardev' can't find value 'nobody'");
}

}  // namespace
}  // namespace godwit::hw
