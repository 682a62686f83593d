// SPDX-License-Identifier: LGPL-2.1-or-later
//
// General, control and debug registers, and events in delivery. XSAVE: cpu_extended.cc; MSRs:
// cpu_msrs.cc; local APIC: apic_registers.cc.
#include "accel/kvm/cpu_registers.h"

#include "accel/kvm/cpuid.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::accel::kvm {
namespace {

constexpr std::uint64_t kCr0Pe = 1;
constexpr std::uint64_t kEflagsVm = 1 << 17;
constexpr std::uint64_t kEferLma = 1 << 10;
constexpr std::uint32_t kDpl = 3u << 13;

/// hflags and hflags2 that are more than a summary.
constexpr std::uint32_t kInhibitIrq = 1u << 3;
constexpr std::uint32_t kSmm = 1u << 19;
constexpr std::uint32_t kGif = 1u << 0;
constexpr std::uint32_t kNmiMasked = 1u << 2;
constexpr std::uint32_t kSmmInsideNmi = 1u << 4;

Segment from_kvm(const kvm_segment& in)
{
    Segment out{in.selector, in.base, in.limit, 0};
    if (!in.unusable)
        out.flags = std::uint32_t{in.type} << 8 | std::uint32_t{in.s} << 12 |
                    std::uint32_t{in.dpl} << 13 | std::uint32_t{in.present} << 15 |
                    std::uint32_t{in.avl} << 20 | std::uint32_t{in.l} << 21 |
                    std::uint32_t{in.db} << 22 | std::uint32_t{in.g} << 23;
    return out;
}

kvm_segment to_kvm(const Segment& in)
{
    kvm_segment out{};
    out.selector = static_cast<std::uint16_t>(in.selector);
    out.base = in.base;
    out.limit = in.limit;
    out.type = in.flags >> 8 & 0xf;
    out.s = in.flags >> 12 & 1;
    out.dpl = in.flags >> 13 & 3;
    out.present = in.flags >> 15 & 1;
    out.avl = in.flags >> 20 & 1;
    out.l = in.flags >> 21 & 1;
    out.db = in.flags >> 22 & 1;
    out.g = in.flags >> 23 & 1;
    out.unusable = !out.present;
    return out;
}

/// What virtual-8086 mode makes of a segment, whatever its descriptor said.
kvm_segment to_kvm_virtual8086(const Segment& in)
{
    kvm_segment out{};
    out.selector = static_cast<std::uint16_t>(in.selector);
    out.base = in.base;
    out.limit = in.limit;
    out.type = 3;
    out.present = 1;
    out.dpl = 3;
    out.s = 1;
    return out;
}

}  // namespace

std::uint32_t mode_flags(const CpuState& s) noexcept
{
    std::uint32_t flags = s.hflags & (kInhibitIrq | kSmm | 1u << 20 | 1u << 21);
    flags |= s.segs[kSs].flags >> 13 & 3;
    flags |= (s.cr0 & kCr0Pe) << 7;
    flags |= static_cast<std::uint32_t>(s.cr0 & 0xe) << 8;    // MP, EM, TS
    flags |= static_cast<std::uint32_t>(s.eflags & 0x23100);  // VM, IOPL, TF
    flags |= (s.cr4 & 1 << 9) != 0 ? 1u << 22 : 0;            // OSFXSR
    if ((s.efer & kEferLma) != 0)
        flags |= 1u << 14;
    if ((flags & 1u << 14) != 0 && (s.segs[kCs].flags & 1u << 21) != 0)
        return flags | 1u << 4 | 1u << 5 | 1u << 15;  // 64-bit code
    flags |= (s.segs[kCs].flags >> 22 & 1) << 4 | (s.segs[kSs].flags >> 22 & 1) << 5;
    const bool flat = s.segs[kDs].base == 0 && s.segs[kEs].base == 0 && s.segs[kSs].base == 0;
    if ((s.cr0 & kCr0Pe) == 0 || (s.eflags & kEflagsVm) != 0 || (flags & 1u << 4) == 0 || !flat)
        flags |= 1u << 6;
    return flags;
}

