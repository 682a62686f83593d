// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/synth/page_content.h"
#include "accel/synth/synth_vcpu.h"
#include "migration/stream/reader.h"
#include "migration/stream/registry.h"
#include "migration/stream/writer.h"
#include "system/dirty_tracking.h"
#include "test_vm.h"

#include <cstring>
#include <gmock/gmock.h>
#include <set>
#include <thread>

namespace godwit::accel::synth {
namespace {

namespace ms = migration::stream;
using system::DirtyClient;

SynthVcpu& vcpu_of(TestVm& test, unsigned index)
{
    return static_cast<SynthVcpu&>(*test.vm().vcpus()[index]);
}

/// Lets every vCPU make at least `accesses` more accesses, and pauses it.
void run_for(TestVm& test, std::uint64_t accesses)
{
    std::vector<std::uint64_t> goals;
    for (system::Vcpu* vcpu : test.vm().vcpus())
        goals.push_back(static_cast<SynthVcpu*>(vcpu)->accesses() + accesses);
    test.resume();
    for (unsigned i = 0; i < goals.size(); ++i)
        while (vcpu_of(test, i).accesses() < goals[i])
            std::this_thread::yield();
    test.pause();
}

CheckResult check_all(TestVm& test)
{
    CheckResult all;
    for (unsigned i = 0; i < test.vm().vcpus().size(); ++i)
        all.add(vcpu_of(test, i).check());
    return all;
}

std::vector<std::byte> save(TestVm& test, unsigned instance)
{
    system::MachineGuard guard(test.vm().lock());
    ms::StreamWriter out;
    ms::StateEntry* entry = test.vm().state_registry().find("synth-cpu", instance);
    EXPECT_NE(entry, nullptr);
    EXPECT_TRUE(ms::save_entry(out, *entry));
    return out.take();
}

Result<void> load(TestVm& test, unsigned instance, std::span<const std::byte> bytes)
{
    system::MachineGuard guard(test.vm().lock());
    ms::StreamReader in(bytes);
    return ms::load_entry(in, *test.vm().state_registry().find("synth-cpu", instance), 1);
}

class SynthPatterns : public testing::TestWithParam<const char*> {};

TEST_P(SynthPatterns, EveryPageIsRightWheneverItIsPaused)
{
    TestVm test(3, 4 << 20);
    ASSERT_TRUE(test.start_accelerator("synth-accel", {{"pattern", GetParam()}, {"reads", "20"}}));
    for (int round = 0; round < 20; ++round) {
        run_for(test, 137);
        const CheckResult result = check_all(test);
        ASSERT_EQ(result.pages, 1024u);
        ASSERT_EQ(result.wrong, 0u);
    }
    for (unsigned i = 0; i < 3; ++i) {
        EXPECT_EQ(vcpu_of(test, i).wrong_reads(), 0u);
        EXPECT_GT(vcpu_of(test, i).writes(), 0u);
    }
}

INSTANTIATE_TEST_SUITE_P(All, SynthPatterns, testing::Values("sequential", "uniform", "hot-cold"));

TEST(Synth, ASingleWrongBitIsFoundAtItsAddress)
{
    TestVm test(2, 1 << 20);
    ASSERT_TRUE(test.start_accelerator("synth-accel", {{"pattern", "uniform"}}));
    run_for(test, 200);
    for (std::uint64_t offset : {0ull, 4095ull, 524288ull, 1048575ull}) {
        test.memory()[offset] ^= std::byte{0x10};
        const CheckResult result = check_all(test);
        test.memory()[offset] ^= std::byte{0x10};
        ASSERT_EQ(result.wrong, 1u) << offset;
        const WrongPage& wrong = result.first.at(0);
        EXPECT_EQ(wrong.offset, offset & ~7ull);
        EXPECT_EQ(wrong.vcpu, offset < 524288 ? 0u : 1u);
        EXPECT_EQ(wrong.expected ^ wrong.found, std::uint64_t{0x10} << (8 * (offset % 8)));
        EXPECT_EQ(wrong.stale_by, 0u);
    }
    EXPECT_EQ(check_all(test).wrong, 0u);
}

TEST(Synth, APageThatLagsBehindIsCalledStale)
{
    TestVm test(1, 1 << 20);
    ASSERT_TRUE(test.start_accelerator("synth-accel", {{"pattern", "sequential"}}));
    run_for(test, 256);
    std::vector<std::byte> old(test.memory(), test.memory() + kPageBytes);
    run_for(test, 3 * 256);
    std::memcpy(test.memory(), old.data(), kPageBytes);
    const CheckResult result = check_all(test);
    ASSERT_EQ(result.wrong, 1u);
    EXPECT_EQ(result.first[0].offset, 0u);
    EXPECT_GE(result.first[0].stale_by, 3u);
}

TEST(Synth, PagesNeverWrittenMustBeZeroAndLoadersAreOverwritten)
{
    TestVm test(1, 1 << 20);
    std::memset(test.memory(), 0xff, 1 << 20);
    ASSERT_TRUE(test.start_accelerator(
        "synth-accel", {{"pattern", "sequential"}, {"start", "512K"}, {"working-set", "256K"}}));
    EXPECT_EQ(check_all(test).pages, 0u) << "it has not started";
    run_for(test, 1);
    EXPECT_EQ(check_all(test).wrong, 0u);
    EXPECT_EQ(check_all(test).pages, 64u);
    EXPECT_EQ(test.memory()[0], std::byte{0xff}) << "outside of the working set";
    EXPECT_EQ(test.memory()[(768 << 10)], std::byte{0xff});
}

TEST(Synth, ReadsFindAWrongPageByThemselves)
{
    TestVm test(1, 256 << 10);
    ASSERT_TRUE(test.start_accelerator("synth-accel", {{"reads", "100"}}));
    run_for(test, 100);
    EXPECT_EQ(vcpu_of(test, 0).wrong_reads(), 0u);
    test.memory()[5 * kPageBytes + 9] = std::byte{1};
    run_for(test, 64);
    EXPECT_GE(vcpu_of(test, 0).wrong_reads(), 1u);
    ASSERT_FALSE(test.log().lines().empty());
    EXPECT_THAT(test.log().lines()[0].message, testing::HasSubstr("0x5000"));
}

TEST(Synth, EveryWrittenPageIsMarkedDirty)
{
    TestVm test(2, 2 << 20);
    ASSERT_TRUE(test.start_accelerator("synth-accel"));
    run_for(test, 600);
    system::DirtyTracking tracking(test.vm().memory(), test.vm().ram());
    auto on = tracking.start(DirtyClient::Migration);
    ASSERT_TRUE(on);
    std::vector<std::byte> before(test.memory(), test.memory() + (2 << 20));
    for (int round = 0; round < 10; ++round) {
        run_for(test, 50);
        tracking.sync();
        std::vector<system::PageRun> runs;
        test.ram().dirty().bitmap(DirtyClient::Migration).take({0, 512}, runs);
        for (const system::PageRun& run : runs)
            std::memcpy(before.data() + run.first * kPageBytes,
                        test.memory() + run.first * kPageBytes, run.count * kPageBytes);
        ASSERT_EQ(std::memcmp(before.data(), test.memory(), before.size()), 0) << round;
    }
}

TEST(Synth, AGuestThatMovedGoesOnWithItsOwnWorkload)
{
    TestVm source(2, 1 << 20);
    TestVm destination(2, 1 << 20);
    ASSERT_TRUE(source.start_accelerator(
        "synth-accel", {{"pattern", "hot-cold"}, {"seed", "7"}, {"reads", "10"}}));
    ASSERT_TRUE(destination.start_accelerator("synth-accel", {{"pattern", "sequential"}}));
    destination.pause();
    for (int round = 0; round < 5; ++round) {
        run_for(source, 300);
        for (unsigned i = 0; i < 2; ++i) {
            auto loaded = load(destination, i, save(source, i));
            ASSERT_TRUE(loaded) << loaded.error().message();
        }
        std::memcpy(destination.memory(), source.memory(), 1 << 20);
        EXPECT_EQ(check_all(destination).pages, 256u);
        EXPECT_EQ(check_all(destination).wrong, 0u) << "paused, on the other side";
        run_for(destination, 300);
        EXPECT_EQ(check_all(destination).wrong, 0u) << "having gone on";
        for (unsigned i = 0; i < 2; ++i)
            ASSERT_TRUE(load(source, i, save(destination, i)));
        std::memcpy(source.memory(), destination.memory(), 1 << 20);
    }
    EXPECT_EQ(vcpu_of(destination, 0).spec().pattern, Pattern::HotCold);
    EXPECT_EQ(vcpu_of(destination, 0).wrong_reads(), 0u);
}

TEST(Synth, AStreamForAnotherMachineIsRefusedByName)
{
    TestVm source(2, 1 << 20);
    ASSERT_TRUE(source.start_accelerator("synth-accel"));
    run_for(source, 10);
    const std::vector<std::byte> bytes = save(source, 0);
    TestVm fewer(1, 1 << 20);
    ASSERT_TRUE(fewer.start_accelerator("synth-accel"));
    auto loaded = load(fewer, 0, bytes);
    ASSERT_FALSE(loaded);
    EXPECT_THAT(loaded.error().message(), testing::HasSubstr("vCPUs"));
    TestVm larger(2, 2 << 20);
    ASSERT_TRUE(larger.start_accelerator("synth-accel"));
    loaded = load(larger, 0, bytes);
    ASSERT_FALSE(loaded);
    EXPECT_THAT(loaded.error().message(), testing::HasSubstr("block_bytes"));
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        TestVm* same = &source;
        EXPECT_FALSE(load(*same, 0, std::span(bytes).first(length))) << length;
    }
    EXPECT_EQ(check_all(source).wrong, 0u) << "a refused stream changed nothing";
}

TEST(Synth, PauseAndResumeUnderLoadLoseNothing)
{
    TestVm test(4, 1 << 20);
    ASSERT_TRUE(test.start_accelerator("synth-accel", {{"reads", "30"}}));
    for (int i = 0; i < 300; ++i) {
        test.resume();
        if (i % 3 == 0)
            vcpu_of(test, static_cast<unsigned>(i) % 4)
                .set_throttle(static_cast<unsigned>(i) % 100);
        test.pause();
    }
    for (unsigned i = 0; i < 4; ++i)
        vcpu_of(test, i).set_throttle(0);
    run_for(test, 500);
    EXPECT_EQ(check_all(test).wrong, 0u);
    EXPECT_EQ(check_all(test).pages, 256u);
}

// The lock is free while the vCPUs are waited for: a reset, and a migration that takes its guest
// back.
TEST(Synth, WhoHasPausedTheVcpusHasThemPausedWhoeverElseResumesThem)
{
    TestVm test(2, 1 << 20);
    ASSERT_TRUE(test.start_accelerator("synth-accel"));
    system::Vm& vm = test.vm();
    const auto accesses = [&] { return vcpu_of(test, 0).accesses() + vcpu_of(test, 1).accesses(); };
    {
        const system::MachineGuard guard(vm.lock());
        ASSERT_TRUE(vm.run_state().start());
    }
    std::jthread other([&](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            {
                const system::MachineGuard guard(vm.lock());
                vm.resume_vcpus();
            }
            std::this_thread::yield();
        }
    });
    for (int i = 0; i < 100; ++i) {
        const system::MachineGuard guard(vm.lock());
        vm.pause_vcpus();
        const auto before = accesses();
        std::this_thread::yield();
        ASSERT_EQ(accesses(), before) << i;
        vm.resume_vcpus();
    }
}

