// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Whole migrations in one process.
#include "tests/unit/migration/test_machine.h"
#include "util/unique_fd.h"

#include <algorithm>
#include <cstdlib>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace godwit::migration {
namespace {

using system::RunState;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Move, TakesMemoryDevicesAndRunStateAlong)
{
    TestMachine a;
    TestMachine b;
    for (std::uint64_t page : {0u, 3u, 255u})
        a.write(page, page + 7);
    a.state = {0xdeadbeef, 2};
    a.start_guest();
    move(a, b);
    for (std::uint64_t page : {0u, 3u, 255u})
        EXPECT_EQ(b.word(page), page + 7);
    EXPECT_EQ(b.word(1), 0u);
    EXPECT_EQ(b.state.value, 0xdeadbeefu);
    EXPECT_EQ(b.state.mode, 2);
    EXPECT_EQ(a.run_state.state(), RunState::Postmigrate);
    EXPECT_EQ(b.run_state.state(), RunState::Running);
    EXPECT_FALSE(a.dirty.started);
}

TEST(Move, AStoppedGuestStaysStopped)
{
    TestMachine a;
    TestMachine b;
    a.start_guest();
    {
        const system::MachineGuard guard(a.lock);
        ASSERT_TRUE(a.run_state.stop(RunState::Paused));
    }
    move(a, b);
    EXPECT_EQ(b.run_state.state(), RunState::Paused);
}

TEST(Move, ASuspendedGuestStaysSuspended)
{
    TestMachine a;
    TestMachine b;
    a.start_guest();
    {
        const system::MachineGuard guard(a.lock);
        ASSERT_TRUE(a.run_state.set(RunState::Suspended));
    }
    move(a, b);
    EXPECT_EQ(b.run_state.state(), RunState::Suspended);
}

TEST(Move, WorksWithoutAnyMemory)
{
    TestMachine a(0);
    TestMachine b(0);
    move(a, b);
    EXPECT_EQ(b.run_state.state(), RunState::Prelaunch);
}

TEST(Move, WithAReturnPathTheDestinationCompletesFirst)
{
    TestMachine a;
    TestMachine b;
    a.enable({Capability::ReturnPath});
    a.start_guest();
    std::atomic<bool> b_was_first{false};
    const auto watch = a.service->on_status(Side::Source, [&](Status, Status to) {
        if (to == Status::Completed)
            b_was_first = b.run_state.running();
    });
    move(a, b);
    EXPECT_TRUE(b_was_first);
}

TEST(Move, TellsItsEventsInOrder)
{
    TestMachine a;
    TestMachine b;
    a.enable({Capability::Events});
    b.enable({Capability::Events});
    move(a, b);
    EXPECT_THAT(a.history(),
                ElementsAre("setup", "pass 1", "active", "device", "pass 2", "completed"));
    EXPECT_THAT(b.history(), ElementsAre("setup", "active", "completed"));
}

TEST(Move, PagesThatChangeMeanwhileArriveAsTheyAreLast)
{
    TestMachine a;
    TestMachine b;
    for (std::uint64_t page = 0; page < 256; ++page)
        a.write(page, page + 1);
    a.start_guest();
    std::uint64_t round = 0;
    a.dirty.on_sync = [&](bool last) {
        // What an accelerator would find in its log: written since the last sync.
        ++round;
        a.write(round % 256, 1000 + round);
        if (last)
            a.write(200, 4711);
    };
    move(a, b);
    EXPECT_EQ(std::memcmp(a.ram->host(), b.ram->host(), a.ram->used_length()), 0);
    EXPECT_EQ(b.word(200), 4711u);
}

