// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Self-descriptions that QEMU 10.0.2 wrote for a vCPU and what goes with it: microvm under KVM, a
// guest that had set the paravirtual MSRs. Recorded.
#pragma once

#include <string_view>

namespace godwit::accel::kvm::golden {

// clang-format off
inline constexpr std::string_view kCpuCommon =
    R"json({"vmsd_name": "cpu_common", "version": 1, "fields": [{"name": "halted", "type": "uint32", "size": 4})json"
    R"json(, {"name": "interrupt_request", "type": "uint32", "size": 4}]})json";
inline constexpr std::string_view kCpu =
    R"json({"vmsd_name": "cpu", "version": 12, "fields": [{"name": "env.regs", "array_len": 16, "type": "uint64)json"
    R"json(", "size": 8}, {"name": "env.eip", "type": "uint64", "size": 8}, {"name": "env.eflags", "type": "uin)json"
    R"json(t64", "size": 8}, {"name": "env.hflags", "type": "uint32", "size": 4}, {"name": "env.fpuc", "type": )json"
    R"json("uint16", "size": 2}, {"name": "env.fpus_vmstate", "type": "uint16", "size": 2}, {"name": "env.fptag)json"
    R"json(_vmstate", "type": "uint16", "size": 2}, {"name": "env.fpregs_format_vmstate", "type": "uint16", "si)json"
    R"json(ze": 2}, {"name": "env.fpregs", "array_len": 8, "type": "struct", "struct": {"vmsd_name": "fpreg", ")json"
    R"json(version": 0, "fields": [{"name": "tmp", "type": "tmp", "vmsd_name": "fpreg_tmp", "version": 0, "fiel)json"
    R"json(ds": [{"name": "tmp_mant", "type": "uint64", "size": 8}, {"name": "tmp_exp", "type": "uint16", "size)json"
    R"json(": 2}], "size": 10}]}, "size": 10}, {"name": "env.segs", "array_len": 6, "type": "struct", "struct":)json"
    R"json( {"vmsd_name": "segment", "version": 1, "fields": [{"name": "selector", "type": "uint32", "size": 4})json"
    R"json(, {"name": "base", "type": "uint64", "size": 8}, {"name": "limit", "type": "uint32", "size": 4}, {"n)json"
    R"json(ame": "flags", "type": "uint32", "size": 4}]}, "size": 20}, {"name": "env.ldt", "type": "struct", "s)json"
    R"json(truct": {"vmsd_name": "segment", "version": 1, "fields": [{"name": "selector", "type": "uint32", "si)json"
    R"json(ze": 4}, {"name": "base", "type": "uint64", "size": 8}, {"name": "limit", "type": "uint32", "size": )json"
    R"json(4}, {"name": "flags", "type": "uint32", "size": 4}]}, "size": 20}, {"name": "env.tr", "type": "struc)json"
    R"json(t", "struct": {"vmsd_name": "segment", "version": 1, "fields": [{"name": "selector", "type": "uint32)json"
    R"json(", "size": 4}, {"name": "base", "type": "uint64", "size": 8}, {"name": "limit", "type": "uint32", "s)json"
    R"json(ize": 4}, {"name": "flags", "type": "uint32", "size": 4}]}, "size": 20}, {"name": "env.gdt", "type":)json"
    R"json( "struct", "struct": {"vmsd_name": "segment", "version": 1, "fields": [{"name": "selector", "type": )json"
    R"json("uint32", "size": 4}, {"name": "base", "type": "uint64", "size": 8}, {"name": "limit", "type": "uint)json"
    R"json(32", "size": 4}, {"name": "flags", "type": "uint32", "size": 4}]}, "size": 20}, {"name": "env.idt", )json"
    R"json("type": "struct", "struct": {"vmsd_name": "segment", "version": 1, "fields": [{"name": "selector", ")json"
    R"json(type": "uint32", "size": 4}, {"name": "base", "type": "uint64", "size": 8}, {"name": "limit", "type")json"
    R"json(: "uint32", "size": 4}, {"name": "flags", "type": "uint32", "size": 4}]}, "size": 20}, {"name": "env)json"
    R"json(.sysenter_cs", "type": "uint32", "size": 4}, {"name": "env.sysenter_esp", "type": "uint64", "size": )json"
    R"json(8}, {"name": "env.sysenter_eip", "type": "uint64", "size": 8}, {"name": "env.cr[0]", "type": "uint64)json"
    R"json(", "size": 8}, {"name": "env.cr[2]", "type": "uint64", "size": 8}, {"name": "env.cr[3]", "type": "ui)json"
    R"json(nt64", "size": 8}, {"name": "env.cr[4]", "type": "uint64", "size": 8}, {"name": "env.dr", "array_len)json"
    R"json(": 8, "type": "uint64", "size": 8}, {"name": "env.a20_mask", "type": "int32", "size": 4}, {"name": ")json"
    R"json(env.mxcsr", "type": "uint32", "size": 4}, {"name": "env.xmm_regs[0]", "array_len": 16, "type": "stru)json"
    R"json(ct", "struct": {"vmsd_name": "xmm_reg", "version": 1, "fields": [{"name": "_q_ZMMReg[0]", "type": "u)json"
    R"json(int64", "size": 8}, {"name": "_q_ZMMReg[1]", "type": "uint64", "size": 8}]}, "size": 16}, {"name": ")json"
    R"json(env.efer", "type": "uint64", "size": 8}, {"name": "env.star", "type": "uint64", "size": 8}, {"name":)json"
    R"json( "env.lstar", "type": "uint64", "size": 8}, {"name": "env.cstar", "type": "uint64", "size": 8}, {"na)json"
    R"json(me": "env.fmask", "type": "uint64", "size": 8}, {"name": "env.kernelgsbase", "type": "uint64", "size)json"
    R"json(": 8}, {"name": "env.smbase", "type": "uint32", "size": 4}, {"name": "env.pat", "type": "uint64", "s)json"
    R"json(ize": 8}, {"name": "env.hflags2", "type": "uint32", "size": 4}, {"name": "env.vm_hsave", "type": "ui)json"
    R"json(nt64", "size": 8}, {"name": "env.vm_vmcb", "type": "uint64", "size": 8}, {"name": "env.tsc_offset", )json"
    R"json("type": "uint64", "size": 8}, {"name": "env.intercept", "type": "uint64", "size": 8}, {"name": "env.)json"
    R"json(intercept_cr_read", "type": "uint16", "size": 2}, {"name": "env.intercept_cr_write", "type": "uint16)json"
    R"json(", "size": 2}, {"name": "env.intercept_dr_read", "type": "uint16", "size": 2}, {"name": "env.interce)json"
    R"json(pt_dr_write", "type": "uint16", "size": 2}, {"name": "env.intercept_exceptions", "type": "uint32", ")json"
    R"json(size": 4}, {"name": "env.v_tpr", "type": "uint8", "size": 1}, {"name": "env.mtrr_fixed", "array_len")json"
    R"json(: 11, "type": "uint64", "size": 8}, {"name": "env.mtrr_deftype", "type": "uint64", "size": 8}, {"nam)json"
    R"json(e": "env.mtrr_var", "array_len": 8, "type": "struct", "struct": {"vmsd_name": "mtrr_var", "version":)json"
    R"json( 1, "fields": [{"name": "base", "type": "uint64", "size": 8}, {"name": "mask", "type": "uint64", "si)json"
    R"json(ze": 8}]}, "size": 16}, {"name": "env.interrupt_injected", "type": "int32", "size": 4}, {"name": "en)json"
    R"json(v.mp_state", "type": "uint32", "size": 4}, {"name": "env.tsc", "type": "uint64", "size": 8}, {"name")json"
    R"json(: "env.exception_nr", "type": "int32", "size": 4}, {"name": "env.soft_interrupt", "type": "uint8", ")json"
    R"json(size": 1}, {"name": "env.nmi_injected", "type": "uint8", "size": 1}, {"name": "env.nmi_pending", "ty)json"
    R"json(pe": "uint8", "size": 1}, {"name": "env.has_error_code", "type": "uint8", "size": 1}, {"name": "env.)json"
    R"json(sipi_vector", "type": "uint32", "size": 4}, {"name": "env.mcg_cap", "type": "uint64", "size": 8}, {")json"
    R"json(name": "env.mcg_status", "type": "uint64", "size": 8}, {"name": "env.mcg_ctl", "type": "uint64", "si)json"
    R"json(ze": 8}, {"name": "env.mce_banks", "array_len": 40, "type": "uint64", "size": 8}, {"name": "env.tsc_)json"
    R"json(aux", "type": "uint64", "size": 8}, {"name": "env.system_time_msr", "type": "uint64", "size": 8}, {")json"
    R"json(name": "env.wall_clock_msr", "type": "uint64", "size": 8}, {"name": "env.xcr0", "type": "uint64", "s)json"
    R"json(ize": 8}, {"name": "env.xstate_bv", "type": "uint64", "size": 8}, {"name": "env.xmm_regs[1]", "array)json"
    R"json(_len": 16, "type": "struct", "struct": {"vmsd_name": "ymmh_reg", "version": 1, "fields": [{"name": ")json"
    R"json(_q_ZMMReg[2]", "type": "uint64", "size": 8}, {"name": "_q_ZMMReg[3]", "type": "uint64", "size": 8}]})json"
    R"json(, "size": 16}], "subsections": [{"vmsd_name": "cpu/async_pf_msr", "version": 1, "fields": [{"name": )json"
    R"json("env.async_pf_en_msr", "type": "uint64", "size": 8}]}, {"vmsd_name": "cpu/async_pv_eoi_msr", "versio)json"
    R"json(n": 1, "fields": [{"name": "env.pv_eoi_en_msr", "type": "uint64", "size": 8}]}, {"vmsd_name": "cpu/s)json"
    R"json(teal_time_msr", "version": 1, "fields": [{"name": "env.steal_time_msr", "type": "uint64", "size": 8})json"
    R"json(]}, {"vmsd_name": "cpu/msr_tsc_adjust", "version": 1, "fields": [{"name": "env.tsc_adjust", "type": )json"
    R"json("uint64", "size": 8}]}, {"vmsd_name": "cpu/tsc_khz", "version": 1, "fields": [{"name": "env.tsc_khz")json"
    R"json(, "type": "int64", "size": 8}]}]})json";
inline constexpr std::string_view kTprOpt =
    R"json({"vmsd_name": "kvm-tpr-opt", "version": 1, "fields": [{"name": "rom_state", "type": "struct", "struc)json"
    R"json(t": {"vmsd_name": "kvmvapic-guest-rom", "version": 1, "fields": [{"name": "unused", "type": "unused_)json"
    R"json(buffer", "size": 8}, {"name": "vaddr", "type": "uint32", "size": 4}, {"name": "fixup_start", "type":)json"
    R"json( "uint32", "size": 4}, {"name": "fixup_end", "type": "uint32", "size": 4}, {"name": "vapic_vaddr", ")json"
    R"json(type": "uint32", "size": 4}, {"name": "vapic_size", "type": "uint32", "size": 4}, {"name": "vcpu_shi)json"
    R"json(ft", "type": "uint32", "size": 4}, {"name": "real_tpr_addr", "type": "uint32", "size": 4}, {"name": )json"
    R"json("up", "type": "struct", "struct": {"vmsd_name": "kvmvapic-handlers", "version": 1, "fields": [{"name)json"
    R"json(": "set_tpr", "type": "uint32", "size": 4}, {"name": "set_tpr_eax", "type": "uint32", "size": 4}, {")json"
    R"json(name": "get_tpr", "array_len": 8, "type": "uint32", "size": 4}, {"name": "get_tpr_stack", "type": "u)json"
    R"json(int32", "size": 4}]}, "size": 44}, {"name": "mp", "type": "struct", "struct": {"vmsd_name": "kvmvapi)json"
    R"json(c-handlers", "version": 1, "fields": [{"name": "set_tpr", "type": "uint32", "size": 4}, {"name": "se)json"
    R"json(t_tpr_eax", "type": "uint32", "size": 4}, {"name": "get_tpr", "array_len": 8, "type": "uint32", "siz)json"
    R"json(e": 4}, {"name": "get_tpr_stack", "type": "uint32", "size": 4}]}, "size": 44}]}, "size": 124}, {"nam)json"
    R"json(e": "state", "type": "uint32", "size": 4}, {"name": "real_tpr_addr", "type": "uint32", "size": 4}, {)json"
    R"json("name": "rom_state_vaddr", "type": "uint32", "size": 4}, {"name": "vapic_paddr", "type": "uint32", ")json"
    R"json(size": 4}, {"name": "rom_state_paddr", "type": "uint32", "size": 4}]})json";
