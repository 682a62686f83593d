// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /interop/*: the other process is QEMU 10.0. Guests move to it and come back, and streams saved by
// one load in the other.
#include "tests/qtest/libqtest/migration.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <memory>

namespace godwit::qtest {
namespace {

/// Why there is nobody to talk to; nothing when there is.
std::string peer_missing()
{
    const std::string qemu = reference_qemu();
    if (qemu.empty())
        return "no qemu-system-x86_64 is installed";
    if (run_to_end({qemu, "-version"}).out.find("version 10.") == std::string::npos)
        return qemu + " is not QEMU 10";
    return "";
}

#define GW_SKIP_WITHOUT_PEER()                                      \
    GW_SKIP_WITHOUT_KVM();                                          \
    if (const std::string reason = peer_missing(); !reason.empty()) \
    GTEST_SKIP() << reason

enum class Side { Godwit, Qemu };

Vmm::Options options_of(Side side)
{
    return {.program = side == Side::Qemu ? reference_qemu() : "", .qtest = false, .accel = ""};
}

/// Of the guest in firmware.bin.
constexpr int kWrittenPages = 768;

/// A microvm with nothing that the other program lacks; its firmware is a guest that checks its
/// memory.
std::vector<std::string> microvm(const std::string& serial)
{
    return {"-machine",
            "microvm,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=on,acpi=off,"
            "auto-kernel-cmdline=off",
            "-accel",
            "kvm",
            "-m",
            "32M",
            "-bios",
            guest_image("firmware.bin"),
            "-serial",
            "file:" + serial};
}

std::vector<std::string> ram_only()
{
    return {"-machine", "none,memory-backend=ram0",
            "-object",  "memory-backend-memfd,id=ram0,size=16M",
            "-accel",   "kvm"};
}

std::vector<std::string> incoming(std::vector<std::string> arguments)
{
    arguments.insert(arguments.end(), {"-incoming", "defer"});
    return arguments;
}

struct Route {
    std::string name;
    std::vector<Side> stations;
    Transport transport;
};

class Interop : public testing::TestWithParam<Route> {};

INSTANTIATE_TEST_SUITE_P(
    Routes, Interop,
    testing::Values(
        Route{"ToQemuAndBackTcp", {Side::Godwit, Side::Qemu, Side::Godwit}, Transport::Tcp},
        Route{"FromQemuAndBackUnix", {Side::Qemu, Side::Godwit, Side::Qemu}, Transport::Unix},
        Route{"ThroughFiles",
              {Side::Godwit, Side::Qemu, Side::Godwit, Side::Godwit, Side::Qemu},
              Transport::File}),
    [](const auto& at) { return at.param.name; });

TEST_P(Interop, ARunningGuestKeepsItsMemoryAndItsPulse)
{
    GW_SKIP_WITHOUT_PEER();
    const TempDir dir;
    std::unique_ptr<Vmm> here;
    for (std::size_t stop = 0; stop < GetParam().stations.size(); ++stop) {
        SCOPED_TRACE(fmt::format("station {}", stop));
        const std::string serial = dir.file(fmt::format("serial{}", stop));
        const auto arguments = microvm(serial);
        auto there = std::make_unique<Vmm>(here ? incoming(arguments) : arguments,
                                           options_of(GetParam().stations[stop]));
        if (here) {
            ASSERT_NO_FATAL_FAILURE(move(*here, *there, GetParam().transport));
            // It writes two words in a page: QEMU understands what we make of that.
            const Json info = here->qmp().execute("query-migrate");
            if (GetParam().stations[stop - 1] == Side::Godwit) {
                EXPECT_GE(info["x-mostly-zero"]["pages"], kWrittenPages) << info.dump();
            }
        }
        // The guest compares every word with what it wrote in the turn before; it says 'X' if one
        // is wrong.
        ASSERT_NO_FATAL_FAILURE(wait_for_beats(serial, "B", 3));
        EXPECT_EQ(read_file(serial).find('A') == std::string::npos, here != nullptr);
        here = std::move(there);
    }
}

TEST_P(Interop, MemoryWithoutACpuArrivesByteForByte)
{
    GW_SKIP_WITHOUT_PEER();
    const TempDir dir;
    std::unique_ptr<Vmm> here;
    std::string expected;
    for (std::size_t stop = 0; stop < GetParam().stations.size(); ++stop) {
        SCOPED_TRACE(fmt::format("station {}", stop));
        auto there = std::make_unique<Vmm>(here ? incoming(ram_only()) : ram_only(),
                                           options_of(GetParam().stations[stop]));
        if (here) {
            ASSERT_NO_FATAL_FAILURE(move(*here, *there, GetParam().transport));
        }
        const std::string file = dir.file(fmt::format("ram{}", stop));
        there->qmp().execute("pmemsave", {{"val", 0}, {"size", 16 << 20}, {"filename", file}});
        const std::string found = read_file(file);
        ASSERT_EQ(found.size(), std::size_t{16} << 20);
        if (stop > 0) {
            EXPECT_EQ(found, expected);
        }
        expected = found;
        here = std::move(there);
    }
}

TEST(InteropQtest, APatternWrittenHereIsReadInQemu)
{
    GW_SKIP_WITHOUT_PEER();
    const std::vector<std::string> ours = {"-machine", "none,memory-backend=ram0", "-object",
                                           "memory-backend-memfd,id=ram0,size=16M"};
    const TempDir dir;
    Vmm source(ours);
    fill_pattern(source.qtest(), 0x5000, 3 << 20, 42);
    Vmm qemu(incoming(ram_only()), options_of(Side::Qemu));
    ASSERT_NO_FATAL_FAILURE(move(source, qemu, Transport::Tcp));
    qemu.qmp().execute("pmemsave",
                       {{"val", 0x5000}, {"size", 3 << 20}, {"filename", dir.file("ram")}});
    const auto expected = pattern(0x5000, 3 << 20, 42);
    EXPECT_EQ(read_file(dir.file("ram")),
              std::string(reinterpret_cast<const char*>(expected.data()), expected.size()));

    Vmm back(incoming(ours));
    ASSERT_NO_FATAL_FAILURE(move(qemu, back, Transport::Tcp));
    check_pattern(back.qtest(), 0x5000, 3 << 20, 42);
}

TEST(InteropReturnPath, QemuAndGodwitHearEachOther)
{
    GW_SKIP_WITHOUT_PEER();
    const TempDir dir;
    for (const bool to_qemu : {true, false}) {
        SCOPED_TRACE(to_qemu ? "to QEMU" : "from QEMU");
        const std::string first = dir.file(fmt::format("first{}", to_qemu));
        const std::string second = dir.file(fmt::format("second{}", to_qemu));
        Vmm source(microvm(first), options_of(to_qemu ? Side::Godwit : Side::Qemu));
        ASSERT_NO_FATAL_FAILURE(wait_for_beats(first, "B", 1));
        Vmm target(incoming(microvm(second)), options_of(to_qemu ? Side::Qemu : Side::Godwit));
        for (Vmm* vmm : {&source, &target})
            enable(*vmm, {"return-path", "switchover-ack"});
        ASSERT_NO_FATAL_FAILURE(move(source, target, Transport::Tcp));
        ASSERT_NO_FATAL_FAILURE(wait_for_beats(second, "B", 2));
    }
}

// Everything that changes the stream or the course of a move, with two CPUs and the guest running.
TEST(InteropCapabilities, AMoveWithAllThatWorkTogetherKeepsTheGuest)
{
    GW_SKIP_WITHOUT_PEER();
    const TempDir dir;
    const auto machine = [](const std::string& serial) {
        auto arguments = microvm(serial);
        arguments.insert(arguments.end(),
                         {"-smp", "2", "-uuid", "11111111-2222-3333-4444-555555555555"});
        return arguments;
    };
    std::unique_ptr<Vmm> here;
    const Side stations[] = {Side::Godwit, Side::Qemu, Side::Godwit};
    for (int stop = 0; stop < 3; ++stop) {
        SCOPED_TRACE(fmt::format("station {}", stop));
        const std::string serial = dir.file(fmt::format("serial{}", stop));
        auto there = std::make_unique<Vmm>(here ? incoming(machine(serial)) : machine(serial),
                                           options_of(stations[stop]));
        enable(*there, {"return-path", "switchover-ack", "pause-before-switchover", "xbzrle",
                        "auto-converge", "release-ram", "late-block-activate", "validate-uuid"});
        if (here) {
            Path path(Transport::Tcp);
            ASSERT_NO_FATAL_FAILURE(path.start(*here, *there));
            ASSERT_NO_FATAL_FAILURE(wait_migration(*here, "pre-switchover"));
            here->qmp().execute("migrate-continue", {{"state", "pre-switchover"}});
            ASSERT_NO_FATAL_FAILURE(expect_end(*here, "completed"));
            ASSERT_NO_FATAL_FAILURE(expect_end(*there, "completed"));
        }
        ASSERT_NO_FATAL_FAILURE(wait_for_beats(serial, "B", 3));
        EXPECT_EQ(read_file(serial).find('A') == std::string::npos, here != nullptr);
        EXPECT_EQ(there->qmp().execute("query-cpus-fast").size(), 2u);
        here = std::move(there);
    }
}

TEST(InteropCapabilities, OneThatChangesTheStreamAndIsOffHereIsRefusedByName)
{
    GW_SKIP_WITHOUT_PEER();
    Vmm qemu(ram_only(), options_of(Side::Qemu));
    Vmm target(incoming(ram_only()), options_of(Side::Godwit));
    enable(qemu, {"x-ignore-shared"});
    Path path(Transport::Unix);
    ASSERT_NO_FATAL_FAILURE(path.start(qemu, target));
    EXPECT_EQ(target.wait_exit(), (ExitStatus{.code = 1}));
    EXPECT_NE(target.process().stderr_text().find(
                  "Capability x-ignore-shared is off, but received capability is on"),
              std::string::npos)
        << target.process().stderr_text();
}

}  // namespace
}  // namespace godwit::qtest
