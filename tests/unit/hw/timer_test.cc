// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/input/i8042.h"
#include "hw/misc/port92.h"
#include "hw/rtc.h"
#include "hw/timer/i8254.h"
#include "tests/unit/hw/support.h"

#include <random>

namespace godwit::hw {
namespace {

struct PitBoard : test::House {
    Pit* pit = nullptr;
    PcSpeaker* speaker = nullptr;
    PitBoard()
    {
        pit = static_cast<Pit*>(add_pit(*vm, bridge->bus()).value());
        speaker = &add<PcSpeaker>("isa-pcspk");
        speaker->connect(*pit);
        vm->devices().reset_all(system::ResetKind::Cold);
    }
    unsigned count(unsigned channel)
    {
        out(0x43, channel << 6);
        const auto low = in(static_cast<std::uint16_t>(0x40 + channel));
        return static_cast<unsigned>(low | in(static_cast<std::uint16_t>(0x40 + channel)) << 8);
    }
};

TEST(Pit, RateGeneratorTicksAtItsRate)
{
    PitBoard board;
    board.out(0x43, 0x34);
    board.out(0x40, 11932 & 0xff);
    board.out(0x40, 11932 >> 8);  // 100 Hz
    board.rises[0] = 0;
    board.step(1'000'000'000);
    EXPECT_NEAR(board.rises[0], 100, 1);
}

TEST(Pit, OneShotFiresOnce)
{
    PitBoard board;
    board.out(0x43, 0x30);
    board.rises[0] = 0;
    board.out(0x40, 0xa9);
    board.out(0x40, 0x04);  // 1193: a millisecond
    EXPECT_EQ(board.wires[0], 0);
    board.step(900'000);
    EXPECT_EQ(board.wires[0], 0);
    board.step(200'000);
    EXPECT_EQ(board.wires[0], 1);
    board.step(1'000'000'000);
    EXPECT_EQ(board.rises[0], 1u);
}

TEST(Pit, CountsDownAndLatches)
{
    PitBoard board;
    board.out(0x43, 0xb4);
    board.out(0x42, 0x00);
    board.out(0x42, 0x80);
    board.step(1'000'000);
    EXPECT_NEAR(board.count(2), 0x8000 - 1193, 2);
    board.out(0x43, 0x80);
    board.step(5'000'000);
    const auto low = board.in(0x42);
    EXPECT_NEAR(static_cast<double>(low | board.in(0x42) << 8), 0x8000 - 1193, 2);  // as latched
    board.out(0x43, 0xe8);  // status of channel 2
    EXPECT_EQ(board.in(0x42) & 0x3f, 0x34u);
    EXPECT_EQ(board.in(0x43), 0u);
}

TEST(Pit, TheSpeakerPortShowsChannelTwo)
{
    PitBoard board;
    board.out(0x61, 0);
    board.out(0x43, 0xb0);
    board.out(0x61, 1);
    board.out(0x42, 0xa9);
    board.out(0x42, 0x04);
    EXPECT_EQ(board.in(0x61) & 0x21, 0x01u);
    board.step(2'000'000);
    EXPECT_EQ(board.in(0x61) & 0x21, 0x21u);
    board.out(0x61, 2);
    EXPECT_EQ(board.in(0x61) & 3, 2u);
    EXPECT_NE(board.in(0x61) & 0x10, board.in(0x61) & 0x10);
}

TEST(Pit, EverythingArrives)
{
    PitBoard one;
    PitBoard two;
    one.out(0x43, 0x34);
    one.out(0x40, 11932 & 0xff);
    one.out(0x40, 11932 >> 8);
    one.out(0x43, 0x80);
    one.step(12'345'678);
    two.step(12'345'678);  // the section before this one carries the clock
    const auto body = one.save("i8254");
    EXPECT_EQ(body.size(), 108u);
    ASSERT_TRUE(two.load("i8254", 3, body));
    EXPECT_EQ(two.save("i8254"), body);
    one.rises[0] = two.rises[0] = 0;
    one.step(333'000'000);
    two.step(333'000'000);
    EXPECT_EQ(one.rises[0], two.rises[0]);
    EXPECT_EQ(one.save("i8254"), two.save("i8254"));
    test::expect_no_crash_when_cut(two, "i8254", 3, body, body.size());
}

TEST(Pit, AHostileStateNeitherCrashesNorStopsTime)
{
    PitBoard board;
    const auto body = board.save("i8254");
    std::mt19937 random(6);
    for (int n = 0; n < 500; ++n) {
        auto bad = body;
        for (int k = 0; k < 6; ++k)
            bad[random() % bad.size()] = static_cast<std::byte>(random());
        if (board.load("i8254", 3, bad)) {
            (void)board.count(0);
            board.step(1'000'000);
            (void)board.in(0x61);
        }
    }
}

struct RtcBoard : test::House {
    Rtc* rtc = nullptr;
    explicit RtcBoard(std::string base = "2006-06-17T16:01:21")
    {
        vm->config().rtc_base = std::move(base);
        rtc = &add<Rtc>("mc146818rtc");
    }
    unsigned get(unsigned reg)
    {
        out(0x70, reg);
        return static_cast<unsigned>(in(0x71));
    }
    void set(unsigned reg, unsigned value)
    {
        out(0x70, reg);
        out(0x71, value);
    }
    // Lets the host's clock and the main loop run until `done` or too long.
    template <class Done>
    bool wait(Done done)
    {
        for (int n = 0; n < 300 && !done(); ++n) {
            const system::MachineUnlock unlock(vm->lock());
            const Registration tick = vm->loop().after_ms(10, [] {});
            vm->loop().run_once(true);
        }
        return done();
    }
};

TEST(Rtc, ShowsTheDateItWasGiven)
{
    RtcBoard board;
    EXPECT_EQ(board.get(9), 0x06u);
    EXPECT_EQ(board.get(8), 0x06u);
    EXPECT_EQ(board.get(7), 0x17u);
    EXPECT_EQ(board.get(6), 7u);  // a Saturday
    EXPECT_EQ(board.get(4), 0x16u);
    EXPECT_EQ(board.get(2), 0x01u);
    EXPECT_EQ(board.get(0x32), 0x20u);
    EXPECT_EQ(board.get(0x37), 0x20u);
    EXPECT_EQ(board.get(0x0d), 0x80u);
    EXPECT_EQ(board.in(0x70), 0xffu);
}

TEST(Rtc, BaseFormats)
{
    EXPECT_EQ(*rtc_base_seconds("utc", 1000), 1000);
    EXPECT_EQ(*rtc_base_seconds("1970-01-02", 5), 86400);
    EXPECT_EQ(*rtc_base_seconds("1970-01-01T00:00:09", 5), 9);
    EXPECT_EQ(rtc_base_seconds("yesterday", 0).error().message(), "invalid datetime format");
    EXPECT_FALSE(rtc_base_seconds("2006-06-17T16:01:21x", 0));
}

TEST(Rtc, KeepsADateInEveryFormat)
{
    for (const unsigned mode : {0x00u, 0x02u, 0x04u, 0x06u}) {
        RtcBoard board;
        board.set(0x0b, 0x80 | mode);
        const bool binary = (mode & 4) != 0;
        const bool full_day = (mode & 2) != 0;
        board.set(9, binary ? 99 : 0x99);
        board.set(8, binary ? 12 : 0x12);
        board.set(7, binary ? 31 : 0x31);
        board.set(4, full_day ? (binary ? 23 : 0x23) : (binary ? 0x80 | 11 : 0x91));
        board.set(2, binary ? 58 : 0x58);
        board.set(0, binary ? 10 : 0x10);
        board.set(0x32, binary ? 19 : 0x19);
        board.set(0x0b, mode);
        EXPECT_EQ(board.get(9), binary ? 99u : 0x99u) << mode;
        EXPECT_EQ(board.get(7), binary ? 31u : 0x31u) << mode;
        EXPECT_EQ(board.get(4), full_day ? (binary ? 23u : 0x23u) : (binary ? 0x80u | 11 : 0x91u))
            << mode;
        EXPECT_EQ(board.get(2), binary ? 58u : 0x58u) << mode;
        EXPECT_EQ(board.get(0x32), binary ? 19u : 0x19u) << mode;
    }
}

TEST(Rtc, UpdatesAndAlarmsInterrupt)
{
    RtcBoard board;
    (void)board.get(0x0c);
    board.set(1, 0xc0);
    board.set(3, 0xc0);
    board.set(5, 0xc0);  // every second
    board.set(0x0b, 0x32);
    ASSERT_TRUE(board.wait([&] { return board.wires[8] == 1; }));
    EXPECT_EQ(board.get(0x0c), 0xb0u);
    EXPECT_EQ(board.wires[8], 0);
    EXPECT_EQ(board.get(0x0c) & 0x80, 0u);
}

TEST(Rtc, PeriodicInterruptsComeUntilSwitchedOff)
{
    RtcBoard board;
    (void)board.get(0x0c);
    board.set(0x0b, 0x42);
    for (int n = 0; n < 3; ++n) {
        ASSERT_TRUE(board.wait([&] { return board.wires[8] == 1; }));
        EXPECT_EQ(board.get(0x0c) & 0xc0, 0xc0u);
    }
    board.set(0x0b, 0x02);
    (void)board.get(0x0c);
    EXPECT_EQ(board.wires[8], 0);
}

TEST(Rtc, EverythingArrives)
{
    RtcBoard one;
    RtcBoard two("1999-01-01");
    one.set(0x0b, 0x42);
    one.rtc->set_memory_sizes(128 << 20, 0);
    const auto body = one.save("mc146818rtc");
    EXPECT_EQ(body.size(), 245u);
    ASSERT_TRUE(two.load("mc146818rtc", 3, body));
    EXPECT_EQ(two.get(9), 0x06u);
    EXPECT_EQ(two.get(0x0b), 0x42u);
    EXPECT_EQ(two.get(0x15) | two.get(0x16) << 8, 640u);
    EXPECT_EQ(two.get(0x34) | two.get(0x35) << 8, (112u << 20) / 65536);
    test::expect_no_crash_when_cut(two, "mc146818rtc", 3, body, body.size());
    std::mt19937 random(8);
    for (int n = 0; n < 500; ++n) {
        auto bad = body;
        for (int k = 0; k < 8; ++k)
            bad[random() % bad.size()] = static_cast<std::byte>(random());
        if (two.load("mc146818rtc", 3, bad))
            for (unsigned reg = 0; reg < 16; ++reg)
                (void)two.get(reg);
    }
}

TEST(Rtc, ARandomGuestDoesNoHarm)
{
    RtcBoard board;
    std::mt19937 random(9);
    for (int n = 0; n < 20000; ++n) {
        board.set(random() % 128, random() & 0xff);
        (void)board.get(random() % 128);
    }
}

TEST(Port92, ReadsBackWhatWasWritten)
{
    test::House house;
    house.add<Port92>("port92");
    house.out(0x92, 0xfe);
    EXPECT_EQ(house.in(0x92), 0xfeu);
    house.out(0x92, 0x03);
    EXPECT_EQ(house.in(0x92), 0x02u);
    const auto body = house.save("port92");
    house.out(0x92, 0);
    ASSERT_TRUE(house.load("port92", 1, body));
    EXPECT_EQ(house.in(0x92), 0x02u);
}

struct KeyboardBoard : test::House {
    I8042& chip = add<I8042>("i8042");
    KeyboardBoard() { vm->devices().reset_all(system::ResetKind::Cold); }
    std::string answers()
    {
        std::string text;
        while ((in(0x64) & 1) != 0)
            text.push_back(static_cast<char>(in(0x60)));
        return text;
    }
};

TEST(I8042, TestsItselfAndItsDevices)
{
    KeyboardBoard board;
    board.out(0x64, 0xaa);
    EXPECT_EQ(board.answers(), "\x55");
    board.out(0x64, 0xab);
    EXPECT_EQ(board.answers(), std::string(1, '\0'));
    board.out(0x60, 0xff);
    EXPECT_EQ(board.wires[1], 1);
    EXPECT_EQ(board.answers(), "\xfa\xaa");
    EXPECT_EQ(board.wires[1], 0);
    board.out(0x60, 0xf2);
    EXPECT_EQ(board.answers(), "\xfa\xab\x83");
    board.out(0x64, 0xd4);
    board.out(0x60, 0xff);
    EXPECT_EQ(board.wires[12], 1);
    EXPECT_EQ(board.in(0x64) & 0x21, 0x21u);
    EXPECT_EQ(board.answers(), std::string("\xfa\xaa\0", 3));
    board.out(0x64, 0x60);
    board.out(0x60, 0x40);
    board.out(0x64, 0x20);
    EXPECT_EQ(board.answers(), "\x40");
}

TEST(I8042, EverythingArrives)
{
    KeyboardBoard one;
    KeyboardBoard two;
    one.out(0x60, 0xed);
    one.out(0x60, 0x07);
    one.out(0x64, 0xd4);
    one.out(0x60, 0xe9);
    for (const auto& [name, version, bytes] : {std::tuple{"ps2kbd", 3u, 284u + 4 + 6 + 15},
                                               {"ps2mouse", 2u, 291u},
                                               {"pckbd", 3u, 40u}}) {
        const auto body = one.save(name);
        EXPECT_EQ(body.size(), bytes) << name;
        ASSERT_TRUE(two.load(name, version, body)) << name;
        EXPECT_EQ(two.save(name), body) << name;
    }
    EXPECT_EQ(two.answers(), one.answers());
}

TEST(I8042, ARandomGuestDoesNoHarm)
{
    KeyboardBoard board;
    std::mt19937 random(10);
    for (int n = 0; n < 20000; ++n) {
        board.out(random() % 2 == 0 ? 0x60 : 0x64, random() % 256);
        (void)board.in(0x60);
    }
}

}  // namespace
}  // namespace godwit::hw