TEST(Synth, ThrottledOrPausingItStopsAtOnceWhenAsked)
{
    TestVm test(1, 1 << 20);
    ASSERT_TRUE(test.start_accelerator("synth-accel",
                                       {{"burst", "1"}, {"pause", "3600000"}, {"rate", "1M"}}));
    vcpu_of(test, 0).set_throttle(99);
    for (int i = 0; i < 20; ++i) {
        test.resume();
        std::this_thread::yield();
        test.pause();  // would hang for an hour
    }
    SUCCEED();
}

TEST(Synth, ResetKeepsMemoryAndCounters)
{
    TestVm test(1, 1 << 20);
    ASSERT_TRUE(test.start_accelerator("synth-accel"));
    run_for(test, 300);
    {
        system::MachineGuard guard(test.vm().lock());
        test.vm().devices().reset_all(system::ResetKind::Cold);
    }
    EXPECT_EQ(check_all(test).wrong, 0u);
    run_for(test, 300);
    EXPECT_EQ(check_all(test).wrong, 0u);
}

std::string start_error(const TestVm::Properties& properties, unsigned cpus = 1)
{
    TestVm test(cpus, 1 << 20);
    auto started = test.start_accelerator("synth-accel", properties);
    return started ? "started" : started.error().message();
}

TEST(Synth, PropertiesThatCannotBeAreRefusedByName)
{
    using testing::HasSubstr;
    EXPECT_THAT(start_error({{"working-set", "2M"}}), HasSubstr("outside of RAM"));
    EXPECT_THAT(start_error({{"start", "1M"}}), HasSubstr("less than one page"));
    EXPECT_THAT(start_error({{"start", "2M"}}), HasSubstr("outside of RAM"));
    EXPECT_THAT(start_error({{"working-set", "5000"}}), HasSubstr("multiples of 4096"));
    EXPECT_THAT(start_error({{"working-set", "4K"}}, 2), HasSubstr("2 vCPUs"));
    EXPECT_THAT(start_error({{"pattern", "zigzag"}}), HasSubstr("zigzag"));
    EXPECT_THAT(start_error({{"hot-pages", "100"}}), HasSubstr("hot-pages"));
    EXPECT_THAT(start_error({{"block", "nope"}}), HasSubstr("'nope'"));
    EXPECT_THAT(start_error({{"burst", "5"}}), HasSubstr("burst and pause"));
    EXPECT_THAT(start_error({{"speed", "5"}}), HasSubstr("speed"));
    EXPECT_EQ(start_error({{"working-set", "64K"}, {"rate", "100M"}, {"block", "ram"}}), "started");
}

TEST(Accelerators, TcgIsKnownAndUnavailable)
{
    TestVm test;
    auto started = test.start_accelerator("tcg-accel");
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().code(), Errc::Unsupported);
}

TEST(Accelerators, QtestRunsNothingAndLeavesTheClockToTheClient)
{
    TestVm test(2);
    ASSERT_TRUE(test.start_accelerator("qtest-accel", {}, "qemu64"));
    EXPECT_TRUE(test.vm().clocks().client_driven());
    EXPECT_FALSE(test.vm().accelerator()->runs_guest_code());
    test.resume();
    test.pause();
    EXPECT_EQ(test.vm().vcpus()[1]->thread_id(), 0);
    EXPECT_FALSE(TestVm().start_accelerator("qtest-accel", {}, "nope"));
}

}  // namespace
}  // namespace godwit::accel::synth