Result<CpuRegisters> CpuRegisters::create(const KvmMachine& machine, const KvmFd& vcpu,
                                          const CpuDefinition& cpu)
{
    CpuRegisters registers(machine, vcpu);
    registers.has_apic_ = machine.has_irqchip() && has_feature(cpu.features, "apic");
    registers.has_mtrr_ = has_feature(cpu.features, "mtrr");
    registers.has_xfd_ = has_feature(cpu.features, "xfd");
    registers.has_amx_ = has_feature(cpu.features, "amx-tile");
    if (cpu.phys_bits > 0 && cpu.phys_bits < 52)
        registers.mtrr_top_bits_ = (std::uint64_t{1} << 52) - (std::uint64_t{1} << cpu.phys_bits);
    const int khz = vcpu.raw(KVM_GET_TSC_KHZ);
    registers.tsc_khz_ = khz > 0 ? khz : 0;
    if (has_feature(cpu.features, "mce") && has_feature(cpu.features, "mca") && cpu.family >= 6) {
        std::uint64_t capability = 0;
        const int most = machine.extension(KVM_CAP_MCE);
        if (most >= 10 && vcpu.raw(KVM_X86_GET_MCE_CAP_SUPPORTED, &capability) < 0 &&
            machine.system().fd().raw(KVM_X86_GET_MCE_CAP_SUPPORTED, &capability) < 0)
            capability = 0;
        capability = (capability & 0x1000100) | 10;  // MCG_CTL, software recovery, ten banks
        if (most >= 10 && vcpu.raw(KVM_X86_SETUP_MCE, &capability) >= 0) {
            registers.mce_banks_ = 10;
            registers.mcg_cap_ = capability;
        }
    }
    GW_TRY(registers.probe_msrs());
    registers.has_tsx_ctrl_ = registers.usable(0x122) && has_feature(cpu.features, "tsx-ctrl");
    return registers;
}

Result<void> CpuRegisters::fetch_general(CpuState& state) const
{
    kvm_regs r{};
    GW_TRY(GW_KVM(*vcpu_, KVM_GET_REGS, &r));
    state.regs = {r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi,
                  r.r8,  r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15};
    state.eip = r.rip;
    state.eflags = r.rflags;
    ApicState unused;
    return fetch_segments(state, unused);
}

Result<void> CpuRegisters::fetch_segments(CpuState& state, ApicState& apic) const
{
    kvm_sregs s{};
    GW_TRY(GW_KVM(*vcpu_, KVM_GET_SREGS, &s));
    state.segs = {from_kvm(s.es), from_kvm(s.cs), from_kvm(s.ss),
                  from_kvm(s.ds), from_kvm(s.fs), from_kvm(s.gs)};
    state.ldt = from_kvm(s.ldt);
    state.tr = from_kvm(s.tr);
    state.gdt = {0, s.gdt.base, s.gdt.limit, 0};
    state.idt = {0, s.idt.base, s.idt.limit, 0};
    state.cr0 = s.cr0;
    state.cr2 = s.cr2;
    state.cr3 = s.cr3;
    state.cr4 = s.cr4;
    state.efer = s.efer;
    apic.apicbase = static_cast<std::uint32_t>(s.apic_base);
    state.pdptrs_valid = 0;
    if (machine_->has_sregs2()) {
        kvm_sregs2 s2{};
        GW_TRY(GW_KVM(*vcpu_, KVM_GET_SREGS2, &s2));
        if ((s2.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) != 0) {
            state.pdptrs_valid = 1;
            std::copy(std::begin(s2.pdptrs), std::end(s2.pdptrs), state.pdptrs.begin());
        }
    }
    return {};
}

Result<void> CpuRegisters::store_general(const CpuState& state) const
{
    kvm_regs r{};
    const auto& g = state.regs;
    r.rax = g[0], r.rcx = g[1], r.rdx = g[2], r.rbx = g[3];
    r.rsp = g[4], r.rbp = g[5], r.rsi = g[6], r.rdi = g[7];
    r.r8 = g[8], r.r9 = g[9], r.r10 = g[10], r.r11 = g[11];
    r.r12 = g[12], r.r13 = g[13], r.r14 = g[14], r.r15 = g[15];
    r.rip = state.eip;
    r.rflags = state.eflags;
    return checked(GW_KVM(*vcpu_, KVM_SET_REGS, &r),
                   fmt::format("general registers (rip {:#x}, rflags {:#x})", r.rip, r.rflags));
}

