// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/clock.h"

#include "migration/stream/registry.h"
#include "system/vm.h"

namespace godwit::accel::kvm {

Result<void> KvmClock::read()
{
    if (valid_)
        return {};
    kvm_clock_data data{};
    GW_TRY(GW_KVM(machine_.fd(), KVM_GET_CLOCK, &data));
    state_.clock = data.clock;
    state_.reliable = (machine_.extension(KVM_CAP_ADJUST_CLOCK) & KVM_CLOCK_TSC_STABLE) != 0;
    return {};
}

Result<void> KvmClock::handle(bool running)
{
    if (!running) {
        stopped_();
        GW_TRY(read());
        valid_ = true;
        return {};
    }
    if (!valid_)
        return {};
    valid_ = false;
    kvm_clock_data data{};
    data.clock = state_.clock;
    GW_TRY(GW_KVM(machine_.fd(), KVM_SET_CLOCK, &data));
    return {};
}

Result<std::unique_ptr<KvmClock>> KvmClock::create(system::Vm& vm, const KvmMachine& machine,
                                                   std::function<void()> stopped)
{
    std::unique_ptr<KvmClock> clock(new KvmClock(machine));
    clock->stopped_ = std::move(stopped);
    KvmClock* self = clock.get();
    clock->section_ =
        GW_TRY(vm.state_registry().add(kvmclock_vmstate(), self->state_, {.instance_id = 0},
                                       {.pre_save = [self] { return self->read(); },
                                        .post_load =
                                            [self](migration::stream::Version) {
                                                self->valid_ = true;
                                                return ok();
                                            }}));
    clock->handler_ = vm.run_state().add(
        {.priority = 0,
         .name = "kvmclock",
         .prepare = {},
         .handle = [self](bool running, system::RunState) { return self->handle(running); }});
    return clock;
}

}  // namespace godwit::accel::kvm