inline constexpr std::string_view kApic =
    R"json({"vmsd_name": "apic", "version": 3, "fields": [{"name": "apicbase", "type": "uint32", "size": 4}, {")json"
    R"json(name": "id", "type": "uint8", "size": 1}, {"name": "arb_id", "type": "uint8", "size": 1}, {"name": ")json"
    R"json(tpr", "type": "uint8", "size": 1}, {"name": "spurious_vec", "type": "uint32", "size": 4}, {"name": ")json"
    R"json(log_dest", "type": "uint8", "size": 1}, {"name": "dest_mode", "type": "uint8", "size": 1}, {"name": )json"
    R"json("isr", "array_len": 8, "type": "uint32", "size": 4}, {"name": "tmr", "array_len": 8, "type": "uint32)json"
    R"json(", "size": 4}, {"name": "irr", "array_len": 8, "type": "uint32", "size": 4}, {"name": "lvt", "array_)json"
    R"json(len": 6, "type": "uint32", "size": 4}, {"name": "esr", "type": "uint32", "size": 4}, {"name": "icr",)json"
    R"json( "array_len": 2, "type": "uint32", "size": 4}, {"name": "divide_conf", "type": "uint32", "size": 4},)json"
    R"json( {"name": "count_shift", "type": "int32", "size": 4}, {"name": "initial_count", "type": "uint32", "s)json"
    R"json(ize": 4}, {"name": "initial_count_load_time", "type": "int64", "size": 8}, {"name": "next_time", "ty)json"
    R"json(pe": "int64", "size": 8}, {"name": "timer_expiry", "type": "int64", "size": 8}]})json";
inline constexpr std::string_view kKvmClock =
    R"json({"vmsd_name": "kvmclock", "version": 1, "fields": [{"name": "clock", "type": "uint64", "size": 8}], )json"
    R"json("subsections": [{"vmsd_name": "kvmclock/clock_is_reliable", "version": 1, "fields": [{"name": "clock)json"
    R"json(_is_reliable", "type": "bool", "size": 1}]}]})json";
// clang-format on

}  // namespace godwit::accel::kvm::golden
