// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Model-specific registers of a vCPU.
#include "accel/kvm/cpu_registers.h"

#include "accel/kvm/msr_table.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::accel::kvm {
namespace {

bool is_mtrr(std::uint32_t index)
{
    return (index >= 0x200 && index <= 0x20f) || (index >= 0x250 && index <= 0x26f) ||
           index == 0x2ff;
}

bool is_mtrr_mask(std::uint32_t index)
{
    return index >= 0x200 && index <= 0x20f && (index & 1) != 0;
}

bool is_machine_check(std::uint32_t index)
{
    return index == 0x17a || index == 0x17b || (index >= 0x400 && index < 0x480);
}

/// Registers that only enlightened guests of other hypervisors, or hardware that we do not show,
/// have. Where a stream says they are in use, this guest cannot go on here.
struct Foreign {
    std::string_view name;
    bool used;
};

template <class A>
bool any(const A& values)
{
    return std::ranges::any_of(values, [](auto v) { return v != 0; });
}

Result<void> refuse_foreign(const CpuState& s)
{
    const Foreign foreign[] = {
        {"cpu/msr_hyperv_hypercall", s.hv_guest_os_id != 0 || s.hv_hypercall != 0},
        {"cpu/msr_hyperv_vapic", s.hv_vapic != 0},
        {"cpu/msr_hyperv_time", s.hv_tsc != 0},
        {"cpu/msr_hyperv_synic", s.hv_synic_control != 0},
        {"cpu/msr_hyperv_stimer", any(s.hv_stimer_config)},
        {"cpu/msr_architectural_pmu", s.global_ctrl != 0 || s.fixed_ctr_ctrl != 0},
        {"cpu/intel_pt", s.pt[0] != 0},
        {"cpu/fred", s.fred[8] != 0},
        {"cpu/arch_lbr", s.lbr_ctl != 0},
        {"cpu/svn_npt", s.nested_cr3 != 0},
    };
    for (const Foreign& f : foreign)
        if (f.used)
            return Error(
                Errc::Unsupported,
                fmt::format("{}: the guest uses a feature that this virtual CPU lacks", f.name));
    return {};
}

}  // namespace

bool CpuRegisters::usable(std::uint32_t msr) const noexcept
{
    return std::ranges::binary_search(msrs_, msr);
}

Result<void> CpuRegisters::probe_msrs()
{
    CpuState state;
    for (const MsrSlot& slot : msr_slots(state, mce_banks_)) {
        // KVM's list leaves out what it emulates for everybody.
        const bool always = (is_mtrr(slot.index) && has_mtrr_) || is_machine_check(slot.index);
        if (!always && !machine_->lists_msr(slot.index))
            continue;
        MsrList list(1);
        list->count = 1;
        list.entries()->index = slot.index;
        if (GW_TRY(GW_KVM(*vcpu_, KVM_GET_MSRS, list.get())) == 1)
            msrs_.push_back(slot.index);
    }
    std::ranges::sort(msrs_);
    return {};
}

Result<void> CpuRegisters::fetch_msrs(CpuState& state) const
{
    const std::vector<MsrSlot> slots = msr_slots(state, mce_banks_);
    MsrList list(msrs_.size());
    list->count = static_cast<std::uint32_t>(msrs_.size());
    for (std::size_t i = 0; i < msrs_.size(); ++i)
        list.entries()[i].index = msrs_[i];
    const auto read = static_cast<std::size_t>(GW_TRY(GW_KVM(*vcpu_, KVM_GET_MSRS, list.get())));
    if (read < msrs_.size())
        return Error(Errc::Io, fmt::format("cannot read MSR {:#x}", msrs_[read]));
    for (const MsrSlot& slot : slots) {
        const auto found = std::ranges::lower_bound(msrs_, slot.index);
        if (found == msrs_.end() || *found != slot.index)
            continue;
        std::uint64_t value = list.entries()[found - msrs_.begin()].data;
        if (is_mtrr_mask(slot.index))
            value |= mtrr_top_bits_;
        slot.set(value);
    }
    return {};
}

Result<void> CpuRegisters::store_one_msr(std::uint32_t index, std::uint64_t value) const
{
    MsrList list(1);
    list->count = 1;
    *list.entries() = {.index = index, .reserved = 0, .data = value};
    if (GW_TRY(GW_KVM(*vcpu_, KVM_SET_MSRS, list.get())) != 1)
        return Error(Errc::InvalidArgument,
                     fmt::format("KVM refuses to set MSR {:#x} to {:#x}", index, value));
    return {};
}

Result<void> CpuRegisters::store_msrs(const CpuState& state) const
{
    GW_TRY(refuse_foreign(state));
    if ((state.mcg_cap & 0xff) > 10)
        return Error(Errc::InvalidArgument,
                     fmt::format("mcg_cap {:#x}: more than 10 machine-check banks", state.mcg_cap));
    CpuState copy = state;
    CpuState fresh;
    const std::vector<MsrSlot> slots = msr_slots(copy, mce_banks_);
    const std::vector<MsrSlot> resets = msr_slots(fresh, mce_banks_);
    MsrList list(slots.size());
    std::uint32_t count = 0;
    for (std::size_t i = 0; i < slots.size(); ++i) {
        const std::uint32_t index = slots[i].index;
        std::uint64_t value = slots[i].get();
        if (index == kMsrTscDeadline)
            continue;
        if (!usable(index)) {
            if (value != resets[i].get() && value != 0 && (!is_mtrr_mask(index) || has_mtrr_))
                return Error(
                    Errc::Unsupported,
                    fmt::format("this host has no MSR {:#x}, which the guest has set to {:#x}",
                                index, value));
            continue;
        }
        if (is_mtrr_mask(index))
            value &= ~mtrr_top_bits_;
        if (state.mcg_cap == 0 && is_machine_check(index))
            continue;
        list.entries()[count++] = {.index = index, .reserved = 0, .data = value};
    }
    list->count = count;
    const auto set = static_cast<std::uint32_t>(GW_TRY(GW_KVM(*vcpu_, KVM_SET_MSRS, list.get())));
    if (set < count)
        return Error(Errc::InvalidArgument,
                     fmt::format("KVM refuses to set MSR {:#x} to {:#x}", list.entries()[set].index,
                                 list.entries()[set].data));
    return {};
}

}  // namespace godwit::accel::kvm
