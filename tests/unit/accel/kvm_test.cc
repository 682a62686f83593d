// SPDX-License-Identifier: LGPL-2.1-or-later
#include "kvm_guest.h"

#include "migration/stream/reader.h"
#include "migration/stream/registry.h"
#include "migration/stream/writer.h"
#include "system/dirty_tracking.h"
#include "util/event_fd.h"

#include <algorithm>
#include <atomic>
#include <gmock/gmock.h>
#include <set>
#include <sys/mman.h>
#include <thread>

namespace godwit::accel::kvm {
namespace {

namespace ms = migration::stream;
using system::DirtyClient;

TEST(Kvm, AMissingDeviceIsNamedClearly)
{
    auto system = KvmSystem::open("/nonexistent/kvm");
    ASSERT_FALSE(system);
    EXPECT_EQ(system.error().message(),
              "Could not access KVM kernel module: No such file or directory");
    EXPECT_THAT(system.error().hint(), testing::HasSubstr("/nonexistent/kvm"));
    EXPECT_FALSE(KvmSystem::open("/dev/null"));
}

TEST(Kvm, RunsCodeThatWritesMemoryAndAPort)
{
    GW_NEEDS_KVM();
    KvmGuest guest({0xc7, 0x06, 0x00, 0x20, 0x34, 0x12,  // mov word [0x2000], 0x1234
                    0xb0, 0x5a,                          // mov al, 0x5a
                    0xe6, 0x80,                          // out 0x80, al
                    0xf4, 0xeb, 0xfd});                  // hlt; jmp
    guest.run_until(1);
    EXPECT_EQ(guest.ports.last, 0x5au);
    EXPECT_EQ(guest.memory()[0x2000], std::byte{0x34});
    EXPECT_EQ(guest.memory()[0x2001], std::byte{0x12});
    EXPECT_GE(guest.registers().eip, 0x100au) << "the OUT is complete";
    EXPECT_THAT(guest.cpu().describe_registers(), testing::HasSubstr("EAX=0000"));
}

TEST(Kvm, AReadThatAsksForAPauseIsCompletedBeforeAnybodyLooks)
{
    GW_NEEDS_KVM();
    KvmGuest guest({0xe4, 0x81,                      // in al, 0x81
                    0xa2, 0x00, 0x20,                // mov [0x2000], al
                    0xe6, 0x80, 0xf4, 0xeb, 0xfd});  // out 0x80, al; hlt
    std::atomic<bool> asked = false;
    guest.ports.on_read = [&] {
        guest.cpu().request_pause();
        asked = true;
        return 0x77;
    };
    guest.resume();
    while (!asked)  // before that it may still stand from the start
        std::this_thread::yield();
    guest.cpu().wait_paused();
    const CpuState state = guest.registers();
    EXPECT_EQ(state.regs[0] & 0xff, 0x77u);
    EXPECT_EQ(state.eip, 0x1002u);
    EXPECT_EQ(guest.memory()[0x2000], std::byte{0}) << "nothing ran after it asked";
    guest.run_until(1);
    EXPECT_EQ(guest.memory()[0x2000], std::byte{0x77});
}

TEST(Kvm, StringOutputReachesThePortByteByByte)
{
    GW_NEEDS_KVM();
    KvmGuest guest({0xbe, 0x00, 0x20,    // mov si, 0x2000
                    0xba, 0x80, 0x00,    // mov dx, 0x80
                    0xb9, 0x05, 0x00,    // mov cx, 5
                    0xf3, 0x6e,          // rep outsb
                    0xf4, 0xeb, 0xfd});  // hlt
    std::string text;
    guest.ports.on_write = [&](std::uint64_t value) { text += static_cast<char>(value); };
    std::memcpy(guest.memory() + 0x2000, "hello", 5);
    guest.run_until(5);
    EXPECT_EQ(text, "hello");
}

/// Registers at 3 MiB above RAM.
class Mmio : public system::IoHandler {
public:
    std::uint64_t read(system::GuestAddr offset, unsigned size) override
    {
        return offset * 0x100 + size;
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override
    {
        log.emplace_back(offset, value, size);
    }
    std::vector<std::tuple<std::uint64_t, std::uint64_t, unsigned>> log;
};

TEST(Kvm, MemoryMappedRegistersAreReadAndWritten)
{
    GW_NEEDS_KVM();
    Mmio mmio;
    KvmGuest guest({0x66, 0xbb, 0x00, 0x00, 0x00, 0x02,  // mov ebx, 0x2000000
                    0x67, 0x66, 0x8b, 0x43, 0x04,        // mov eax, [ebx+4]
                    0x67, 0x66, 0x89, 0x43, 0x08,        // mov [ebx+8], eax
                    0x67, 0x88, 0x43, 0x03,              // mov [ebx+3], al
                    0xe6, 0x80, 0xf4, 0xeb, 0xfd});
    {
        system::MachineGuard guard(guest.vm().lock());
        guest.vm().memory().add({.name = "mmio", .start = 0x2000000, .size = 0x1000, .io = &mmio});
    }
    guest.run_until(1);
    ASSERT_EQ(mmio.log.size(), 2u);
    EXPECT_EQ(mmio.log[0], std::tuple(8u, 0x404u, 4u));
    EXPECT_EQ(mmio.log[1], std::tuple(3u, 0x04u, 1u));
}

TEST(Kvm, RomIsReadInPlaceAndNotWritten)
{
    GW_NEEDS_KVM();
    KvmGuest guest({0x66, 0xbb, 0x00, 0x00, 0x00, 0x03,  // mov ebx, 0x3000000
                    0x67, 0xc6, 0x03, 0x99,              // mov byte [ebx], 0x99
                    0x67, 0x8a, 0x03,                    // mov al, [ebx]
                    0xe6, 0x80, 0xf4, 0xeb, 0xfd});
    system::RamBlock* rom = nullptr;
    {
        system::MachineGuard guard(guest.vm().lock());
        rom = *guest.vm().ram().create({.id = "rom", .used_length = 4096});
        rom->host()[0] = std::byte{0x42};
        guest.vm().memory().add({.name = "rom",
                                 .start = 0x3000000,
                                 .size = 4096,
                                 .kind = system::RegionKind::Rom,
                                 .block = rom});
    }
    guest.run_until(1);
    EXPECT_EQ(guest.ports.last, 0x42u);
    EXPECT_EQ(rom->host()[0], std::byte{0x42});
}

TEST(Kvm, ATripleFaultResetsTheMachine)
{
    GW_NEEDS_KVM();
    KvmGuest guest({0x0f, 0x0b});  // ud2
    guest.place_protected(0x1000);
    CpuState state;
    ApicState apic;
    ASSERT_TRUE(guest.cpu().fetch(state, apic));
    state.idt.limit = 0;
    ASSERT_TRUE(guest.cpu().store(state, apic));
    guest.resume();
    while (!guest.events().has("RESET"))
        guest.vm().loop().run_once(true);
    guest.pause();
    EXPECT_EQ(guest.registers().eip, 0xfff0u);
    EXPECT_EQ(guest.registers().segs[kCs].base, 0xffff0000u);
}

TEST(Kvm, PauseAndKickUnderLoadKeepTheCount)
{
    GW_NEEDS_KVM();
    // inc dword [0x2000]; mov eax, [0x2000]; out 0x80, eax; jmp
    KvmGuest guest(
        {0x66, 0xff, 0x06, 0x00, 0x20, 0x66, 0xa1, 0x00, 0x20, 0x66, 0xe7, 0x80, 0xeb, 0xf3});
    std::uint64_t expected = 0;
    bool in_order = true;
    guest.ports.on_write = [&](std::uint64_t value) { in_order &= value == ++expected; };
    for (int i = 0; i < 200; ++i) {
        const std::uint64_t before = guest.ports.writes;
        guest.resume();
        guest.cpu().kick();
        while (i % 10 == 0 && guest.ports.writes == before)
            std::this_thread::yield();
        guest.pause();
        std::uint32_t count;
        std::memcpy(&count, guest.memory() + 0x2000, 4);
        ASSERT_TRUE(count == guest.ports.writes || count == guest.ports.writes + 1) << i;
    }
    EXPECT_TRUE(in_order);
}

TEST(Kvm, TheMemoryMapChangesUnderARunningGuest)
{
    GW_NEEDS_KVM();
    // Adds 1 to [0x200000] and compares with a register; port 0x80 gets 1 when they differ, else 0.
    KvmGuest guest({0x66, 0xbb, 0x00, 0x00, 0x20, 0x00,  // mov ebx, 0x200000
                    0x66, 0x31, 0xc9,                    // xor ecx, ecx
                    0x67, 0x66, 0xff, 0x03,              // inc dword [ebx]
                    0x66, 0x41,                          // inc ecx
                    0x67, 0x66, 0x3b, 0x0b,              // cmp ecx, [ebx]
                    0x0f, 0x95, 0xc0,                    // setne al
                    0xe6, 0x80,                          // out 0x80, al
                    0xeb, 0xef});                        // jmp inc
    std::atomic<unsigned> wrong{0};
    guest.ports.on_write = [&](std::uint64_t value) { wrong += value != 0; };
    Mmio hole;
    guest.resume();
    for (int i = 0; i < 100; ++i) {
        const std::uint64_t before = guest.ports.writes;
        system::RegionId id = 0;
        {
            system::MachineGuard guard(guest.vm().lock());
            id = guest.vm().memory().add(
                {.name = "hole", .start = 0x400000, .size = 0x1000, .priority = 1, .io = &hole});
        }
        while (guest.ports.writes == before)
            std::this_thread::yield();
        system::MachineGuard guard(guest.vm().lock());
        guest.vm().memory().remove(id);
    }
    guest.pause();
    EXPECT_EQ(wrong, 0u);
}

double seconds(clockid_t clock)
{
    timespec now{};
    EXPECT_EQ(::clock_gettime(clock, &now), 0);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

double processor_time(const KvmVcpu& cpu)
{
    return seconds((~static_cast<clockid_t>(cpu.thread_id()) << 3) | 6);
}

TEST(Kvm, AThrottledGuestStaysMostlyOutOfTheProcessor)
{
    GW_NEEDS_KVM();
    KvmGuest guest({0xeb, 0xfe});  // jmp $
    guest.cpu().set_throttle(90);
    guest.resume();
    const double begin = seconds(CLOCK_MONOTONIC);
    const double before = processor_time(guest.cpu());
    double wall = 0;
    while (processor_time(guest.cpu()) < before + 0.05) {  // five slices
        wall = seconds(CLOCK_MONOTONIC) - begin;
        ASSERT_LT(wall, 30);
        std::this_thread::yield();
    }
    guest.pause();
    EXPECT_GT(wall, 0.15) << "50 ms of guest at a tenth of the speed";
}

TEST(Kvm, AThrottledGuestIsPausedWithoutWaitingForTheEndOfItsRest)
{
    GW_NEEDS_KVM();
    constexpr int kPauses = 5;
    KvmGuest guest({0xeb, 0xfe});  // jmp $
    guest.cpu().set_throttle(99);  // 10 ms of guest, 990 ms of rest
    double paused = 0;
    for (int i = 0; i < kPauses; ++i) {
        guest.resume();
        const double before = processor_time(guest.cpu());
        const double begin = seconds(CLOCK_MONOTONIC);
        while (processor_time(guest.cpu()) < before + 0.009) {
            ASSERT_LT(seconds(CLOCK_MONOTONIC) - begin, 30);
            std::this_thread::yield();
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));  // into the rest
        const double asked = seconds(CLOCK_MONOTONIC);
        guest.pause();
        paused += seconds(CLOCK_MONOTONIC) - asked;
    }
    EXPECT_LT(paused, kPauses * 0.5);
}

/// Writes a dword to each page in [ebx, ebx + 4096 * step * cx), then to port 0x80, then again from
/// the new values of the registers.
constexpr std::initializer_list<std::uint8_t> kPageWriter = {0x67, 0x66, 0xff,
                                                             0x03,  // next: inc dword [ebx]
                                                             0x66, 0x01, 0xd3,  // add ebx, edx
                                                             0xe2, 0xf7,        // loop next
                                                             0xe6, 0x80,        // out 0x80, al
                                                             0xeb, 0xfc};  // jmp $-2: keeps telling

void start_page_writer(KvmGuest& guest, std::uint32_t first, std::uint32_t step,
                       std::uint32_t pages)
{
    CpuState state;
    ApicState apic;
    ASSERT_TRUE(guest.cpu().fetch(state, apic));
    state.eip = 0x1000;
    state.regs[3] = first * 4096;
    state.regs[2] = step * 4096;
    state.regs[1] = pages;
    ASSERT_TRUE(guest.cpu().store(state, apic));
    guest.run_until(guest.ports.writes + 1);
}

std::set<std::uint64_t> taken_pages(KvmGuest& guest)
{
    system::DirtyTracking tracking(guest.vm().memory(), guest.vm().ram());
    tracking.sync();
    std::vector<system::PageRun> runs;
    guest.ram().dirty().bitmap(DirtyClient::Migration).take({0, guest.ram().page_count()}, runs);
    std::set<std::uint64_t> pages;
    for (const system::PageRun& run : runs) {
        tracking.clear(guest.ram(), run);
        for (std::uint64_t i = 0; i < run.count; ++i)
            pages.insert(run.first + i);
    }
    return pages;
}

class KvmDirtyLog : public testing::TestWithParam<const char*> {};

TEST_P(KvmDirtyLog, ReportsExactlyThePagesTheGuestWrote)
{
    GW_NEEDS_KVM();
    KvmGuest guest(kPageWriter, {{"dirty-ring-size", GetParam()}});
    // Touches them before logging. In a chunk where nothing was, the first write to a page may
    // bring its whole huge page with it.
    start_page_writer(guest, 512, 1, 3000);
    system::DirtyTracking tracking(guest.vm().memory(), guest.vm().ram());
    auto on = tracking.start(DirtyClient::Migration);
    ASSERT_TRUE(on) << on.error().message();
    // Until a piece was re-armed once, all that is populated in it counts as written.
    tracking.sync();
    tracking.clear(guest.ram(), {0, guest.ram().page_count()});
    (void)taken_pages(guest);
    EXPECT_EQ(taken_pages(guest), std::set<std::uint64_t>{});
    std::uint32_t first = 300;
    for (const auto& [step, pages] :
         {std::pair(1u, 70u), std::pair(3u, 200u), std::pair(64u, 40u), std::pair(1u, 3000u)}) {
        start_page_writer(guest, first, step, pages);
        std::set<std::uint64_t> expected;
        for (std::uint32_t i = 0; i < pages; ++i)
            expected.insert(first + i * step);
        const std::set<std::uint64_t> found = taken_pages(guest);
        ASSERT_EQ(found.size(), expected.size()) << "step " << step;
        ASSERT_EQ(found, expected) << "step " << step;
        ++first;
    }
    on->reset();
    start_page_writer(guest, 300, 1, 50);
    EXPECT_FALSE(guest.ram().dirty().bitmap(DirtyClient::Migration).test(300));
}

TEST_P(KvmDirtyLog, SeesAPageThatAppearsBetweenTheFirstSyncAndTheFirstArming)
{
    GW_NEEDS_KVM();
    KvmGuest guest(kPageWriter, {{"dirty-ring-size", GetParam()}});
    // A huge page would bring the neighbours along.
    ASSERT_EQ(madvise(guest.memory(), guest.ram().used_length(), MADV_NOHUGEPAGE), 0);
    start_page_writer(guest, 512, 1, 4);
    system::DirtyTracking tracking(guest.vm().memory(), guest.vm().ram());
    auto on = tracking.start(DirtyClient::Migration);
    ASSERT_TRUE(on) << on.error().message();
    tracking.sync();
    start_page_writer(guest, 700, 1, 1);
    tracking.clear(guest.ram(), {0, guest.ram().page_count()});
    EXPECT_TRUE(taken_pages(guest).contains(700));
}

TEST_P(KvmDirtyLog, LosesNothingOfAGuestThatNeverStops)
{
    GW_NEEDS_KVM();
    // Endlessly: each page of [2 MiB, 8 MiB) gets a counter, then port 0x80.
    KvmGuest guest({0x66, 0x40,                                // again: inc eax
                    0x66, 0xbb, 0x00, 0x00, 0x20, 0x00,        // mov ebx, 0x200000
                    0xb9, 0x00, 0x06,                          // mov cx, 1536
                    0x67, 0x66, 0x89, 0x03,                    // next: mov [ebx], eax
                    0x66, 0x81, 0xc3, 0x00, 0x10, 0x00, 0x00,  // add ebx, 4096
                    0xe2, 0xf3,                                // loop next
                    0xe6, 0x80,                                // out 0x80, al
                    0xeb, 0xe4},                               // jmp again
                   {{"dirty-ring-size", GetParam()}});
    system::DirtyTracking tracking(guest.vm().memory(), guest.vm().ram());
    auto on = tracking.start(DirtyClient::Migration);
    ASSERT_TRUE(on) << on.error().message();
    std::vector<std::byte> copy(guest.memory(), guest.memory() + guest.ram().used_length());
    const auto bring = [&] {
        for (std::uint64_t page : taken_pages(guest))
            std::memcpy(copy.data() + page * 4096, guest.memory() + page * 4096, 4096);
    };
    for (int stop = 0; stop < 10; ++stop) {
        guest.resume();
        const std::uint64_t goal = guest.ports.writes + 5;
        while (guest.ports.writes < goal)
            bring();
        guest.pause();
        bring();
        ASSERT_EQ(std::memcmp(copy.data(), guest.memory(), copy.size()), 0) << stop;
    }
}

INSTANTIATE_TEST_SUITE_P(BitmapAndRing, KvmDirtyLog, testing::Values("0", "4096", "65536"));

TEST(Kvm, DirtyRingSizesThatCannotBeAreRefused)
{
    GW_NEEDS_KVM();
    const auto error = [](const char* size) {
        TestVm test;
        auto started = test.start_accelerator("kvm-accel", {{"dirty-ring-size", size}});
        return started ? std::string("started") : started.error().message();
    };
    EXPECT_THAT(error("3"), testing::HasSubstr("dirty-ring-size must be a power of two."));
    EXPECT_THAT(error("1000000"), testing::HasSubstr("power of two"));
    EXPECT_THAT(error("1073741824"), testing::HasSubstr("too big"));
    EXPECT_EQ(error("1024"), "started");
}

TEST(Kvm, OtherIrqchipModesAreRefusedClearly)
{
    GW_NEEDS_KVM();
    const auto error = [](const char* mode) {
        TestVm test;
        auto started = test.start_accelerator("kvm-accel", {{"kernel-irqchip", mode}});
        return started ? std::string("started") : started.error().message();
    };
    EXPECT_EQ(error("off"), "KVM does not support userspace APIC");
    EXPECT_THAT(error("split"), testing::HasSubstr("split is not supported"));
    EXPECT_THAT(error("bad"), testing::HasSubstr("bad"));
    EXPECT_EQ(error("on"), "started");
}

std::vector<std::byte> save(system::Vm& vm, std::string_view section)
{
    system::MachineGuard guard(vm.lock());
    ms::StreamWriter out;
    auto saved = ms::save_entry(out, *vm.state_registry().find(section, 0));
    EXPECT_TRUE(saved) << saved.error().message();
    return out.take();
}

Result<void> load(system::Vm& vm, std::string_view section, std::span<const std::byte> bytes)
{
    system::MachineGuard guard(vm.lock());
    ms::StateEntry* entry = vm.state_registry().find(section, 0);
    ms::StreamReader in(bytes);
    return ms::load_entry(in, *entry, entry->version);
}

constexpr std::string_view kSections[] = {"cpu_common", "cpu", "kvm-tpr-opt", "apic", "kvmclock"};

TEST(Kvm, AGuestGoesOnInAnotherVm)
{
    GW_NEEDS_KVM();
    // again: inc ecx; mov [0x2000], ecx; out 0x80, al; jmp again
    const std::initializer_list<std::uint8_t> code = {0x66, 0x41, 0x66, 0x89, 0x0e, 0x00,
                                                      0x20, 0xe6, 0x80, 0xeb, 0xf5};
    KvmGuest source(code);
    CpuState floating;
    ApicState apic;
    ASSERT_TRUE(source.cpu().fetch(floating, apic));
    floating.fpregs[1] = {0xc90fdaa22168c235, 0x4000};
    floating.fptag = 2;
    floating.fpus = 0x3800;
    floating.zmm[3].q[0] = 0x12345678;
    floating.xstate_bv = 3;
    ASSERT_TRUE(source.cpu().store(floating, apic));
    source.run_until(1000);
    const CpuState before = source.registers();
    KvmGuest destination({0xf4});
    std::memcpy(destination.memory(), source.memory(), source.ram().used_length());
    for (std::string_view section : kSections) {
        auto loaded = load(destination.vm(), section, save(source.vm(), section));
        ASSERT_TRUE(loaded) << section << ": " << loaded.error().message();
    }
    const CpuState after = destination.registers();
    EXPECT_EQ(after.regs, before.regs);
    EXPECT_EQ(after.eip, before.eip);
    EXPECT_EQ(after.eflags, before.eflags);
    EXPECT_EQ(after.fpus, before.fpus);
    EXPECT_EQ(after.fptag, before.fptag);
    EXPECT_EQ(after.fpregs[1].mantissa, 0xc90fdaa22168c235);
    EXPECT_EQ(after.zmm[3].q[0], 0x12345678u);
    EXPECT_EQ(after.segs[kDs].limit, before.segs[kDs].limit);
    EXPECT_EQ(after.hflags, before.hflags);
    for (std::string_view section : {"cpu_common", "kvm-tpr-opt"})
        EXPECT_EQ(save(destination.vm(), section), save(source.vm(), section)) << section;
    // From now on only the destination counts, from where the source stood.
    std::uint64_t first = 0;
    destination.ports.on_write = [&](std::uint64_t) {
        if (first == 0)
            std::memcpy(&first, destination.memory() + 0x2000, 4);
    };
    destination.run_until(10);
    EXPECT_GE(first, 1000u);
    std::uint32_t stood = 0;
    std::memcpy(&stood, source.memory() + 0x2000, 4);
    EXPECT_LE(first, stood + 1u);
}

TEST(Kvm, EveryRegisterSurvivesStoreAndFetch)
{
    GW_NEEDS_KVM();
    KvmGuest guest({0xf4});
    CpuState state;
    ApicState apic;
    ASSERT_TRUE(guest.cpu().fetch(state, apic));
    for (unsigned i = 0; i < 16; ++i)
        state.regs[i] = 0x1111111111111111u * i;
    state.fpregs[2] = {0xc000000000000000, 0x4000};
    state.fptag = 4;
    state.mxcsr = 0x1fa0;
    state.xstate_bv = 3;
    for (unsigned i = 0; i < 16; ++i)
        state.zmm[i].q[0] = i + 1;
    state.dr[0] = 0x4711;
    state.cr2 = 0xabcd;
    state.lstar = 0xffffffff80000000;
    state.star = 0x0023001000000000;
    state.kernelgsbase = 0x1234;
    state.sysenter_eip = 0x5678;
    state.mtrr_deftype = 0xc06;
    state.mtrr_var[1] = {0xe0000000 | 6, 0xfffff0000800};
    state.mtrr_fixed[4] = 0x0606060606060606;
    state.pat = 0x0007010600070106;
    state.mce_banks[0] = ~0ull;
    state.tsc_adjust = 99;
    state.nmi_pending = 1;
    apic.tpr = 0x50;
    apic.lvt[0] = 0x10030;
    apic.spurious_vec = 0x1ff;
    apic.irr[2] = 0x80;
    auto stored = guest.cpu().store(state, apic);
    ASSERT_TRUE(stored) << stored.error().message();
    CpuState back;
    ApicState apic_back;
    ASSERT_TRUE(guest.cpu().fetch(back, apic_back));
    EXPECT_EQ(back.regs, state.regs);
    EXPECT_EQ(back.fpregs[2].exponent, 0x4000);
    EXPECT_EQ(back.fptag, 4);
    EXPECT_EQ(back.mxcsr, 0x1fa0u);
    EXPECT_EQ(back.zmm[15].q[0], 16u);
    EXPECT_EQ(back.dr[0], 0x4711u);
    EXPECT_EQ(back.cr2, 0xabcdu);
    EXPECT_EQ(back.lstar, state.lstar);
    EXPECT_EQ(back.star, state.star);
    EXPECT_EQ(back.kernelgsbase, 0x1234u);
    EXPECT_EQ(back.sysenter_eip, 0x5678u);
    EXPECT_EQ(back.mtrr_deftype, 0xc06u);
    EXPECT_EQ(back.mtrr_var[1].base, state.mtrr_var[1].base);
    EXPECT_EQ(back.mtrr_fixed[4], state.mtrr_fixed[4]);
    EXPECT_EQ(back.pat, state.pat);
    EXPECT_EQ(back.tsc_adjust, 99u);
    EXPECT_EQ(back.nmi_pending, 1);
    EXPECT_EQ(apic_back.tpr, 0x50);
    EXPECT_EQ(apic_back.lvt[0], 0x10030u);
    EXPECT_EQ(apic_back.spurious_vec, 0x1ffu);
    EXPECT_EQ(apic_back.irr[2], 0x80u);
}

TEST(Kvm, ValuesTheKernelRefusesAreErrorsThatNameThem)
{
    GW_NEEDS_KVM();
    KvmGuest guest({0xf4});
    CpuState good;
    ApicState apic;
    ASSERT_TRUE(guest.cpu().fetch(good, apic));
    const auto message = [&](auto change) {
        CpuState bad = good;
        change(bad);
        auto stored = guest.cpu().store(bad, apic);
        return stored ? std::string("accepted") : stored.error().message();
    };
    using testing::AllOf;
    using testing::HasSubstr;
    EXPECT_EQ(message([](CpuState&) {}), "accepted");
    EXPECT_THAT(message([](CpuState& s) { s.xcr0 = 0; }), HasSubstr("xcr0 0x0"));
    EXPECT_THAT(message([](CpuState& s) { s.cr4 = 1ull << 50; }), HasSubstr("cr4 0x4000000000000"));
    EXPECT_THAT(message([](CpuState& s) { s.mxcsr = 0xffffffff, s.xstate_bv = 3; }),
                HasSubstr("mxcsr 0xffffffff"));
    EXPECT_THAT(message([](CpuState& s) { s.lstar = 0x8000000000000000; }),
                AllOf(HasSubstr("MSR 0xc0000082"), HasSubstr("0x8000000000000000")));
    EXPECT_THAT(message([](CpuState& s) { s.mtrr_deftype = ~0ull; }), HasSubstr("MSR 0x2ff"));
    EXPECT_THAT(message([](CpuState& s) { s.mcg_cap = 200; }), HasSubstr("mcg_cap"));
    EXPECT_THAT(message([](CpuState& s) { s.dr[7] = ~0ull; }), HasSubstr("dr7"));
    EXPECT_THAT(message([](CpuState& s) { s.hv_hypercall = 1; }), HasSubstr("hyperv"));
    EXPECT_EQ(message([](CpuState&) {}), "accepted");
}

TEST(Kvm, ABadSectionIsAnErrorOfTheLoad)
{
    GW_NEEDS_KVM();
    KvmGuest guest({0xf4});
    std::vector<std::byte> bytes = save(guest.vm(), "cpu");
    bytes[1545 + 7] = std::byte{0};  // xcr0
    auto loaded = load(guest.vm(), "cpu", bytes);
    ASSERT_FALSE(loaded);
    EXPECT_THAT(loaded.error().message(), testing::HasSubstr("xcr0"));
}

TEST(Kvm, KernelInterruptControllersKeepTheirState)
{
    GW_NEEDS_KVM();
    KvmGuest guest({0xf4});
    system::KernelIrqchip* chip = guest.vm().accelerator()->irqchip();
    ASSERT_NE(chip, nullptr);
    std::array<std::byte, 512> state{};
    using Chip = system::KernelIrqchip::Chip;
    for (Chip which : {Chip::PicMaster, Chip::PicSlave, Chip::Ioapic}) {
        ASSERT_TRUE(chip->get(which, state));
        ASSERT_TRUE(chip->set(which, state));
    }
    EXPECT_TRUE(chip->has_pit());
    std::array<std::byte, sizeof(kvm_pit_state2)> pit{};
    ASSERT_TRUE(chip->get_pit(pit));
    ASSERT_TRUE(chip->set_pit(pit));
    chip->set_gsi(4, 1);
    ASSERT_TRUE(chip->get(Chip::PicMaster, state));
    EXPECT_EQ(state[1] & std::byte{0x10}, std::byte{0x10}) << "IRQ 4 is requested";
    chip->set_gsi(4, 0);
    auto event = EventFd::create();
    ASSERT_TRUE(event);
    auto route = chip->add_irqfd(event->poll_fd(), 0xfee00000, 0x41);
    ASSERT_TRUE(route) << route.error().message();
    auto again = chip->add_irqfd(event->poll_fd(), 0xfee00000, 0x42);
    EXPECT_FALSE(again) << "one eventfd, one route";
    route->reset();
    EXPECT_TRUE(chip->add_irqfd(event->poll_fd(), 0xfee00000, 0x43));
}

/// Puts `code` at 0x1110, where interrupt `vector` leads from now on.
void set_handler(KvmGuest& guest, unsigned vector, std::initializer_list<std::uint8_t> code)
{
    std::memcpy(guest.memory() + 0x1110, code.begin(), code.size());
    const std::uint16_t leads_to[] = {0x1110, 0};
    std::memcpy(guest.memory() + vector * 4, leads_to, 4);
    CpuState state;
    ApicState apic;
    ASSERT_TRUE(guest.cpu().fetch(state, apic));
    state.idt = {0, 0, 0x3ff, 0};
    ASSERT_TRUE(guest.cpu().store(state, apic));
}

TEST(Kvm, AnInterruptAndAnNmiReachTheGuest)
{
    GW_NEEDS_KVM();
    // sti; hlt; jmp hlt. Interrupt 0x20+: handler at 0x1100 writes 1 and irets; NMI at 0x1110
    // writes 2.
    KvmGuest guest({0xfb, 0xf4, 0xeb, 0xfd});
    const std::initializer_list<std::uint8_t> nmi = {0xb0, 0x02, 0xe6, 0x80, 0xcf};
    ASSERT_NO_FATAL_FAILURE(set_handler(guest, 2, nmi));
    guest.resume();
    ASSERT_TRUE(guest.cpu().inject_nmi());
    while (guest.ports.writes == 0)
        std::this_thread::yield();
    guest.pause();
    EXPECT_EQ(guest.ports.last, 2u);
}

TEST(Kvm, ALevelFromAnEventfdStaysUntilTheGuestEndsTheInterrupt)
{
    GW_NEEDS_KVM();
    // The 8259: vectors from 0x20, interrupt 5 alone, level triggered; then sti; hlt; jmp hlt.
    KvmGuest guest({0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x04,
                    0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xdf, 0xe6, 0x21,  // ICW1-4, mask
                    0xba, 0xd0, 0x04, 0xb0, 0x20, 0xee,                          // ELCR
                    0xb0, 0x05, 0xe6, 0x80, 0xfb, 0xf4, 0xeb, 0xfd});
    // Writes 1 and does not end it before port 0x81 was read; iret.
    const std::initializer_list<std::uint8_t> handler = {0xb0, 0x01, 0xe6, 0x80, 0xe4, 0x81,
                                                         0xb0, 0x20, 0xe6, 0x20, 0xcf};
    ASSERT_NO_FATAL_FAILURE(set_handler(guest, 0x25, handler));
    system::KernelIrqchip* chip = guest.vm().accelerator()->irqchip();
    auto event = EventFd::create();
    auto served = EventFd::create();
    ASSERT_TRUE(event && served);
    auto line = chip->add_level_irqfd(event->poll_fd(), 5, served->poll_fd());
    ASSERT_TRUE(line) << line.error().message();
    EXPECT_FALSE(chip->add_level_irqfd(event->poll_fd(), 24, served->poll_fd())) << "no wire";
    std::atomic<unsigned> early = 0;
    guest.ports.on_read = [&] {
        early += served->is_signalled() ? 1 : 0;
        return 0;
    };
    guest.resume();
    while (guest.ports.writes == 0)
        std::this_thread::yield();
    for (unsigned n = 1; n <= 3; ++n) {
        event->signal();
        ASSERT_TRUE(served->wait(30'000)) << "the guest did not end the interrupt";
        served->drain();
        EXPECT_EQ(guest.ports.writes, 1 + n) << "once, for the level went with its end";
    }
    EXPECT_EQ(early, 0u) << "told before the guest had served it";
    line->reset();
    event->signal();
    guest.pause();
    EXPECT_EQ(guest.ports.writes, 4u);
}

TEST(Kvm, AddressesGoThroughTheTablesOfTheCpu)
{
    GW_NEEDS_KVM();
    KvmGuest guest({0xe6, 0x80,                          // out 0x80, al
                    0x66, 0xb8, 0x00, 0x40, 0x00, 0x00,  // mov eax, 0x4000
                    0x0f, 0x22, 0xd8,                    // mov cr3, eax
                    0x0f, 0x20, 0xc0,                    // mov eax, cr0
                    0x66, 0x0d, 0x00, 0x00, 0x00, 0x80,  // or eax, 0x80000000
                    0x0f, 0x22, 0xc0,                    // mov cr0, eax
                    0xe6, 0x80, 0xeb, 0xfc});            // out 0x80, al for ever
    const auto put32 = [&](std::size_t at, std::uint32_t value) {
        std::memcpy(guest.memory() + at, &value, sizeof value);
    };
    put32(0x4000, 0x5003);
    put32(0x5004, 0x1003);  // its own code
    put32(0x500c, 0x7003);
    const auto translate = [&](std::uint64_t address) {
        system::MachineGuard guard(guest.vm().lock());
        return guest.cpu().translate(address);
    };
    EXPECT_EQ(translate(0x3abc).value_or(0), 0x3abcu) << "no paging, no change";
    guest.run_until(10);
    if ((guest.registers().cr0 >> 31 & 1) == 0)
        GTEST_SKIP() << "this KVM ignores paging";
    EXPECT_EQ(translate(0x3abc).value_or(0), 0x7abcu);
    EXPECT_FALSE(translate(0x4abc));
}

TEST(Kvm, SecondVcpusWaitForTheirStartup)
{
    GW_NEEDS_KVM();
    KvmGuest guest({0xe6, 0x80, 0xeb, 0xfc}, {}, 2);
    guest.run_until(100);
    EXPECT_EQ(guest.registers(1).mp_state, 1u);
    EXPECT_NE(guest.cpu(0).thread_id(), guest.cpu(1).thread_id());
    for (int i = 0; i < 50; ++i) {
        guest.resume();
        guest.pause();
    }
}

}  // namespace
}  // namespace godwit::accel::kvm