TEST(Move, XbzrleSendsDifferencesAndLosesNothing)
{
    TestMachine a(4 << 20);
    TestMachine b(4 << 20);
    a.enable({Capability::Xbzrle});
    for (std::uint64_t page = 0; page < 1024; ++page)
        for (std::uint64_t i = 0; i < 512; ++i)
            std::memcpy(a.ram->host() + page * 4096 + i * 8, &i, 8);
    a.set({.max_bandwidth = 20u << 20, .downtime_limit_ms = 1});
    a.start_guest();
    int round = 0;
    a.dirty.on_sync = [&](bool last) {
        if (++round > 6 && !last)
            return;
        for (std::uint64_t page = 0; page < 600; page += 3)
            a.write(page, page * 31 + static_cast<std::uint64_t>(round));
    };
    move(a, b);
    EXPECT_EQ(std::memcmp(a.ram->host(), b.ram->host(), a.ram->used_length()), 0);
    const auto report = a.service->report();
    ASSERT_NE(report.statistics, nullptr);
    EXPECT_GT(report.statistics->xbzrle_pages, 0u);
}

TEST(Move, MostlyZeroPagesTakeLittleAndLoseNothing)
{
    for (const bool xbzrle : {false, true}) {
        TestMachine a(8 << 20);
        TestMachine b(8 << 20);
        if (xbzrle)
            a.enable({Capability::Xbzrle});
        std::memset(b.ram->host(), 0x5a, b.ram->used_length());
        for (std::uint64_t page = 0; page < 2048; ++page)
            if (page % 64 == 5)
                std::memset(a.ram->host() + page * 4096, 0x77, 4096);
            else
                a.write(page, page + 1);
        a.start_guest();
        std::uint64_t round = 0;
        a.dirty.on_sync = [&](bool) {
            if (++round > 6)
                return;
            for (std::uint64_t page = 0; page < 1000; ++page)
                a.write(page, round % 3 == 0 && page % 2 == 0 ? 0 : page * 31 + round);
        };
        move(a, b);
        EXPECT_EQ(std::memcmp(a.ram->host(), b.ram->host(), a.ram->used_length()), 0);
        const Statistics& s = *a.service->report().statistics;
        EXPECT_GE(s.mostly_zero_pages, 2016u);
        EXPECT_GE(s.normal_pages, s.mostly_zero_pages + 32);
        EXPECT_LT(s.mostly_zero_bytes, s.mostly_zero_pages * 40);
        EXPECT_EQ(s.mostly_zero_bytes + s.spared_bytes, s.mostly_zero_pages * (4096 + 8));
        EXPECT_LT(s.transferred, (s.normal_pages - s.mostly_zero_pages) * 4104 + (1u << 20));
    }
}

TEST(Move, WithoutZeroDetectionPagesGoWhole)
{
    TestMachine a;
    TestMachine b;
    a.set({.zero_page_detection = ZeroPageDetection::None});
    for (std::uint64_t page = 0; page < 256; ++page)
        a.write(page, page + 1);
    move(a, b);
    EXPECT_EQ(std::memcmp(a.ram->host(), b.ram->host(), a.ram->used_length()), 0);
    EXPECT_EQ(a.service->report().statistics->mostly_zero_pages, 0u);
    EXPECT_GE(a.service->report().statistics->normal_pages, 256u);
}

TEST(Move, UntouchedPagesAreNeitherSentNorPopulated)
{
    TestMachine a(256u << 20);
    TestMachine b(256u << 20);
    a.write(5, 1);
    a.write(60000, 2);
    move(a, b);
    EXPECT_EQ(b.word(5), 1u);
    EXPECT_EQ(b.word(60000), 2u);
    const auto report = a.service->report();
    ASSERT_NE(report.statistics, nullptr);
    // Huge pages may have come with the two that were written.
    EXPECT_LT(report.statistics->normal_pages + report.statistics->zero_pages, 2000u);
    EXPECT_LT(report.statistics->transferred, 1u << 20);
}

TEST(Move, WhatTheDestinationHadBeforeIsGone)
{
    TestMachine a;
    TestMachine b;
    std::memset(b.ram->host(), 0x5a, b.ram->used_length());
    a.write(9, 9);
    move(a, b);
    EXPECT_EQ(std::memcmp(a.ram->host(), b.ram->host(), a.ram->used_length()), 0);
}

