// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Sections beside `cpu`: `cpu_common`, `apic`, `kvmclock`, `kvm-tpr-opt`.
#include "accel/kvm/cpu_vmstate.h"

namespace godwit::accel::kvm {
namespace {

namespace ms = migration::stream;
using A = ApicState;
using T = TprOptState;

inline constexpr auto kCommon =
    ms::vmstate<CpuCommonState>("cpu_common", {}, ms::field<&CpuCommonState::halted>("halted"),
                                ms::field<&CpuCommonState::interrupt_request>("interrupt_request"));
static_assert(kCommon.well_formed());

inline constexpr auto kSipi = ms::vmstate<A>(
    "apic_sipi", {.needed = [](const A& s) { return s.wait_for_sipi != 0; }},
    ms::field<&A::sipi_vector>("sipi_vector"), ms::field<&A::wait_for_sipi>("wait_for_sipi"));

inline constexpr auto kApic = ms::vmstate<A>(
    "apic", {.current = 3, .oldest = 3}, ms::field<&A::apicbase>("apicbase"),
    ms::field<&A::id>("id"), ms::field<&A::arb_id>("arb_id"), ms::field<&A::tpr>("tpr"),
    ms::field<&A::spurious_vec>("spurious_vec"), ms::field<&A::log_dest>("log_dest"),
    ms::field<&A::dest_mode>("dest_mode"), ms::field<&A::isr>("isr"), ms::field<&A::tmr>("tmr"),
    ms::field<&A::irr>("irr"), ms::field<&A::lvt>("lvt"), ms::field<&A::esr>("esr"),
    ms::field<&A::icr>("icr"), ms::field<&A::divide_conf>("divide_conf"),
    ms::field<&A::count_shift>("count_shift"), ms::field<&A::initial_count>("initial_count"),
    ms::field<&A::initial_count_load_time>("initial_count_load_time"),
    ms::field<&A::next_time>("next_time"), ms::field<&A::timer_expiry>("timer_expiry"),
    ms::subsection(kSipi));
static_assert(kApic.well_formed());

inline constexpr auto kReliable = ms::vmstate<KvmClockState>(
    "kvmclock/clock_is_reliable", {.needed = [](const KvmClockState& s) { return s.reliable; }},
    ms::field<&KvmClockState::reliable>("clock_is_reliable"));
inline constexpr auto kClock = ms::vmstate<KvmClockState>(
    "kvmclock", {}, ms::field<&KvmClockState::clock>("clock"), ms::subsection(kReliable));
static_assert(kClock.well_formed());

using Handlers = T::Handlers;
using Rom = T::Rom;

inline constexpr auto kHandlers = ms::vmstate<Handlers>(
    "kvmvapic-handlers", {}, ms::field<&Handlers::set_tpr>("set_tpr"),
    ms::field<&Handlers::set_tpr_eax>("set_tpr_eax"), ms::field<&Handlers::get_tpr>("get_tpr"),
    ms::field<&Handlers::get_tpr_stack>("get_tpr_stack"));
inline constexpr auto kRom = ms::vmstate<Rom>(
    "kvmvapic-guest-rom", {}, ms::unused<Rom>(8), ms::field<&Rom::vaddr>("vaddr"),
    ms::field<&Rom::fixup_start>("fixup_start"), ms::field<&Rom::fixup_end>("fixup_end"),
    ms::field<&Rom::vapic_vaddr>("vapic_vaddr"), ms::field<&Rom::vapic_size>("vapic_size"),
    ms::field<&Rom::vcpu_shift>("vcpu_shift"), ms::field<&Rom::real_tpr_addr>("real_tpr_addr"),
    ms::structure<&Rom::up>("up", kHandlers), ms::structure<&Rom::mp>("mp", kHandlers));
inline constexpr auto kTprOpt = ms::vmstate<T>(
    "kvm-tpr-opt", {}, ms::structure<&T::rom>("rom_state", kRom), ms::field<&T::state>("state"),
    ms::field<&T::real_tpr_addr>("real_tpr_addr"),
    ms::field<&T::rom_state_vaddr>("rom_state_vaddr"), ms::field<&T::vapic_paddr>("vapic_paddr"),
    ms::field<&T::rom_state_paddr>("rom_state_paddr"));
static_assert(kTprOpt.well_formed());

}  // namespace

const ms::VMStateOf<CpuCommonState>& cpu_common_vmstate()
{
    return kCommon;
}

const ms::VMStateOf<ApicState>& apic_vmstate()
{
    return kApic;
}

const ms::VMStateOf<KvmClockState>& kvmclock_vmstate()
{
    return kClock;
}

const ms::VMStateOf<TprOptState>& tpr_opt_vmstate()
{
    return kTprOpt;
}

}  // namespace godwit::accel::kvm