Result<void> CpuRegisters::store_segments(const CpuState& state, const ApicState& apic) const
{
    kvm_sregs s{};
    const bool virtual8086 = (state.eflags & kEflagsVm) != 0;
    // A real-mode guest has no privilege levels; a processor may still have left some behind.
    const bool strip = (state.cr0 & kCr0Pe) == 0 && (state.segs[kCs].flags & kDpl) != 0;
    const auto segment = [&](unsigned i) {
        Segment seg = state.segs[i];
        if (strip)
            seg.flags &= ~kDpl;
        return virtual8086 ? to_kvm_virtual8086(seg) : to_kvm(seg);
    };
    s.es = segment(kEs), s.cs = segment(kCs), s.ss = segment(kSs);
    s.ds = segment(kDs), s.fs = segment(kFs), s.gs = segment(kGs);
    s.ldt = to_kvm(state.ldt);
    s.tr = to_kvm(state.tr);
    s.gdt.base = state.gdt.base, s.gdt.limit = static_cast<std::uint16_t>(state.gdt.limit);
    s.idt.base = state.idt.base, s.idt.limit = static_cast<std::uint16_t>(state.idt.limit);
    s.cr0 = state.cr0, s.cr2 = state.cr2, s.cr3 = state.cr3, s.cr4 = state.cr4;
    s.cr8 = apic.tpr >> 4;
    s.efer = state.efer;
    s.apic_base = apic.apicbase;
    if (state.interrupt_injected >= 0)
        s.interrupt_bitmap[state.interrupt_injected / 64] |= std::uint64_t{1}
                                                             << (state.interrupt_injected % 64);
    const std::string what = fmt::format(
        "special registers (cr0 {:#x}, cr3 {:#x}, cr4 {:#x}, efer {:#x}, apicbase {:#x})", s.cr0,
        s.cr3, s.cr4, s.efer, s.apic_base);
    GW_TRY(with_context(GW_KVM(*vcpu_, KVM_SET_SREGS, &s), what));
    if (state.pdptrs_valid == 0 || !machine_->has_sregs2())
        return {};
    kvm_sregs2 s2{};
    GW_TRY(GW_KVM(*vcpu_, KVM_GET_SREGS2, &s2));
    s2.flags |= KVM_SREGS2_FLAGS_PDPTRS_VALID;
    std::copy(state.pdptrs.begin(), state.pdptrs.end(), std::begin(s2.pdptrs));
    GW_TRY(with_context(GW_KVM(*vcpu_, KVM_SET_SREGS2, &s2),
                        fmt::format("pdptrs (first {:#x})", state.pdptrs[0])));
    return {};
}

Result<void> CpuRegisters::fetch_events(CpuState& state) const
{
    kvm_vcpu_events e{};
    GW_TRY(GW_KVM(*vcpu_, KVM_GET_VCPU_EVENTS, &e));
    const bool exception = e.exception.injected != 0 || e.exception.pending != 0;
    state.exception_nr = exception ? e.exception.nr : -1;
    state.exception_injected = e.exception.injected;
    state.exception_pending = e.exception.pending;
    state.exception_has_payload = e.exception_has_payload;
    state.exception_payload = e.exception_payload;
    state.has_error_code = e.exception.has_error_code;
    state.interrupt_injected = e.interrupt.injected != 0 ? e.interrupt.nr : -1;
    state.soft_interrupt = e.interrupt.soft;
    state.nmi_injected = e.nmi.injected;
    state.nmi_pending = e.nmi.pending;
    state.sipi_vector = e.sipi_vector;
    state.hflags2 = kGif | (e.nmi.masked != 0 ? kNmiMasked : 0) |
                    (e.smi.smm_inside_nmi != 0 ? kSmmInsideNmi : 0);
    state.hflags = (e.interrupt.shadow != 0 ? kInhibitIrq : 0) | (e.smi.smm != 0 ? kSmm : 0);
    state.triple_fault =
        machine_->triple_fault_event() ? static_cast<std::uint8_t>(e.triple_fault.pending) : 0;
    kvm_mp_state mp{};
    GW_TRY(GW_KVM(*vcpu_, KVM_GET_MP_STATE, &mp));
    state.mp_state = mp.mp_state;
    return {};
}