TEST(Move, BothWaysAndBackAgain)
{
    TestMachine first;
    first.start_guest();
    first.write(1, 1);
    std::unique_ptr<TestMachine> here;
    TestMachine* from = &first;
    for (int i = 0; i < 20; ++i) {
        auto there = std::make_unique<TestMachine>();
        from->state.value += 1;
        move(*from, *there);
        ASSERT_EQ(there->word(1), 1u);
        here = std::move(there);
        from = here.get();
    }
    EXPECT_EQ(here->state.value, 20u);
}

TEST(Move, TwoAtOnceDoNotMeet)
{
    TestMachine a1;
    TestMachine b1;
    TestMachine a2;
    TestMachine b2;
    a1.write(1, 11);
    a2.write(1, 22);
    auto [l1, r1] = io::make_memory_channels(4096).value();
    auto [l2, r2] = io::make_memory_channels(4096).value();
    ASSERT_TRUE(b1.expect_from(std::move(r1)));
    ASSERT_TRUE(b2.expect_from(std::move(r2)));
    ASSERT_TRUE(a1.migrate_to(std::move(l1)));
    ASSERT_TRUE(a2.migrate_to(std::move(l2)));
    for (TestMachine* m : {&a1, &a2, &b1, &b2})
        EXPECT_EQ(m->wait_for_end(), Status::Completed) << m->error();
    EXPECT_EQ(b1.word(1), 11u);
    EXPECT_EQ(b2.word(1), 22u);
}

// A destination whose second block is a file that must not be written.
void move_to_read_only(const std::vector<std::byte>& here, const std::vector<std::byte>& there,
                       std::string& error)
{
    char path[] = "/tmp/gw-read-only-XXXXXX";
    const UniqueFd file(::mkstemp(path));
    ASSERT_TRUE(file);
    ASSERT_EQ(::write(file.get(), there.data(), there.size()), static_cast<ssize_t>(there.size()));
    TestMachine a;
    TestMachine b;
    auto* const sent = a.memory.create({.id = "rom", .used_length = 64 << 10}).value();
    std::memcpy(sent->host(), here.data(), here.size());
    ASSERT_TRUE(b.memory.create({.id = "rom",
                                 .used_length = 64 << 10,
                                 .source = system::RamSource::File,
                                 .path = path,
                                 .readonly = true,
                                 .rom = true}));
    auto [left, right] = io::make_memory_channels().value();
    ASSERT_TRUE(b.expect_from(std::move(right)));
    ASSERT_TRUE(a.migrate_to(std::move(left)));
    b.wait_for_end();
    a.wait_for_end();
    error = b.error();
    ::unlink(path);
}

constexpr std::size_t kRom = 64 << 10;

// Every kind of page: full, zeros, a word between zeros.
std::vector<std::byte> rom()
{
    std::vector<std::byte> content(kRom);
    std::fill_n(content.begin(), 8192, std::byte{0x77});
    content[12288 + 40] = std::byte{1};
    return content;
}

TEST(ReadOnlyBlock, LoadsWhenTheContentsAreTheSame)
{
    std::string error;
    ASSERT_NO_FATAL_FAILURE(move_to_read_only(rom(), rom(), error));
    EXPECT_EQ(error, "");
}

TEST(ReadOnlyBlock, RefusesOtherContentsByName)
{
    for (const std::size_t at : {std::size_t{0}, std::size_t{12288}}) {
        auto other = rom();
        other[at + 40] = std::byte{2};
        std::string error;
        ASSERT_NO_FATAL_FAILURE(move_to_read_only(rom(), other, error));
        EXPECT_NE(error.find("Block rom is read-only here, and its page at 0x" +
                             std::string(at == 0 ? "0" : "3000") + " differs"),
                  std::string::npos)
            << error;
    }
    auto other = rom();
    other[16384] = std::byte{2};  // zeros there
    std::string error;
    ASSERT_NO_FATAL_FAILURE(move_to_read_only(rom(), other, error));
    EXPECT_NE(error.find("its page at 0x4000 differs"), std::string::npos) << error;
}

}  // namespace
}  // namespace godwit::migration
