// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/cpu_vmstate.h"
#include "migration/stream/description.h"
#include "migration/stream/reader.h"
#include "migration/stream/writer.h"
#include "vmdesc_golden.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace godwit::accel::kvm {
namespace {

namespace ms = migration::stream;

struct Saved {
    std::vector<std::byte> bytes;
    std::string description;
};

template <class T>
Saved save(const ms::VMState& how, T& state)
{
    ms::StreamWriter out;
    ms::DescriptionWriter description;
    description.begin_object();
    EXPECT_TRUE(ms::save_state(out, how, &state, &description));
    description.end_object();
    return {out.take(), description.take()};
}

CpuState guest_with_paravirtual_msrs()
{
    CpuState cpu = reset_cpu_state(true, 15, 107, 1);
    cpu.async_pf_en = 1;
    cpu.pv_eoi_en = 1;
    cpu.steal_time = 1;
    cpu.tsc_adjust = 1;
    cpu.tsc_khz = 2299998;
    return cpu;
}

TEST(CpuVmState, IsDescribedByteForByteAsQemuDescribesIt)
{
    CpuState cpu = guest_with_paravirtual_msrs();
    CpuCommonState common;
    ApicState apic;
    KvmClockState clock;
    TprOptState tpr;
    EXPECT_EQ(save(cpu_vmstate(), cpu).description, golden::kCpu);
    EXPECT_EQ(save(cpu_common_vmstate(), common).description, golden::kCpuCommon);
    EXPECT_EQ(save(apic_vmstate(), apic).description, golden::kApic);
    EXPECT_EQ(save(kvmclock_vmstate(), clock).description, golden::kKvmClock);
    EXPECT_EQ(save(tpr_opt_vmstate(), tpr).description, golden::kTprOpt);
}

TEST(CpuVmState, HasTheSizesOfTheFormat)
{
    CpuState cpu = reset_cpu_state(true, 15, 107, 1);
    EXPECT_EQ(save(cpu_vmstate(), cpu).bytes.size(), 1817u);
    cpu.tsc_khz = 1;
    EXPECT_EQ(save(cpu_vmstate(), cpu).bytes.size(), 1842u);
    CpuCommonState common;
    EXPECT_EQ(save(cpu_common_vmstate(), common).bytes.size(), 8u);
    ApicState apic;
    EXPECT_EQ(save(apic_vmstate(), apic).bytes.size(), 181u);
    KvmClockState clock;
    EXPECT_EQ(save(kvmclock_vmstate(), clock).bytes.size(), 41u);
    TprOptState tpr;
    EXPECT_EQ(save(tpr_opt_vmstate(), tpr).bytes.size(), 144u);
}

TEST(CpuVmState, EveryRegisterComesBack)
{
    CpuState cpu = guest_with_paravirtual_msrs();
    for (unsigned i = 0; i < 16; ++i) {
        cpu.regs[i] = 0x1000 + i;
        cpu.zmm[i].q = {i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7};
        cpu.zmm[16 + i].q[7] = i;
    }
    cpu.fpregs[3] = {0x8000000000000000, 0x3fff};
    cpu.segs[kSs].limit = 77;
    cpu.pkru = 0x55555554;
    cpu.hv_stimer_count = {1, 2, 3, 4};
    cpu.pdptrs_valid = 1;
    cpu.pdptrs = {9, 8, 7, 6};
    cpu.gp_evtsel[17] = 5;
    cpu.exception_nr = 13;
    cpu.triple_fault = 1;
    const Saved first = save(cpu_vmstate(), cpu);
    CpuState loaded;
    ms::StreamReader in(first.bytes);
    auto result = ms::load_state(in, cpu_vmstate(), &loaded, 12);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_EQ(loaded.regs, cpu.regs);
    EXPECT_EQ(loaded.zmm[31].q, cpu.zmm[31].q);
    EXPECT_EQ(loaded.pdptrs_valid, 1u);
    EXPECT_EQ(save(cpu_vmstate(), loaded).bytes, first.bytes);
}

TEST(CpuVmState, Version11EndsBeforeXcr0)
{
    CpuState cpu = reset_cpu_state(true, 15, 107, 1);
    Saved saved = save(cpu_vmstate(), cpu);
    saved.bytes.resize(1545);
    CpuState loaded;
    ms::StreamReader in(saved.bytes);
    auto result = ms::load_state(in, cpu_vmstate(), &loaded, 11);
    EXPECT_TRUE(result) << result.error().message();
    EXPECT_EQ(loaded.xcr0, 1u);
}

TEST(CpuVmState, TruncatedAnywhereIsAnErrorNotACrash)
{
    CpuState cpu = guest_with_paravirtual_msrs();
    const Saved saved = save(cpu_vmstate(), cpu);
    for (std::size_t length = 0; length < 1817; length += 1) {
        CpuState loaded;
        ms::StreamReader in(std::span(saved.bytes).first(length));
        EXPECT_FALSE(ms::load_state(in, cpu_vmstate(), &loaded, 12)) << length;
    }
}

TEST(CpuVmState, IllegalEventNumbersAreRefusedByName)
{
    CpuState cpu = reset_cpu_state(true, 15, 107, 1);
    const auto message = [&](auto change) {
        CpuState bad = cpu;
        change(bad);
        const Saved saved = save(cpu_vmstate(), bad);
        CpuState loaded;
        ms::StreamReader in(saved.bytes);
        auto result = ms::load_state(in, cpu_vmstate(), &loaded, 12);
        return result ? std::string("accepted") : result.error().message();
    };
    using testing::HasSubstr;
    EXPECT_THAT(message([](CpuState& s) { s.mp_state = 77; }), HasSubstr("mp_state"));
    EXPECT_THAT(message([](CpuState& s) { s.interrupt_injected = 256; }),
                HasSubstr("interrupt_injected"));
    EXPECT_THAT(message([](CpuState& s) { s.exception_nr = -2; }), HasSubstr("exception_nr"));
    EXPECT_THAT(message([](CpuState& s) { s.fpregs_format = 1; }), HasSubstr("fpregs_format"));
    EXPECT_EQ(message([](CpuState&) {}), "accepted");
}

}  // namespace
}  // namespace godwit::accel::kvm