Result<void> CpuRegisters::store_events(const CpuState& state) const
{
    kvm_vcpu_events e{};
    if (state.exception_nr >= 0) {
        const bool pending = machine_->exception_payload() && state.exception_pending != 0;
        e.exception.injected = !pending;
        e.exception.pending = pending;
        e.exception.nr = static_cast<std::uint8_t>(state.exception_nr);
        e.exception.has_error_code = state.has_error_code;
        e.exception_has_payload = pending ? state.exception_has_payload : 0;
        e.exception_payload = state.exception_payload;
    }
    if (state.interrupt_injected >= 0) {
        e.interrupt.injected = 1;
        e.interrupt.nr = static_cast<std::uint8_t>(state.interrupt_injected);
        e.interrupt.soft = state.soft_interrupt;
    }
    e.interrupt.shadow = (state.hflags & kInhibitIrq) != 0;
    e.nmi.injected = state.nmi_injected;
    e.nmi.pending = state.nmi_pending;
    e.nmi.masked = (state.hflags2 & kNmiMasked) != 0;
    e.sipi_vector = state.sipi_vector;
    e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR;
    if (machine_->extension(KVM_CAP_INTR_SHADOW) != 0)
        e.flags |= KVM_VCPUEVENT_VALID_SHADOW;
    if (machine_->exception_payload())
        e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
    if (machine_->extension(KVM_CAP_X86_SMM) != 0) {
        e.smi.smm = (state.hflags & kSmm) != 0;
        e.smi.smm_inside_nmi = (state.hflags2 & kSmmInsideNmi) != 0;
        e.flags |= KVM_VCPUEVENT_VALID_SMM;
    }
    if (machine_->triple_fault_event()) {
        e.triple_fault.pending = state.triple_fault;
        e.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
    }
    GW_TRY(with_context(GW_KVM(*vcpu_, KVM_SET_VCPU_EVENTS, &e),
                        fmt::format("events (exception {}, interrupt {})", state.exception_nr,
                                    state.interrupt_injected)));
    kvm_mp_state mp{.mp_state = state.mp_state};
    return checked(GW_KVM(*vcpu_, KVM_SET_MP_STATE, &mp),
                   fmt::format("mp_state {}", state.mp_state));
}

Result<void> CpuRegisters::fetch_debug(CpuState& state) const
{
    kvm_debugregs d{};
    GW_TRY(GW_KVM(*vcpu_, KVM_GET_DEBUGREGS, &d));
    state.dr = {d.db[0], d.db[1], d.db[2], d.db[3], d.dr6, d.dr7, d.dr6, d.dr7};
    return {};
}

Result<void> CpuRegisters::store_debug(const CpuState& state) const
{
    kvm_debugregs d{};
    std::copy_n(state.dr.begin(), 4, std::begin(d.db));
    d.dr6 = state.dr[6];
    d.dr7 = state.dr[7];
    return checked(GW_KVM(*vcpu_, KVM_SET_DEBUGREGS, &d),
                   fmt::format("debug registers (dr6 {:#x}, dr7 {:#x})", d.dr6, d.dr7));
}

Result<void> CpuRegisters::fetch(CpuState& state, ApicState& apic) const
{
    GW_TRY(fetch_events(state));  // first: asking may settle an instruction that is half done
    GW_TRY(fetch_general(state));
    GW_TRY(fetch_segments(state, apic));
    GW_TRY(fetch_extended(state));
    GW_TRY(fetch_msrs(state));
    GW_TRY(fetch_debug(state));
    if (has_apic_)
        GW_TRY(fetch_apic(apic));
    state.hflags = mode_flags(state);
    state.tsc_khz = tsc_khz_;
    state.mcg_cap = mcg_cap_;
    state.has_tsx_ctrl = has_tsx_ctrl_;
    state.has_xfd = has_xfd_;
    state.has_amx = has_amx_;
    return {};
}

bool CpuRegisters::set_tsc_khz(std::int64_t khz)
{
    if (khz == 0 || tsc_khz_ == 0 || khz == tsc_khz_)
        return true;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an ioctl's argument
    void* const argument = reinterpret_cast<void*>(static_cast<std::uintptr_t>(khz));
    if (machine_->extension(KVM_CAP_TSC_CONTROL) <= 0 || vcpu_->raw(KVM_SET_TSC_KHZ, argument) < 0)
        return false;
    tsc_khz_ = khz;
    return true;
}

Result<void> CpuRegisters::store(const CpuState& state, const ApicState& apic) const
{
    GW_TRY(store_general(state));
    GW_TRY(store_segments(state, apic));
    GW_TRY(store_extended(state));
    GW_TRY(store_msrs(state));
    if (has_apic_)
        GW_TRY(store_apic(apic));
    if (usable(0x6e0))  // after the APIC timer's mode is known
        GW_TRY(store_one_msr(0x6e0, state.tsc_deadline));
    GW_TRY(store_events(state));
    return store_debug(state);
}

}  // namespace godwit::accel::kvm
