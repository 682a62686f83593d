// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/intc/i8259.h"
#include "migration/stream/registry.h"
#include "system/vm.h"

#include <cstring>
#include <linux/kvm.h>

namespace godwit::hw {
namespace {

using system::KernelIrqchip;

KernelIrqchip::Chip chip_of(bool master)
{
    return master ? KernelIrqchip::Chip::PicMaster : KernelIrqchip::Chip::PicSlave;
}

}  // namespace

Result<void> KvmPic::realize()
{
    irqchip_ = vm().accelerator() != nullptr ? vm().accelerator()->irqchip() : nullptr;
    if (irqchip_ == nullptr)
        return Error(Errc::Unsupported,
                     "kvm-i8259 needs an accelerator with kernel interrupt chips");
    return {};
}

Result<void> KvmPic::get()
{
    std::array<std::byte, 512> raw{};
    GW_TRY(irqchip_->get(chip_of(master_), raw));
    kvm_pic_state k;
    std::memcpy(&k, raw.data(), sizeof k);
    state_ = PicState{.last_irr = k.last_irr,
                      .irr = k.irr,
                      .imr = k.imr,
                      .isr = k.isr,
                      .priority_add = k.priority_add,
                      .irq_base = k.irq_base,
                      .read_reg_select = k.read_reg_select,
                      .poll = k.poll,
                      .special_mask = k.special_mask,
                      .init_state = k.init_state,
                      .auto_eoi = k.auto_eoi,
                      .rotate_on_auto_eoi = k.rotate_on_auto_eoi,
                      .special_fully_nested_mode = k.special_fully_nested_mode,
                      .init4 = k.init4,
                      .elcr = k.elcr};
    return {};
}

Result<void> KvmPic::put()
{
    const kvm_pic_state k{.last_irr = state_.last_irr,
                          .irr = state_.irr,
                          .imr = state_.imr,
                          .isr = state_.isr,
                          .priority_add = state_.priority_add,
                          .irq_base = state_.irq_base,
                          .read_reg_select = state_.read_reg_select,
                          .poll = state_.poll,
                          .special_mask = state_.special_mask,
                          .init_state = state_.init_state,
                          .auto_eoi = state_.auto_eoi,
                          .rotate_on_auto_eoi = state_.rotate_on_auto_eoi,
                          .special_fully_nested_mode = state_.special_fully_nested_mode,
                          .init4 = state_.init4,
                          .elcr = state_.elcr,
                          .elcr_mask = elcr_mask_};
    std::array<std::byte, 512> raw{};
    std::memcpy(raw.data(), &k, sizeof k);
    return irqchip_->set(chip_of(master_), raw);
}

void KvmPic::reset(system::ResetKind)
{
    state_ = {};
    (void)put();  // the values of a reset are always legal
}

void KvmPic::input(unsigned n, int level)
{
    irqchip_->set_gsi(master_ ? n : n + 8, level);
}

Result<void> KvmPic::register_state(migration::stream::StateRegistry& registry)
{
    keep(GW_TRY(registry.add(kPicState, state_, {},
                             {.pre_save = [this] { return get(); },
                              .post_load = [this](migration::stream::Version) { return put(); }})));
    return {};
}

}  // namespace godwit::hw
