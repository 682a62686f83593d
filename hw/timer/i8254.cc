// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/timer/i8254.h"

#include "hw/core/muldiv.h"
#include "hw/register_private.h"
#include "migration/stream/registry.h"
#include "system/property.h"
#include "system/vm.h"
#include "util/json.h"

#include <algorithm>

namespace godwit::hw {
namespace {

// Which byte of a counter is accessed next; as in the kernel's structure.
constexpr std::uint8_t kHigh = 2;
constexpr std::uint8_t kWordLow = 3;
constexpr std::uint8_t kWordHigh = 4;

// Times further away than this would overflow in the arithmetic of counters.
constexpr std::int64_t kFarNs = std::int64_t{1} << 61;

using namespace migration::stream;

constexpr auto kChannel = vmstate<PitChannel>(
    "pit channel", {.current = 2, .oldest = 2},
    field<&PitChannel::count>("count").in_range(1, 0x10000),
    field<&PitChannel::latched_count>("latched_count"),
    field<&PitChannel::count_latched>("count_latched").in_range(0, 4),
    field<&PitChannel::status_latched>("status_latched"), field<&PitChannel::status>("status"),
    field<&PitChannel::read_state>("read_state").in_range(0, 4),
    field<&PitChannel::write_state>("write_state").in_range(0, 4),
    field<&PitChannel::write_latch>("write_latch"),
    field<&PitChannel::rw_mode>("rw_mode").in_range(0, 4),
    field<&PitChannel::mode>("mode").in_range(0, 5), field<&PitChannel::bcd>("bcd"),
    field<&PitChannel::gate>("gate"),
    field<&PitChannel::count_load_time>("count_load_time").in_range(-kFarNs, kFarNs),
    field<&PitChannel::next_transition_time>("next_transition_time").in_range(-kFarNs, kFarNs));

constexpr auto kPit =
    vmstate<PitState>("i8254",
                      {.current = 3,
                       .oldest = 2,
                       .pre_save =
                           [](PitState& s) {
                               s.irq_transition_time = s.channels[0].next_transition_time;
                               return ok();
                           }},
                      field<&PitState::irq_disabled>("channels[0].irq_disabled").since(3),
                      structure<&PitState::channels>("channels", kChannel),
                      field<&PitState::irq_transition_time>("channels[0].next_transition_time")
                          .in_range(-kFarNs, kFarNs));
static_assert(kPit.well_formed());

using SpeakerState = PcSpeaker::State;
constexpr auto kSpeaker =
    vmstate<SpeakerState>("pcspk", {}, field<&SpeakerState::data_on>("data_on"),
                          field<&SpeakerState::dummy_refresh_clock>("dummy_refresh_clock"));

}  // namespace

const VMStateOf<PitState>& kPitState = kPit;

Pit::Pit()
{
    add_gpio_in("", 1, [this](unsigned, int level) { disable_irq(level != 0); });
    add_gpio_out("", 1);
}

std::int64_t Pit::now() const
{
    return vm().clocks().now_ns(system::ClockType::Virtual);
}

// --- output 0 ----------------------------------------------------------------------------------

void Pit::update_irq(std::int64_t at)
{
    PitChannel& channel = state_.channels[0];
    if (channel.next_transition_time == -1 || state_.irq_disabled != 0) {
        timer_->disarm();
        return;
    }
    const std::int64_t next = channel.next_transition(at);
    gpio_out("", 0).set(channel.out(at) ? 1 : 0);
    channel.next_transition_time = next;
    if (next != -1)
        timer_->arm_at_ns(next);
    else
        timer_->disarm();
}

void Pit::disable_irq(bool on)
{
    state_.irq_disabled = on ? 1 : 0;
    if (on) {
        timer_->disarm();
    } else {
        state_.channels[0].next_transition_time = now();
        update_irq(now());
    }
}

void Pit::load_count(unsigned n, std::uint32_t count)
{
    PitChannel& channel = state_.channels[n];
    channel.count = count == 0 ? 0x10000 : static_cast<std::int32_t>(count);
    channel.count_load_time = now();
    if (n == 0) {
        channel.next_transition_time = channel.count_load_time;
        update_irq(channel.count_load_time);
    }
}

void Pit::set_gate(unsigned n, bool on)
{
    PitChannel& channel = state_.channels[n];
    const bool rising = on && channel.gate == 0;
    channel.gate = on ? 1 : 0;
    const bool restarts =
        channel.mode == 1 || channel.mode == 2 || channel.mode == 3 || channel.mode == 5;
    if (!rising || !restarts)
        return;
    channel.count_load_time = now();
    if (n == 0) {
        channel.next_transition_time = channel.count_load_time;
        update_irq(channel.count_load_time);
    }
}

bool Pit::out(unsigned channel)
{
    return state_.channels[channel].out(now());
}

// --- ports -------------------------------------------------------------------------------------

void Pit::latch(PitChannel& channel)
{
    if (channel.count_latched != 0)
        return;
    channel.latched_count = channel.value(now());
    channel.count_latched = channel.rw_mode;
}

void Pit::write_control(std::uint8_t value)
{
    const unsigned n = value >> 6;
    if (n == 3) {  // read-back
        for (unsigned i = 0; i < 3; ++i) {
            PitChannel& channel = state_.channels[i];
            if ((value & (2u << i)) == 0)
                continue;
            if ((value & 0x20) == 0)
                latch(channel);
            if ((value & 0x10) == 0 && channel.status_latched == 0) {
                channel.status = static_cast<std::uint8_t>((channel.out(now()) ? 0x80 : 0) |
                                                           (channel.rw_mode & 3) << 4 |
                                                           channel.mode << 1 | channel.bcd);
                channel.status_latched = 1;
            }
        }
        return;
    }
    PitChannel& channel = state_.channels[n];
    const std::uint8_t access = value >> 4 & 3;
    if (access == 0) {
        latch(channel);
        return;
    }
    channel.rw_mode = channel.read_state = channel.write_state = access;
    const std::uint8_t mode = value >> 1 & 7;
    channel.mode = mode > 5 ? mode & 3 : mode;
    channel.bcd = value & 1;
}

void Pit::write(system::GuestAddr offset, std::uint64_t value, unsigned)
{
    const auto byte = static_cast<std::uint8_t>(value);
    if (offset >= 3) {
        write_control(byte);
        return;
    }
    const auto n = static_cast<unsigned>(offset);
    PitChannel& channel = state_.channels[n];
    switch (channel.write_state) {
    case kHigh:
        load_count(n, std::uint32_t{byte} << 8);
        break;
    case kWordLow:
        channel.write_latch = byte;
        channel.write_state = kWordHigh;
        break;
    case kWordHigh:
        channel.write_state = kWordLow;
        load_count(n, channel.write_latch | std::uint32_t{byte} << 8);
        break;
    default:
        load_count(n, byte);
        break;
    }
}

std::uint64_t Pit::read(system::GuestAddr offset, unsigned)
{
    if (offset >= 3)
        return 0;
    PitChannel& channel = state_.channels[offset];
    if (std::exchange(channel.status_latched, std::uint8_t{0}) != 0)
        return channel.status;
    switch (channel.count_latched) {
    case 0:
        break;
    case kHigh:
        channel.count_latched = 0;
        return channel.latched_count >> 8;
    case kWordLow:
        channel.count_latched = kHigh;
        return channel.latched_count & 0xff;
    default:
        channel.count_latched = 0;
        return channel.latched_count & 0xff;
    }
    const std::uint16_t count = channel.value(now());
    switch (channel.read_state) {
    case kHigh:
        return count >> 8;
    case kWordLow:
        channel.read_state = kWordHigh;
        return count & 0xff;
    case kWordHigh:
        channel.read_state = kWordLow;
        return count >> 8;
    default:
        return count & 0xff;
    }
}

// --- life --------------------------------------------------------------------------------------

Result<void> Pit::realize()
{
    timer_ = std::make_unique<system::Timer>(vm().clocks(), system::ClockType::Virtual, [this] {
        // One transition after the other, but not for a past that nobody remembers.
        const std::int64_t due = state_.channels[0].next_transition_time;
        update_irq(std::max(due, now() - kNsPerSec));
    });
    GW_TRY(connect_irq(0, 0));
    add_ports("pit", static_cast<std::uint16_t>(iobase_), 4, *this);
    return {};
}

void Pit::unrealize() noexcept
{
    IsaDevice::unrealize();
    timer_.reset();
}

void Pit::reset(system::ResetKind)
{
    const std::int64_t at = now();
    state_ = PitState{};
    for (unsigned n = 0; n < 3; ++n) {
        state_.channels[n].gate = n != 2 ? 1 : 0;
        state_.channels[n].count_load_time = at;
    }
    // No edge until software loads the counter or half a period passes.
    state_.channels[0].next_transition_time = state_.channels[0].next_transition(at);
    timer_->arm_at_ns(state_.channels[0].next_transition_time);
}

Result<void> Pit::register_state(StateRegistry& registry)
{
    keep(GW_TRY(registry.add(kPitState, state_, {}, {.post_load = [this](Version) {
                                 PitChannel& channel = state_.channels[0];
                                 channel.next_transition_time = state_.irq_transition_time;
                                 if (channel.next_transition_time != -1 && state_.irq_disabled == 0)
                                     timer_->arm_at_ns(channel.next_transition_time);
                                 else
                                     timer_->disarm();
                                 return ok();
                             }})));
    return {};
}

// --- the speaker -------------------------------------------------------------------------------

Result<void> PcSpeaker::realize()
{
    add_ports("pcspk", static_cast<std::uint16_t>(iobase_), 1, *this);
    return {};
}

std::uint64_t PcSpeaker::read(system::GuestAddr, unsigned)
{
    state_.dummy_refresh_clock ^= 1;  // software waits for this bit to change
    const bool gate = pit_ != nullptr && pit_->gate(2);
    const bool out = pit_ != nullptr && pit_->out(2);
    return (gate ? 1u : 0u) | unsigned{state_.data_on} << 1 |
           unsigned{state_.dummy_refresh_clock} << 4 | (out ? 0x20u : 0u);
}

void PcSpeaker::write(system::GuestAddr, std::uint64_t value, unsigned)
{
    state_.data_on = value >> 1 & 1;
    if (pit_ != nullptr)
        pit_->set_gate(2, (value & 1) != 0);
}

Result<void> PcSpeaker::register_state(StateRegistry& registry)
{
    keep(GW_TRY(registry.add(kSpeaker, state_)));
    return {};
}

// --- making them -------------------------------------------------------------------------------

Result<PitDevice*> add_pit(system::Vm& vm, IsaBus& bus)
{
    system::KernelIrqchip* irqchip =
        vm.accelerator() != nullptr ? vm.accelerator()->irqchip() : nullptr;
    const bool kernel = irqchip != nullptr && irqchip->has_pit();
    return static_cast<PitDevice*>(
        GW_TRY(vm.devices().add_builtin(kernel ? "kvm-pit" : "isa-pit", &bus, Json::object())));
}

Result<void> register_i8254(system::TypeRegistry& types)
{
    using system::property;
    GW_TRY(types.add({.name = "isa-pit",
                      .parent = "isa-device",
                      .user_creatable = false,
                      .bus = "ISA",
                      .description = "8254 interval timer",
                      .properties = {property<&Pit::iobase_>("iobase", 0x40)},
                      .create = [] { return std::make_unique<Pit>(); }}));
    GW_TRY(types.add({.name = "kvm-pit",
                      .parent = "isa-device",
                      .user_creatable = false,
                      .bus = "ISA",
                      .description = "8254 interval timer in the kernel",
                      .properties = {property<&KvmPit::iobase_>("iobase", 0x40)},
                      .create = [] { return std::make_unique<KvmPit>(); }}));
    return types.add({.name = "isa-pcspk",
                      .parent = "isa-device",
                      .user_creatable = false,
                      .bus = "ISA",
                      .description = "speaker port",
                      .properties = {property<&PcSpeaker::iobase_>("iobase", 0x61)},
                      .create = [] { return std::make_unique<PcSpeaker>(); }});
}

}  // namespace godwit::hw
