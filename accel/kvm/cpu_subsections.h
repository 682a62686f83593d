// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The optional parts of section `cpu`, in the order QEMU writes them. Each is sent when it says
// more than the value after reset. Absent: nested virtualisation and Xen, which we do not offer.
#pragma once

#include "accel/kvm/cpu_state.h"
#include "migration/stream/vmstate.h"

#include <algorithm>

namespace godwit::accel::kvm {

namespace part {

namespace ms = migration::stream;
using S = CpuState;

template <class A>
constexpr bool any(const A& values)
{
    return std::ranges::any_of(values, [](auto v) { return v != 0; });
}

/// A part with one field, sent when that differs from its value after reset.
template <auto Member>
constexpr auto single(std::string_view part_name, std::string_view field_name)
{
    return ms::vmstate<S>(part_name,
                          {.needed = [](const S& s) { return s.*Member != S{}.*Member; }},
                          ms::field<Member>(field_name));
}

/// A part with one field, sent when a feature is there.
template <auto Member, auto Flag>
constexpr auto flagged(std::string_view part_name, std::string_view field_name)
{
    return ms::vmstate<S>(part_name, {.needed = [](const S& s) { return s.*Flag; }},
                          ms::field<Member>(field_name));
}

inline constexpr auto kBoundsReg = ms::vmstate<BoundsReg>(
    "bnd_regs", {}, ms::field<&BoundsReg::lower>("lb"), ms::field<&BoundsReg::upper>("ub"));
inline constexpr auto kZmmHigh =
    ms::vmstate<ZmmReg>("zmmh_reg", {}, ms::field<&ZmmReg::q>("_q_ZMMReg[4]").element(4),
                        ms::field<&ZmmReg::q>("_q_ZMMReg[5]").element(5),
                        ms::field<&ZmmReg::q>("_q_ZMMReg[6]").element(6),
                        ms::field<&ZmmReg::q>("_q_ZMMReg[7]").element(7));
inline constexpr auto kZmmWhole =
    ms::vmstate<ZmmReg>("hi16_zmm_reg", {}, ms::field<&ZmmReg::q>("_q_ZMMReg[0]").element(0),
                        ms::field<&ZmmReg::q>("_q_ZMMReg[1]").element(1),
                        ms::field<&ZmmReg::q>("_q_ZMMReg[2]").element(2),
                        ms::field<&ZmmReg::q>("_q_ZMMReg[3]").element(3),
                        ms::field<&ZmmReg::q>("_q_ZMMReg[4]").element(4),
                        ms::field<&ZmmReg::q>("_q_ZMMReg[5]").element(5),
                        ms::field<&ZmmReg::q>("_q_ZMMReg[6]").element(6),
                        ms::field<&ZmmReg::q>("_q_ZMMReg[7]").element(7));
inline constexpr auto kLbrRecord =
    ms::vmstate<LbrRecord>("arch_lbr_record", {}, ms::field<&LbrRecord::from>("from"),
                           ms::field<&LbrRecord::to>("to"), ms::field<&LbrRecord::info>("info"));

constexpr bool avx512_used(const S& s)
{
    if (any(s.opmask))
        return true;
    for (unsigned i = 0; i < 16; ++i) {
        if (any(s.zmm[16 + i].q))
            return true;
        for (unsigned word = 4; word < 8; ++word)
            if (s.zmm[i].q[word] != 0)
                return true;
    }
    return false;
}

}  // namespace part

inline constexpr auto kExceptionInfo = part::ms::vmstate<CpuState>(
    "cpu/exception_info",
    {.needed =
         [](const CpuState& s) {
             return s.exception_pending != 0 && s.exception_has_payload != 0;
         }},
    part::ms::field<&CpuState::exception_pending>("env.exception_pending"),
    part::ms::field<&CpuState::exception_injected>("env.exception_injected"),
    part::ms::field<&CpuState::exception_has_payload>("env.exception_has_payload"),
    part::ms::field<&CpuState::exception_payload>("env.exception_payload"));
inline constexpr auto kAsyncPf =
    part::single<&CpuState::async_pf_en>("cpu/async_pf_msr", "env.async_pf_en_msr");
inline constexpr auto kAsyncPfInt =
    part::single<&CpuState::async_pf_int>("cpu/async_pf_int_msr", "env.async_pf_int_msr");
inline constexpr auto kPvEoi =
    part::single<&CpuState::pv_eoi_en>("cpu/async_pv_eoi_msr", "env.pv_eoi_en_msr");
inline constexpr auto kStealTime =
    part::single<&CpuState::steal_time>("cpu/steal_time_msr", "env.steal_time_msr");
inline constexpr auto kPollControl =
    part::single<&CpuState::poll_control>("cpu/poll_control_msr", "env.poll_control_msr");
inline constexpr auto kFpopIpDp = part::ms::vmstate<CpuState>(
    "cpu/fpop_ip_dp",
    {.needed = [](const CpuState& s) { return s.fpop != 0 || s.fpip != 0 || s.fpdp != 0; }},
    part::ms::field<&CpuState::fpop>("env.fpop"), part::ms::field<&CpuState::fpip>("env.fpip"),
    part::ms::field<&CpuState::fpdp>("env.fpdp"));
inline constexpr auto kTscAdjust =
    part::single<&CpuState::tsc_adjust>("cpu/msr_tsc_adjust", "env.tsc_adjust");
inline constexpr auto kTscDeadline =
    part::single<&CpuState::tsc_deadline>("cpu/msr_tscdeadline", "env.tsc_deadline");
inline constexpr auto kMiscEnable =
    part::single<&CpuState::misc_enable>("cpu/msr_ia32_misc_enable", "env.msr_ia32_misc_enable");
inline constexpr auto kFeatureControl = part::single<&CpuState::feature_control>(
    "cpu/msr_ia32_feature_control", "env.msr_ia32_feature_control");
inline constexpr auto kPmu = part::ms::vmstate<CpuState>(
    "cpu/msr_architectural_pmu",
    {.needed =
         [](const CpuState& s) {
             return s.fixed_ctr_ctrl != 0 || s.global_ctrl != 0 || s.global_status != 0 ||
                    s.global_ovf_ctrl != 0 || part::any(s.fixed_counters) ||
                    part::any(s.gp_counters) || part::any(s.gp_evtsel);
         }},
    part::ms::field<&CpuState::fixed_ctr_ctrl>("env.msr_fixed_ctr_ctrl"),
    part::ms::field<&CpuState::global_ctrl>("env.msr_global_ctrl"),
    part::ms::field<&CpuState::global_status>("env.msr_global_status"),
    part::ms::field<&CpuState::global_ovf_ctrl>("env.msr_global_ovf_ctrl"),
    part::ms::field<&CpuState::fixed_counters>("env.msr_fixed_counters"),
    part::ms::field<&CpuState::gp_counters>("env.msr_gp_counters"),
    part::ms::field<&CpuState::gp_evtsel>("env.msr_gp_evtsel"));
inline constexpr auto kMpx = part::ms::vmstate<CpuState>(
    "cpu/mpx",
    {.needed =
         [](const CpuState& s) {
             return s.bnd_cfgu != 0 || s.bnd_sts != 0 || s.bndcfgs != 0 ||
                    std::ranges::any_of(s.bnd_regs, [](const BoundsReg& b) {
                        return b.lower != 0 || b.upper != 0;
                    });
         }},
    part::ms::structure<&CpuState::bnd_regs>("env.bnd_regs", part::kBoundsReg),
    part::ms::field<&CpuState::bnd_cfgu>("env.bndcs_regs.cfgu"),
    part::ms::field<&CpuState::bnd_sts>("env.bndcs_regs.sts"),
    part::ms::field<&CpuState::bndcfgs>("env.msr_bndcfgs"));
inline constexpr auto kHvHypercall = part::ms::vmstate<CpuState>(
    "cpu/msr_hyperv_hypercall",
    {.needed = [](const CpuState& s) { return s.hv_guest_os_id != 0 || s.hv_hypercall != 0; }},
    part::ms::field<&CpuState::hv_guest_os_id>("env.msr_hv_guest_os_id"),
    part::ms::field<&CpuState::hv_hypercall>("env.msr_hv_hypercall"));
inline constexpr auto kHvVapic =
    part::single<&CpuState::hv_vapic>("cpu/msr_hyperv_vapic", "env.msr_hv_vapic");
inline constexpr auto kHvTime =
    part::single<&CpuState::hv_tsc>("cpu/msr_hyperv_time", "env.msr_hv_tsc");
inline constexpr auto kHvCrash =
    part::single<&CpuState::hv_crash>("cpu/msr_hyperv_crash", "env.msr_hv_crash_params");
inline constexpr auto kHvRuntime =
    part::single<&CpuState::hv_runtime>("cpu/msr_hyperv_runtime", "env.msr_hv_runtime");
inline constexpr auto kHvSynic = part::ms::vmstate<CpuState>(
    "cpu/msr_hyperv_synic",
    {.needed =
         [](const CpuState& s) {
             return s.hv_synic_control != 0 || s.hv_synic_event_page != 0 ||
                    s.hv_synic_message_page != 0 || part::any(s.hv_synic_sint);
         }},
    part::ms::field<&CpuState::hv_synic_control>("env.msr_hv_synic_control"),
    part::ms::field<&CpuState::hv_synic_event_page>("env.msr_hv_synic_evt_page"),
    part::ms::field<&CpuState::hv_synic_message_page>("env.msr_hv_synic_msg_page"),
    part::ms::field<&CpuState::hv_synic_sint>("env.msr_hv_synic_sint"));
inline constexpr auto kHvStimer = part::ms::vmstate<CpuState>(
    "cpu/msr_hyperv_stimer",
    {.needed =
         [](const CpuState& s) {
             return part::any(s.hv_stimer_config) || part::any(s.hv_stimer_count);
         }},
    part::ms::field<&CpuState::hv_stimer_config>("env.msr_hv_stimer_config"),
    part::ms::field<&CpuState::hv_stimer_count>("env.msr_hv_stimer_count"));
inline constexpr auto kHvReenlightenment = part::ms::vmstate<CpuState>(
    "cpu/msr_hyperv_reenlightenment",
    {.needed = [](const CpuState& s) { return part::any(s.hv_reenlightenment); }},
    part::ms::field<&CpuState::hv_reenlightenment>("env.msr_hv_reenlightenment_control").element(0),
    part::ms::field<&CpuState::hv_reenlightenment>("env.msr_hv_tsc_emulation_control").element(1),
    part::ms::field<&CpuState::hv_reenlightenment>("env.msr_hv_tsc_emulation_status").element(2));
inline constexpr auto kAvx512 = part::ms::vmstate<CpuState>(
    "cpu/avx512", {.needed = [](const CpuState& s) { return part::avx512_used(s); }},
    part::ms::field<&CpuState::opmask>("env.opmask_regs"),
    part::ms::structure<&CpuState::zmm>("env.xmm_regs[0]", part::kZmmHigh).elements(0, 16),
    part::ms::structure<&CpuState::zmm>("env.xmm_regs[16]", part::kZmmWhole).elements(16, 16));
inline constexpr auto kXss = part::single<&CpuState::xss>("cpu/xss", "env.xss");
inline constexpr auto kUmwait = part::single<&CpuState::umwait>("cpu/umwait", "env.umwait");
inline constexpr auto kTscKhz = part::single<&CpuState::tsc_khz>("cpu/tsc_khz", "env.tsc_khz");
inline constexpr auto kSmiCount =
    part::single<&CpuState::smi_count>("cpu/msr_smi_count", "env.msr_smi_count");
inline constexpr auto kPkru = part::single<&CpuState::pkru>("cpu/pkru", "env.pkru");
inline constexpr auto kPkrs = part::single<&CpuState::pkrs>("cpu/pkrs", "env.pkrs");
inline constexpr auto kSpecCtrl =
    part::single<&CpuState::spec_ctrl>("cpu/spec_ctrl", "env.spec_ctrl");
inline constexpr auto kTscScale = part::flagged<&CpuState::amd_tsc_scale, &CpuState::has_tsc_scale>(
    "cpu/amd_tsc_scale_msr", "env.amd_tsc_scale_msr");
inline constexpr auto kMcgExtCtl =
    part::single<&CpuState::mcg_ext_ctl>("cpu/mcg_ext_ctl", "env.mcg_ext_ctl");
inline constexpr auto kIntelPt = part::ms::vmstate<CpuState>(
    "cpu/intel_pt",
    {.needed = [](const CpuState& s) { return part::any(s.pt) || part::any(s.pt_addrs); }},
    part::ms::field<&CpuState::pt>("env.msr_rtit_ctrl").element(0),
    part::ms::field<&CpuState::pt>("env.msr_rtit_status").element(1),
    part::ms::field<&CpuState::pt>("env.msr_rtit_output_base").element(2),
    part::ms::field<&CpuState::pt>("env.msr_rtit_output_mask").element(3),
    part::ms::field<&CpuState::pt>("env.msr_rtit_cr3_match").element(4),
    part::ms::field<&CpuState::pt_addrs>("env.msr_rtit_addrs"));
inline constexpr auto kVirtSsbd =
    part::single<&CpuState::virt_ssbd>("cpu/virt_ssbd", "env.virt_ssbd");
inline constexpr auto kNpt = part::ms::vmstate<CpuState>(
    "cpu/svn_npt", {.needed = [](const CpuState& s) { return (s.hflags2 & 1u << 6) != 0; }},
    part::ms::field<&CpuState::nested_cr3>("env.nested_cr3"),
    part::ms::field<&CpuState::nested_pg_mode>("env.nested_pg_mode"));
inline constexpr auto kSvmGuest =
    part::single<&CpuState::svm_int_ctl>("cpu/svm_guest", "env.int_ctl");
inline constexpr auto kTsxCtrl =
    part::flagged<&CpuState::tsx_ctrl, &CpuState::has_tsx_ctrl>("cpu/msr_tsx_ctrl", "env.tsx_ctrl");
inline constexpr auto kSgx = part::flagged<&CpuState::sgx_hash, &CpuState::has_sgx_lc>(
    "cpu/intel_sgx", "env.msr_ia32_sgxlepubkeyhash");
inline constexpr auto kPdptrs =
    part::ms::vmstate<CpuState>("cpu/pdptrs",
                                {.needed = [](const CpuState& s) { return s.pdptrs_valid != 0; },
                                 .post_load = [](CpuState& s, part::ms::Version) -> Result<void> {
                                     s.pdptrs_valid = 1;
                                     return ok();
                                 }},
                                part::ms::field<&CpuState::pdptrs>("env.pdptrs"));
inline constexpr auto kXfd = part::ms::vmstate<CpuState>(
    "cpu/msr_xfd", {.needed = [](const CpuState& s) { return s.has_xfd; }},
    part::ms::field<&CpuState::xfd>("env.msr_xfd"),
    part::ms::field<&CpuState::xfd_err>("env.msr_xfd_err"));
inline constexpr auto kHwcr = part::single<&CpuState::hwcr>("cpu/msr_hwcr", "env.msr_hwcr");
inline constexpr auto kFred =
    part::flagged<&CpuState::fred, &CpuState::has_fred>("cpu/fred", "env.fred");
inline constexpr auto kAmx = part::ms::vmstate<CpuState>(
    "cpu/intel_amx_xtile", {.needed = [](const CpuState& s) { return s.has_amx; }},
    part::ms::field<&CpuState::xtile_config>("env.xtilecfg"),
    part::ms::field<&CpuState::xtile_data>("env.xtiledata"));
inline constexpr auto kLbr = part::ms::vmstate<CpuState>(
    "cpu/arch_lbr", {.needed = [](const CpuState& s) { return s.has_lbr; }},
    part::ms::field<&CpuState::lbr_ctl>("env.msr_lbr_ctl"),
    part::ms::field<&CpuState::lbr_depth>("env.msr_lbr_depth"),
    part::ms::structure<&CpuState::lbr>("env.lbr_records", part::kLbrRecord));
inline constexpr auto kTripleFault =
    part::single<&CpuState::triple_fault>("cpu/triple_fault", "env.triple_fault_pending");

}  // namespace godwit::accel::kvm
