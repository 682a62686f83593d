// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/intc/i8259.h"

#include <cstring>
#include <linux/kvm.h>

namespace godwit::hw {

void KvmPic::from_kernel(const Blob& raw)
{
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
}

void KvmPic::to_kernel(Blob& raw) const
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
    std::memcpy(raw.data(), &k, sizeof k);
}

void KvmPic::reset(system::ResetKind)
{
    state_ = {};
    (void)put();  // the values of a reset are always legal
}

}  // namespace godwit::hw
