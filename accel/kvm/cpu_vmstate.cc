// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Section `cpu`: its fields; the subsections are in cpu_subsections.cc.
#include "accel/kvm/cpu_vmstate.h"

#include "accel/kvm/cpu_subsections.h"

namespace godwit::accel::kvm {
namespace {

namespace ms = migration::stream;
using S = CpuState;

inline constexpr auto kSegment = ms::vmstate<Segment>(
    "segment", {}, ms::field<&Segment::selector>("selector"), ms::field<&Segment::base>("base"),
    ms::field<&Segment::limit>("limit"), ms::field<&Segment::flags>("flags"));

inline constexpr auto kFpRegTmp = ms::vmstate<FpReg>("fpreg_tmp", {.current = 0, .oldest = 0},
                                                     ms::field<&FpReg::mantissa>("tmp_mant"),
                                                     ms::field<&FpReg::exponent>("tmp_exp"));
inline constexpr auto kFpReg =
    ms::vmstate<FpReg>("fpreg", {.current = 0, .oldest = 0},
                       ms::temporary<FpReg>(
                           "tmp", kFpRegTmp, [](const FpReg& r) { return r; },
                           [](FpReg& r, const FpReg& loaded) -> Result<void> {
                               r = loaded;
                               return ok();
                           }));

inline constexpr auto kXmm =
    ms::vmstate<ZmmReg>("xmm_reg", {}, ms::field<&ZmmReg::q>("_q_ZMMReg[0]").element(0),
                        ms::field<&ZmmReg::q>("_q_ZMMReg[1]").element(1));
inline constexpr auto kYmmHigh =
    ms::vmstate<ZmmReg>("ymmh_reg", {}, ms::field<&ZmmReg::q>("_q_ZMMReg[2]").element(2),
                        ms::field<&ZmmReg::q>("_q_ZMMReg[3]").element(3));
inline constexpr auto kMtrrVar = ms::vmstate<MtrrVar>(
    "mtrr_var", {}, ms::field<&MtrrVar::base>("base"), ms::field<&MtrrVar::mask>("mask"));

inline constexpr auto kCpu = ms::vmstate<S>(
    "cpu", {.current = 12, .oldest = 11}, ms::field<&S::regs>("env.regs"),
    ms::field<&S::eip>("env.eip"), ms::field<&S::eflags>("env.eflags"),
    ms::field<&S::hflags>("env.hflags"), ms::field<&S::fpuc>("env.fpuc"),
    ms::field<&S::fpus>("env.fpus_vmstate"), ms::field<&S::fptag>("env.fptag_vmstate"),
    ms::field<&S::fpregs_format>("env.fpregs_format_vmstate").in_range(0, 0),
    ms::structure<&S::fpregs>("env.fpregs", kFpReg), ms::structure<&S::segs>("env.segs", kSegment),
    ms::structure<&S::ldt>("env.ldt", kSegment), ms::structure<&S::tr>("env.tr", kSegment),
    ms::structure<&S::gdt>("env.gdt", kSegment), ms::structure<&S::idt>("env.idt", kSegment),
    ms::field<&S::sysenter_cs>("env.sysenter_cs"), ms::field<&S::sysenter_esp>("env.sysenter_esp"),
    ms::field<&S::sysenter_eip>("env.sysenter_eip"), ms::field<&S::cr0>("env.cr[0]"),
    ms::field<&S::cr2>("env.cr[2]"), ms::field<&S::cr3>("env.cr[3]"),
    ms::field<&S::cr4>("env.cr[4]"), ms::field<&S::dr>("env.dr"),
    ms::field<&S::a20_mask>("env.a20_mask"), ms::field<&S::mxcsr>("env.mxcsr"),
    ms::structure<&S::zmm>("env.xmm_regs[0]", kXmm).elements(0, 16),
    ms::field<&S::efer>("env.efer"), ms::field<&S::star>("env.star"),
    ms::field<&S::lstar>("env.lstar"), ms::field<&S::cstar>("env.cstar"),
    ms::field<&S::fmask>("env.fmask"), ms::field<&S::kernelgsbase>("env.kernelgsbase"),
    ms::field<&S::smbase>("env.smbase"), ms::field<&S::pat>("env.pat"),
    ms::field<&S::hflags2>("env.hflags2"), ms::field<&S::vm_hsave>("env.vm_hsave"),
    ms::field<&S::svm_words>("env.vm_vmcb").element(0),
    ms::field<&S::svm_words>("env.tsc_offset").element(1),
    ms::field<&S::svm_words>("env.intercept").element(2),
    ms::field<&S::svm_intercepts>("env.intercept_cr_read").element(0),
    ms::field<&S::svm_intercepts>("env.intercept_cr_write").element(1),
    ms::field<&S::svm_intercepts>("env.intercept_dr_read").element(2),
    ms::field<&S::svm_intercepts>("env.intercept_dr_write").element(3),
    ms::field<&S::intercept_exceptions>("env.intercept_exceptions"),
    ms::field<&S::v_tpr>("env.v_tpr"), ms::field<&S::mtrr_fixed>("env.mtrr_fixed"),
    ms::field<&S::mtrr_deftype>("env.mtrr_deftype"),
    ms::structure<&S::mtrr_var>("env.mtrr_var", kMtrrVar),
    ms::field<&S::interrupt_injected>("env.interrupt_injected").in_range(-1, 255),
    ms::field<&S::mp_state>("env.mp_state").in_range(0, 4), ms::field<&S::tsc>("env.tsc"),
    ms::field<&S::exception_nr>("env.exception_nr").in_range(-1, 31),
    ms::field<&S::soft_interrupt>("env.soft_interrupt"),
    ms::field<&S::nmi_injected>("env.nmi_injected"), ms::field<&S::nmi_pending>("env.nmi_pending"),
    ms::field<&S::has_error_code>("env.has_error_code"),
    ms::field<&S::sipi_vector>("env.sipi_vector"), ms::field<&S::mcg_cap>("env.mcg_cap"),
    ms::field<&S::mcg_status>("env.mcg_status"), ms::field<&S::mcg_ctl>("env.mcg_ctl"),
    ms::field<&S::mce_banks>("env.mce_banks"), ms::field<&S::tsc_aux>("env.tsc_aux"),
    ms::field<&S::system_time_msr>("env.system_time_msr"),
    ms::field<&S::wall_clock_msr>("env.wall_clock_msr"), ms::field<&S::xcr0>("env.xcr0").since(12),
    ms::field<&S::xstate_bv>("env.xstate_bv").since(12),
    ms::structure<&S::zmm>("env.xmm_regs[1]", kYmmHigh).elements(0, 16).since(12),
    ms::subsection(kExceptionInfo), ms::subsection(kAsyncPf), ms::subsection(kAsyncPfInt),
    ms::subsection(kPvEoi), ms::subsection(kStealTime), ms::subsection(kPollControl),
    ms::subsection(kFpopIpDp), ms::subsection(kTscAdjust), ms::subsection(kTscDeadline),
    ms::subsection(kMiscEnable), ms::subsection(kFeatureControl), ms::subsection(kPmu),
    ms::subsection(kMpx), ms::subsection(kHvHypercall), ms::subsection(kHvVapic),
    ms::subsection(kHvTime), ms::subsection(kHvCrash), ms::subsection(kHvRuntime),
    ms::subsection(kHvSynic), ms::subsection(kHvStimer), ms::subsection(kHvReenlightenment),
    ms::subsection(kAvx512), ms::subsection(kXss), ms::subsection(kUmwait), ms::subsection(kTscKhz),
    ms::subsection(kSmiCount), ms::subsection(kPkru), ms::subsection(kPkrs),
    ms::subsection(kSpecCtrl), ms::subsection(kTscScale), ms::subsection(kMcgExtCtl),
    ms::subsection(kIntelPt), ms::subsection(kVirtSsbd), ms::subsection(kNpt),
    ms::subsection(kSvmGuest), ms::subsection(kTsxCtrl), ms::subsection(kSgx),
    ms::subsection(kPdptrs), ms::subsection(kXfd), ms::subsection(kHwcr), ms::subsection(kFred),
    ms::subsection(kAmx), ms::subsection(kLbr), ms::subsection(kTripleFault));
static_assert(kCpu.well_formed());

}  // namespace

const ms::VMStateOf<CpuState>& cpu_vmstate()
{
    return kCpu;
}

}  // namespace godwit::accel::kvm
