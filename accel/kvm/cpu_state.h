// SPDX-License-Identifier: LGPL-2.1-or-later
//
// All registers of an x86 vCPU as one plain value, laid out as QEMU's `cpu`, `cpu_common` and
// `apic` sections carry them. KVM's structures are turned into it and back by cpu_registers.h.
#pragma once

#include <array>
#include <cstdint>

namespace godwit::accel::kvm {

struct Segment {
    std::uint32_t selector = 0;
    std::uint64_t base = 0;
    std::uint32_t limit = 0;
    std::uint32_t flags = 0;  ///< high descriptor word without base and limit
};

struct FpReg {
    std::uint64_t mantissa = 0;
    std::uint16_t exponent = 0;  ///< with the sign
};

struct ZmmReg {
    std::array<std::uint64_t, 8> q{};  ///< lowest bits first: 0-1 XMM, 0-3 YMM
};

struct MtrrVar {
    std::uint64_t base = 0;
    std::uint64_t mask = 0;
};

struct BoundsReg {
    std::uint64_t lower = 0;
    std::uint64_t upper = 0;
};

struct LbrRecord {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    std::uint64_t info = 0;
};

/// Numbers of segs[].
enum SegmentIndex : unsigned { kEs, kCs, kSs, kDs, kFs, kGs };

/// Section `cpu`, version 12, with the values after power-on where they are not zero.
struct CpuState {
    std::array<std::uint64_t, 16> regs{};  ///< RAX RCX RDX RBX RSP RBP RSI RDI R8...R15
    std::uint64_t eip = 0xfff0;
    std::uint64_t eflags = 2;
    std::uint32_t hflags = 0;
    std::uint16_t fpuc = 0x37f;
    std::uint16_t fpus = 0;
    std::uint16_t fptag = 0;  ///< bit n: physical register n is in use
    std::uint16_t fpregs_format = 0;
    std::array<FpReg, 8> fpregs{};
    std::array<Segment, 6> segs{};
    Segment ldt, tr, gdt, idt;
    std::uint32_t sysenter_cs = 0;
    std::uint64_t sysenter_esp = 0;
    std::uint64_t sysenter_eip = 0;
    std::uint64_t cr0 = 0x60000010;
    std::uint64_t cr2 = 0;
    std::uint64_t cr3 = 0;
    std::uint64_t cr4 = 0;
    std::array<std::uint64_t, 8> dr{0, 0, 0, 0, 0, 0, 0xffff0ff0, 0x400};
    std::int32_t a20_mask = -1;
    std::uint32_t mxcsr = 0x1f80;
    std::array<ZmmReg, 32> zmm{};
    std::uint64_t efer = 0;
    std::uint64_t star = 0;
    std::uint64_t lstar = 0;
    std::uint64_t cstar = 0;
    std::uint64_t fmask = 0;
    std::uint64_t kernelgsbase = 0;
    std::uint32_t smbase = 0x30000;
    std::uint64_t pat = 0x0007040600070406;
    std::uint32_t hflags2 = 1;
    std::uint64_t vm_hsave = 0;
    std::array<std::uint64_t, 3> svm_words{};  ///< emulated SVM: nothing under KVM
    std::array<std::uint16_t, 4> svm_intercepts{};
    std::uint32_t intercept_exceptions = 0;
    std::uint8_t v_tpr = 0;
    std::array<std::uint64_t, 11> mtrr_fixed{};
    std::uint64_t mtrr_deftype = 0;
    std::array<MtrrVar, 8> mtrr_var{};
    std::int32_t interrupt_injected = -1;
    std::uint32_t mp_state = 0;
    std::uint64_t tsc = 0;
    std::int32_t exception_nr = -1;
    std::uint8_t soft_interrupt = 0;
    std::uint8_t nmi_injected = 0;
    std::uint8_t nmi_pending = 0;
    std::uint8_t has_error_code = 0;
    std::uint32_t sipi_vector = 0;
    std::uint64_t mcg_cap = 0;
    std::uint64_t mcg_status = 0;
    std::uint64_t mcg_ctl = 0;
    std::array<std::uint64_t, 40> mce_banks{};
    std::uint64_t tsc_aux = 0;
    std::uint64_t system_time_msr = 0;
    std::uint64_t wall_clock_msr = 0;
    std::uint64_t xcr0 = 1;
    std::uint64_t xstate_bv = 0;

