// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How the SATA controller migrates.
#include "hw/ide/ahci.h"

namespace godwit::hw {
namespace {

using namespace migration::stream;
using P = AhciPortState;
using R = AhciPortRegs;

constexpr auto kBus = vmstate<IdeBusState>("ide_bus", {}, field<&IdeBusState::cmd>("cmd"),
                                           field<&IdeBusState::unit>("unit").in_range(0, 1));

constexpr auto kNcq = vmstate<NcqState>(
    "ncq state", {}, field<&NcqState::sector_count>("sector_count"), field<&NcqState::lba>("lba"),
    field<&NcqState::tag>("tag"), field<&NcqState::cmd>("cmd"), field<&NcqState::slot>("slot"),
    field<&NcqState::used>("used"), field<&NcqState::halt>("halt"));

constexpr auto kPort = vmstate<P>(
    "ahci port", {}, structure<&P::bus>("port", kBus),
    structure<&P::drive>("port.ifs[0]", kIdeDriveState), field<&P::port_state>("port_state"),
    field<&P::finished>("finished"), field<&P::regs, &R::lst_addr>("port_regs.lst_addr"),
    field<&P::regs, &R::lst_addr_hi>("port_regs.lst_addr_hi"),
    field<&P::regs, &R::fis_addr>("port_regs.fis_addr"),
    field<&P::regs, &R::fis_addr_hi>("port_regs.fis_addr_hi"),
    field<&P::regs, &R::irq_stat>("port_regs.irq_stat"),
    field<&P::regs, &R::irq_mask>("port_regs.irq_mask"), field<&P::regs, &R::cmd>("port_regs.cmd"),
    field<&P::regs, &R::tfdata>("port_regs.tfdata"), field<&P::regs, &R::sig>("port_regs.sig"),
    field<&P::regs, &R::scr_stat>("port_regs.scr_stat"),
    field<&P::regs, &R::scr_ctl>("port_regs.scr_ctl"),
    field<&P::regs, &R::scr_err>("port_regs.scr_err"),
    field<&P::regs, &R::scr_act>("port_regs.scr_act"),
    field<&P::regs, &R::cmd_issue>("port_regs.cmd_issue"),
    field<&P::done_first_drq>("done_first_drq"), field<&P::busy_slot>("busy_slot").in_range(-1, 31),
    field<&P::init_d2h_sent>("init_d2h_sent"), structure<&P::ncq>("ncq_tfs", kNcq));
static_assert(kPort.well_formed());

constexpr auto kAhci = vmstate<AhciState>(
    "ahci", {}, structure<&AhciState::dev>("dev", kPort),
    field<&AhciState::cap>("control_regs.cap"), field<&AhciState::ghc>("control_regs.ghc"),
    field<&AhciState::irqstatus>("control_regs.irqstatus"),
    field<&AhciState::impl>("control_regs.impl"),
    field<&AhciState::version>("control_regs.version"), field<&AhciState::idp_index>("idp_index"),
    field<&AhciState::ports>("ports").equal());
static_assert(kAhci.well_formed());

constexpr auto kSection =
    vmstate<AhciSection>("ich9_ahci", {}, structure<&AhciSection::pci>("parent_obj", kPciState),
                         structure<&AhciSection::ahci>("ahci", kAhci));
static_assert(kSection.well_formed());

}  // namespace

const VMStateOf<AhciSection>& kAhciSection = kSection;

}  // namespace godwit::hw
