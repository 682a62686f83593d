// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How the PM block migrates.
#include "hw/acpi/pm.h"

namespace godwit::hw {
namespace {

using namespace migration::stream;

constexpr std::int64_t kFar = std::int64_t{1} << 61;

constexpr auto kMemhpSelector =
    vmstate<MemoryHotplug>("memory hotplug state", {}, field<&MemoryHotplug::selector>("selector"));

constexpr auto kTcoRegs = vmstate<TcoState>(
    "tco io device status", {}, field<&TcoState::rld>("tco.rld"), field<&TcoState::din>("tco.din"),
    field<&TcoState::dout>("tco.dout"), field<&TcoState::sts1>("tco.sts1"),
    field<&TcoState::sts2>("tco.sts2"), field<&TcoState::cnt1>("tco.cnt1"),
    field<&TcoState::cnt2>("tco.cnt2"), field<&TcoState::msg1>("tco.msg1"),
    field<&TcoState::msg2>("tco.msg2"), field<&TcoState::wdcnt>("tco.wdcnt"),
    field<&TcoState::tmr>("tco.tmr"), field<&TcoState::sw_irq_gen>("sw_irq_gen"),
    field<&TcoState::timer>("tco_timer"), field<&TcoState::expire_time>("expire_time"),
    field<&TcoState::timeouts>("timeouts_no"));

constexpr auto kSlots =
    vmstate<PciHotplugSlots>("acpi_pcihp_pci_status", {}, field<&PciHotplugSlots::up>("up"),
                             field<&PciHotplugSlots::down>("down"));

constexpr auto kMemhp = vmstate<PmState>(
    "ich9_pm/memhp", {}, structure<&PmState::memhp>("acpi_memory_hotplug", kMemhpSelector));
constexpr auto kTco =
    vmstate<PmState>("ich9_pm/tco", {}, structure<&PmState::tco>("tco_regs", kTcoRegs));
constexpr auto kPcihp = vmstate<PmState>(
    "ich9_pm/pcihp", {}, field<&PmState::hotplug_select>("acpi_pci_hotplug.hotplug_select"),
    structure<&PmState::hotplug>("acpi_pci_hotplug.acpi_pcihp_pci_status", kSlots),
    field<&PmState::acpi_index>("acpi_pci_hotplug.acpi_index"));

}  // namespace

constexpr VMStateDef<PmState, 12> kPmState = vmstate<PmState>(
    "ich9_pm", {}, field<&PmState::status>("acpi_regs.pm1.evt.sts"),
    field<&PmState::enable>("acpi_regs.pm1.evt.en"),
    field<&PmState::control>("acpi_regs.pm1.cnt.cnt"),
    field<&PmState::timer>("acpi_regs.tmr.timer"),
    field<&PmState::overflow_time>("acpi_regs.tmr.overflow_time").in_range(-kFar, kFar),
    field<&PmState::gpe_status>("acpi_regs.gpe.sts"),
    field<&PmState::gpe_enable>("acpi_regs.gpe.en"), field<&PmState::smi_enable>("smi_en"),
    field<&PmState::smi_status>("smi_sts"), subsection(kMemhp), subsection(kTco),
    subsection(kPcihp));
static_assert(kPmState.well_formed());

}  // namespace godwit::hw
