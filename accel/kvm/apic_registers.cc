// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The local APIC in the kernel. Register numbers: Intel SDM volume 3, "Local APIC Register Address
// Map".
#include "accel/kvm/cpu_registers.h"

#include <cstring>
#include <fmt/format.h>

namespace godwit::accel::kvm {
namespace {

std::uint32_t read_register(const kvm_lapic_state& kvm, unsigned offset)
{
    std::uint32_t value;
    std::memcpy(&value, kvm.regs + offset, sizeof value);
    return value;
}

void write_register(kvm_lapic_state& kvm, unsigned offset, std::uint32_t value)
{
    std::memcpy(kvm.regs + offset, &value, sizeof value);
}

constexpr unsigned kId = 0x20, kVersion = 0x30, kTpr = 0x80, kArbitration = 0x90,
                   kLogicalDest = 0xd0, kDestFormat = 0xe0, kSpurious = 0xf0, kIsr = 0x100,
                   kTmr = 0x180, kIrr = 0x200, kEsr = 0x280, kIcr = 0x300, kIcrHigh = 0x310,
                   kLvt = 0x320, kInitialCount = 0x380, kCurrentCount = 0x390, kDivide = 0x3e0;

}  // namespace

Result<void> CpuRegisters::fetch_apic(ApicState& apic, std::uint32_t* current_count) const
{
    kvm_lapic_state kvm{};
    GW_TRY(GW_KVM(*vcpu_, KVM_GET_LAPIC, &kvm));
    apic.id = static_cast<std::uint8_t>(read_register(kvm, kId) >> 24);
    apic.arb_id = static_cast<std::uint8_t>(read_register(kvm, kArbitration));
    apic.tpr = static_cast<std::uint8_t>(read_register(kvm, kTpr));
    apic.spurious_vec = read_register(kvm, kSpurious);
    apic.log_dest = static_cast<std::uint8_t>(read_register(kvm, kLogicalDest) >> 24);
    apic.dest_mode = static_cast<std::uint8_t>(read_register(kvm, kDestFormat) >> 28);
    for (unsigned i = 0; i < 8; ++i) {
        apic.isr[i] = read_register(kvm, kIsr + 0x10 * i);
        apic.tmr[i] = read_register(kvm, kTmr + 0x10 * i);
        apic.irr[i] = read_register(kvm, kIrr + 0x10 * i);
    }
    for (unsigned i = 0; i < 6; ++i)
        apic.lvt[i] = read_register(kvm, kLvt + 0x10 * i);
    apic.esr = read_register(kvm, kEsr);
    apic.icr = {read_register(kvm, kIcr), read_register(kvm, kIcrHigh)};
    apic.divide_conf = read_register(kvm, kDivide);
    const std::uint32_t divide = (apic.divide_conf & 3) | (apic.divide_conf >> 1 & 4);
    apic.count_shift = static_cast<std::int32_t>((divide + 1) & 7);
    apic.initial_count = read_register(kvm, kInitialCount);
    if (current_count != nullptr)
        *current_count = read_register(kvm, kCurrentCount);
    return {};
}

Result<void> CpuRegisters::store_apic(const ApicState& apic) const
{
    kvm_lapic_state kvm{};
    GW_TRY(GW_KVM(*vcpu_, KVM_GET_LAPIC, &kvm));  // keeps what is not in the stream: the version
    write_register(kvm, kId, std::uint32_t{apic.id} << 24);
    write_register(kvm, kTpr, apic.tpr);
    write_register(kvm, kLogicalDest, std::uint32_t{apic.log_dest} << 24);
    write_register(kvm, kDestFormat, std::uint32_t{apic.dest_mode} << 28 | 0x0fffffff);
    write_register(kvm, kSpurious, apic.spurious_vec);
    for (unsigned i = 0; i < 8; ++i) {
        write_register(kvm, kIsr + 0x10 * i, apic.isr[i]);
        write_register(kvm, kTmr + 0x10 * i, apic.tmr[i]);
        write_register(kvm, kIrr + 0x10 * i, apic.irr[i]);
    }
    for (unsigned i = 0; i < 6; ++i)
        write_register(kvm, kLvt + 0x10 * i, apic.lvt[i]);
    write_register(kvm, kEsr, apic.esr);
    write_register(kvm, kIcr, apic.icr[0]);
    write_register(kvm, kIcrHigh, apic.icr[1]);
    write_register(kvm, kDivide, apic.divide_conf);
    write_register(kvm, kInitialCount, apic.initial_count);
    return checked(GW_KVM(*vcpu_, KVM_SET_LAPIC, &kvm),
                   fmt::format("local APIC (id {}, spurious vector register {:#x})", apic.id,
                               apic.spurious_vec));
}

}  // namespace godwit::accel::kvm