    // Subsections.
    std::uint8_t exception_pending = 0;
    std::uint8_t exception_injected = 0;
    std::uint8_t exception_has_payload = 0;
    std::uint64_t exception_payload = 0;
    std::uint64_t async_pf_en = 0;
    std::uint64_t async_pf_int = 0;
    std::uint64_t pv_eoi_en = 0;
    std::uint64_t steal_time = 0;
    std::uint64_t poll_control = 1;
    std::uint16_t fpop = 0;
    std::uint64_t fpip = 0;
    std::uint64_t fpdp = 0;
    std::uint64_t tsc_adjust = 0;
    std::uint64_t tsc_deadline = 0;
    std::uint64_t misc_enable = 1;
    std::uint64_t feature_control = 0;
    std::uint64_t fixed_ctr_ctrl = 0;
    std::uint64_t global_ctrl = 0;
    std::uint64_t global_status = 0;
    std::uint64_t global_ovf_ctrl = 0;
    std::array<std::uint64_t, 3> fixed_counters{};
    std::array<std::uint64_t, 18> gp_counters{};
    std::array<std::uint64_t, 18> gp_evtsel{};
    std::array<BoundsReg, 4> bnd_regs{};
    std::uint64_t bnd_cfgu = 0;
    std::uint64_t bnd_sts = 0;
    std::uint64_t bndcfgs = 0;
    std::uint64_t hv_guest_os_id = 0;
    std::uint64_t hv_hypercall = 0;
    std::uint64_t hv_vapic = 0;
    std::uint64_t hv_tsc = 0;
    std::array<std::uint64_t, 5> hv_crash{};
    std::uint64_t hv_runtime = 0;
    std::uint64_t hv_synic_control = 0;
    std::uint64_t hv_synic_event_page = 0;
    std::uint64_t hv_synic_message_page = 0;
    std::array<std::uint64_t, 16> hv_synic_sint{};
    std::array<std::uint64_t, 4> hv_stimer_config{};
    std::array<std::uint64_t, 4> hv_stimer_count{};
    std::array<std::uint64_t, 3> hv_reenlightenment{};
    std::array<std::uint64_t, 8> opmask{};
    std::uint64_t xss = 0;
    std::uint32_t umwait = 0;
    std::int64_t tsc_khz = 0;
    std::uint64_t smi_count = 0;
    std::uint32_t pkru = 0;
    std::uint32_t pkrs = 0;
    std::uint64_t spec_ctrl = 0;
    std::uint64_t amd_tsc_scale = 0;
    std::uint64_t mcg_ext_ctl = 0;
    std::array<std::uint64_t, 5> pt{};  ///< ctl, status, output base, output mask, cr3 match
    std::array<std::uint64_t, 8> pt_addrs{};
    std::uint64_t virt_ssbd = 0;
    std::uint64_t nested_cr3 = 0;
    std::uint32_t nested_pg_mode = 0;
    std::uint32_t svm_int_ctl = 0;
    std::uint32_t tsx_ctrl = 0;
    std::array<std::uint64_t, 4> sgx_hash{};
    std::uint64_t pdptrs_valid = 0;  ///< not in the stream: the subsection's presence says it
    std::array<std::uint64_t, 4> pdptrs{};
    std::uint64_t xfd = 0;
    std::uint64_t xfd_err = 0;
    std::uint64_t hwcr = 0;
    std::array<std::uint64_t, 9> fred{};  ///< rsp0-3, stklvls, ssp1-3, config
    std::array<std::uint8_t, 64> xtile_config{};
    std::array<std::uint8_t, 8192> xtile_data{};
    std::uint64_t lbr_ctl = 0;
    std::uint64_t lbr_depth = 0;
    std::array<LbrRecord, 32> lbr{};
    std::uint8_t triple_fault = 0;

    // Which feature-dependent subsections are written; set from CPUID, not in the stream.
    bool has_tsx_ctrl = false;
    bool has_sgx_lc = false;
    bool has_xfd = false;
    bool has_fred = false;
    bool has_amx = false;
    bool has_lbr = false;
    bool has_tsc_scale = false;
};

/// Section `cpu_common`.
struct CpuCommonState {
    std::uint32_t halted = 0;
    std::uint32_t interrupt_request = 0;
};

/// Section `apic`, version 3.
struct ApicState {
    std::uint32_t apicbase = 0;
    std::uint8_t id = 0;
    std::uint8_t arb_id = 0;
    std::uint8_t tpr = 0;
    std::uint32_t spurious_vec = 0xff;
    std::uint8_t log_dest = 0;
    std::uint8_t dest_mode = 0xf;
    std::array<std::uint32_t, 8> isr{};
    std::array<std::uint32_t, 8> tmr{};
    std::array<std::uint32_t, 8> irr{};
    std::array<std::uint32_t, 6> lvt{};
    std::uint32_t esr = 0;
    std::array<std::uint32_t, 2> icr{};
    std::uint32_t divide_conf = 0;
    std::int32_t count_shift = 1;
    std::uint32_t initial_count = 0;
    std::int64_t initial_count_load_time = 0;
    std::int64_t next_time = 0;
    std::int64_t timer_expiry = -1;
    std::int32_t sipi_vector = 0;
    std::int32_t wait_for_sipi = 0;
};

/// After power-on or reset. The bootstrap processor runs, the others wait for INIT and SIPI.
CpuState reset_cpu_state(bool bootstrap, unsigned family, unsigned model, unsigned stepping);
ApicState reset_apic_state(bool bootstrap, std::uint8_t apic_id);

}  // namespace godwit::accel::kvm
