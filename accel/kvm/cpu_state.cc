// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Registers after power-on: Intel SDM volume 3, "Processor State After Reset"; the APIC's LINT0 as
// firmware finds it on a PC.
#include "accel/kvm/cpu_state.h"

#include "accel/kvm/cpuid.h"

namespace godwit::accel::kvm {
namespace {

constexpr std::uint32_t kPresent = 1u << 15;
constexpr std::uint32_t kCodeOrData = 1u << 12;
constexpr std::uint32_t kAccessed = 1u << 8;
constexpr std::uint32_t kWritable = 1u << 9;
constexpr std::uint32_t kCode = 1u << 11;

}  // namespace

CpuState reset_cpu_state(bool bootstrap, unsigned family, unsigned model, unsigned stepping)
{
    CpuState cpu;
    const std::uint32_t data = kPresent | kCodeOrData | kWritable | kAccessed;
    for (Segment& segment : cpu.segs)
        segment = {0, 0, 0xffff, data};
    cpu.segs[kCs] = {0xf000, 0xffff0000, 0xffff, data | kCode};
    cpu.ldt = {0, 0, 0xffff, kPresent | 2u << 8};
    cpu.tr = {0, 0, 0xffff, kPresent | 11u << 8};
    cpu.gdt.limit = 0xffff;
    cpu.idt.limit = 0xffff;
    cpu.regs[2] = cpuid_signature(family, model, stepping);  // RDX
    cpu.mp_state = bootstrap ? 0 : 1;
    cpu.tsc = 0;
    cpu.mcg_ctl = ~std::uint64_t{0};
    return cpu;
}

ApicState reset_apic_state(bool bootstrap, std::uint8_t apic_id)
{
    ApicState apic;
    apic.apicbase = 0xfee00800 | (bootstrap ? 0x100 : 0);
    apic.id = apic_id;
    apic.lvt.fill(0x10000);
    if (bootstrap)
        apic.lvt[3] = 0x700;  // LINT0: the 8259s are wired through
    return apic;
}

}  // namespace godwit::accel::kvm
