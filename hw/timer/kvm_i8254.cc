// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/timer/i8254.h"
#include "migration/stream/registry.h"
#include "system/vm.h"

#include <cstring>
#include <ctime>
#include <linux/kvm.h>

namespace godwit::hw {

KvmPit::KvmPit()
{
    add_gpio_in("", 1, [this](unsigned, int level) {
        if (get())
            state_.irq_disabled = level != 0 ? 1 : 0;
        (void)put();
    });
    add_gpio_out("", 1);
}

Result<void> KvmPit::realize()
{
    irqchip_ = vm().accelerator() != nullptr ? vm().accelerator()->irqchip() : nullptr;
    if (irqchip_ == nullptr || !irqchip_->has_pit())
        return Error(Errc::Unsupported, "kvm-pit needs an accelerator with a kernel timer");
    run_state_ = vm().run_state().add(
        {.name = "kvm-pit", .prepare = {}, .handle = [this](bool running, system::RunState) {
             return run_state(running);
         }});
    return {};
}

void KvmPit::unrealize() noexcept
{
    run_state_.reset();
    IsaDevice::unrealize();
}

// The guest's clock stands while it is stopped, the kernel's does not.
std::int64_t KvmPit::kernel_offset() const
{
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const std::int64_t host = now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
    return host - vm().clocks().now_ns(system::ClockType::Virtual);
}

Result<void> KvmPit::get()
{
    if (!fresh_)  // stopped: what was read then still holds
        return {};
    kvm_pit_state2 k{};
    GW_TRY(irqchip_->get_pit(std::as_writable_bytes(std::span(&k, 1))));
    const std::int64_t offset = kernel_offset();
    state_.irq_disabled = (k.flags & KVM_PIT_FLAGS_HPET_LEGACY) != 0 ? 1 : 0;
    for (unsigned n = 0; n < 3; ++n) {
        const kvm_pit_channel_state& from = k.channels[n];
        PitChannel& to = state_.channels[n];
        to = PitChannel{.count = static_cast<std::int32_t>(from.count == 0 ? 0x10000 : from.count),
                        .latched_count = from.latched_count,
                        .count_latched = from.count_latched,
                        .status_latched = from.status_latched,
                        .status = from.status,
                        .read_state = from.read_state,
                        .write_state = from.write_state,
                        .write_latch = from.write_latch,
                        .rw_mode = from.rw_mode,
                        .mode = from.mode,
                        .bcd = from.bcd,
                        .gate = from.gate,
                        .count_load_time = from.count_load_time - offset};
    }
    const std::int64_t now = vm().clocks().now_ns(system::ClockType::Virtual);
    state_.channels[0].next_transition_time = state_.channels[0].next_transition(now);
    return {};
}

Result<void> KvmPit::put()
{
    const std::int64_t offset = kernel_offset();
    kvm_pit_state2 k{};
    k.flags = state_.irq_disabled != 0 ? KVM_PIT_FLAGS_HPET_LEGACY : 0;
    for (unsigned n = 0; n < 3; ++n) {
        const PitChannel& from = state_.channels[n];
        kvm_pit_channel_state& to = k.channels[n];
        to.count = static_cast<std::uint32_t>(from.count);
        to.latched_count = from.latched_count;
        to.count_latched = from.count_latched;
        to.status_latched = from.status_latched;
        to.status = from.status;
        to.read_state = from.read_state;
        to.write_state = from.write_state;
        to.write_latch = from.write_latch;
        to.rw_mode = from.rw_mode;
        to.mode = from.mode;
        to.bcd = from.bcd;
        to.gate = from.gate;
        to.count_load_time = from.count_load_time + offset;
    }
    return irqchip_->set_pit(std::as_bytes(std::span(&k, 1)));
}

Result<void> KvmPit::run_state(bool running)
{
    if (running) {
        fresh_ = true;
        return put();
    }
    auto result = get();
    fresh_ = false;
    return result;
}

bool KvmPit::gate(unsigned channel)
{
    return get() && state_.channels[channel].gate != 0;
}

void KvmPit::set_gate(unsigned channel, bool on)
{
    if (!get())
        return;
    state_.channels[channel].gate = on ? 1 : 0;
    if (on)
        state_.channels[channel].count_load_time = vm().clocks().now_ns(system::ClockType::Virtual);
    (void)put();
}

bool KvmPit::out(unsigned channel)
{
    return get() && state_.channels[channel].out(vm().clocks().now_ns(system::ClockType::Virtual));
}

void KvmPit::reset(system::ResetKind)
{
    const std::int64_t now = vm().clocks().now_ns(system::ClockType::Virtual);
    state_ = PitState{};
    for (unsigned n = 0; n < 3; ++n) {
        state_.channels[n].gate = n != 2 ? 1 : 0;
        state_.channels[n].count_load_time = now;
    }
    (void)put();
}

Result<void> KvmPit::register_state(migration::stream::StateRegistry& registry)
{
    keep(GW_TRY(registry.add(kPitState, state_, {},
                             {.pre_save = [this] { return get(); },
                              .post_load =
                                  [this](migration::stream::Version) {
                                      state_.channels[0].next_transition_time =
                                          state_.irq_transition_time;
                                      fresh_ = false;  // written when the guest starts
                                      return ok();
                                  }})));
    return {};
}

}  // namespace godwit::hw
