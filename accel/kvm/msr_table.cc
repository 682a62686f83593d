// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Numbers: Intel SDM volume 4, AMD APM volume 2 appendix A, Linux
// Documentation/virt/kvm/x86/msr.rst.
#include "accel/kvm/msr_table.h"

#include <algorithm>
#include <span>

namespace godwit::accel::kvm {
namespace {

class Slots {
public:
    template <class T>
    void one(std::uint32_t index, T& member)
    {
        static_assert(sizeof(T) == 4 || sizeof(T) == 8);
        slots_.push_back({index, &member, sizeof(T)});
    }
    void many(std::uint32_t first, std::span<std::uint64_t> members, std::uint32_t step = 1)
    {
        for (std::uint64_t& member : members) {
            one(first, member);
            first += step;
        }
    }
    std::vector<MsrSlot> take() { return std::move(slots_); }

private:
    std::vector<MsrSlot> slots_;
};

void system_calls(Slots& slots, CpuState& s)
{
    slots.one(0x174, s.sysenter_cs);
    slots.one(0x175, s.sysenter_esp);
    slots.one(0x176, s.sysenter_eip);
    slots.one(0xc0000081, s.star);
    slots.one(0xc0000082, s.lstar);
    slots.one(0xc0000083, s.cstar);
    slots.one(0xc0000084, s.fmask);
    slots.one(0xc0000102, s.kernelgsbase);
    slots.one(0xc0000103, s.tsc_aux);
}

void memory_types(Slots& slots, CpuState& s)
{
    slots.one(0x277, s.pat);
    slots.one(0x2ff, s.mtrr_deftype);
    slots.one(0x250, s.mtrr_fixed[0]);
    slots.one(0x258, s.mtrr_fixed[1]);
    slots.one(0x259, s.mtrr_fixed[2]);
    slots.many(0x268, std::span(s.mtrr_fixed).subspan(3));
    for (std::uint32_t i = 0; i < s.mtrr_var.size(); ++i) {
        slots.one(0x200 + 2 * i, s.mtrr_var[i].base);
        slots.one(0x201 + 2 * i, s.mtrr_var[i].mask);
    }
}

void paravirtual(Slots& slots, CpuState& s)
{
    // Through the old numbers, as QEMU does; the kernel keeps one value for both.
    slots.one(0x12, s.system_time_msr);
    slots.one(0x11, s.wall_clock_msr);
    slots.one(0x4b564d06, s.async_pf_int);
    slots.one(0x4b564d02, s.async_pf_en);
    slots.one(0x4b564d04, s.pv_eoi_en);
    slots.one(0x4b564d03, s.steal_time);
    slots.one(0x4b564d05, s.poll_control);
}

void features(Slots& slots, CpuState& s)
{
    slots.one(0x3a, s.feature_control);
    slots.one(0x1a0, s.misc_enable);
    slots.one(0x34, s.smi_count);
    slots.one(0x48, s.spec_ctrl);
    slots.one(0xe1, s.umwait);
    slots.one(0x122, s.tsx_ctrl);
    slots.one(0x1c4, s.xfd);
    slots.one(0x1c5, s.xfd_err);
    slots.one(0x6e1, s.pkrs);
    slots.one(0xd90, s.bndcfgs);
    slots.one(0xda0, s.xss);
    slots.one(0xc0010015, s.hwcr);
    slots.one(0xc0010117, s.vm_hsave);
    slots.one(0xc001011f, s.virt_ssbd);
    slots.one(0xc0000104, s.amd_tsc_scale);
}

}  // namespace

std::vector<MsrSlot> msr_slots(CpuState& s, unsigned mce_banks)
{
    Slots slots;
    slots.one(kMsrTsc, s.tsc);
    slots.one(0x3b, s.tsc_adjust);
    system_calls(slots, s);
    features(slots, s);
    memory_types(slots, s);
    if (mce_banks > 0) {
        slots.one(0x17a, s.mcg_status);
        slots.one(0x17b, s.mcg_ctl);
        slots.one(0x4d0, s.mcg_ext_ctl);
        slots.many(0x400, std::span(s.mce_banks).first(std::min<std::size_t>(4 * mce_banks, 40)));
    }
    paravirtual(slots, s);
    slots.one(kMsrTscDeadline, s.tsc_deadline);
    return slots.take();
}

}  // namespace godwit::accel::kvm
