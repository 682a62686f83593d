// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/core/muldiv.h"
#include "hw/register_private.h"
#include "hw/rtc.h"
#include "migration/stream/registry.h"
#include "system/property.h"
#include "system/vm.h"

#include <algorithm>

namespace godwit::hw {
namespace {

constexpr std::uint8_t kSecondsAlarm = 1;
constexpr std::uint8_t kMinutesAlarm = 3;
constexpr std::uint8_t kHoursAlarm = 5;
constexpr std::uint8_t kYear = 9;
constexpr std::uint8_t kRegA = 10;
constexpr std::uint8_t kRegB = 11;
constexpr std::uint8_t kRegC = 12;
constexpr std::uint8_t kRegD = 13;
constexpr std::uint8_t kCentury = 0x32;
constexpr std::uint8_t kPs2Century = 0x37;

constexpr std::uint8_t kUip = 0x80;  // register A
constexpr std::uint8_t kDivider = 0x70;
constexpr std::uint8_t kSet = 0x80;  // register B
constexpr std::uint8_t kUie = 0x10;
constexpr std::uint8_t kPeriodic =
    0x40;  // the flags stand in register C where their enables do in B
constexpr std::uint8_t kAlarm = 0x20;
constexpr std::uint8_t kUpdate = 0x10;
constexpr std::uint8_t kSquareWave = 0x08;
constexpr std::uint8_t kAnyFlag = kPeriodic | kAlarm | kUpdate;
constexpr std::uint8_t kIrq = 0x80;
constexpr std::uint8_t kValidRam = 0x80;  // register D

constexpr std::int64_t kHz = 32768;
constexpr std::int64_t kUipNs = 8 * kNsPerSec / kHz;  // set 244 us before the registers change
constexpr std::int64_t kFarNs = std::int64_t{1} << 61;

using namespace migration::stream;

constexpr auto kReinject = vmstate<RtcState>(
    "mc146818rtc/irq_reinject_on_ack_count",
    {.needed = [](const RtcState& s) { return s.irq_reinject_on_ack_count != 0; }},
    field<&RtcState::irq_reinject_on_ack_count>("irq_reinject_on_ack_count"));

constexpr auto kRtc = vmstate<RtcState>(
    "mc146818rtc",
    {.current = 3,
     .oldest = 1,
     .pre_load =
         [](RtcState& s) {
             s.irq_reinject_on_ack_count = 0;
             return ok();
         }},
    buffer<&RtcState::cmos>("cmos_data"), field<&RtcState::cmos_index>("cmos_index"),
    unused<RtcState>(28, "unused[0]"), field<&RtcState::periodic_timer>("periodic_timer"),
    field<&RtcState::next_periodic_time>("next_periodic_time").in_range(-kFarNs, kFarNs),
    unused<RtcState>(24, "unused[1]"), field<&RtcState::irq_coalesced>("irq_coalesced").since(2),
    field<&RtcState::period>("period").since(2), field<&RtcState::base_rtc>("base_rtc").since(3),
    field<&RtcState::last_update>("last_update").since(3).in_range(0, kFarNs),
    field<&RtcState::offset>("offset").since(3).in_range(-kFarNs, kFarNs),
    field<&RtcState::update_timer>("update_timer").since(3),
    field<&RtcState::next_alarm_time>("next_alarm_time").since(3), subsection(kReinject));
static_assert(kRtc.well_formed());

constexpr bool is_time(std::uint8_t index)
{
    return index == kCentury || (index <= kYear && index != kSecondsAlarm &&
                                 index != kMinutesAlarm && index != kHoursAlarm);
}

// gmtime() must be able to say the year; what lies beyond is taken as the end of time.
constexpr std::int64_t kLastSecond = std::int64_t{1} << 32;

}  // namespace

Rtc::Rtc()
{
    add_gpio_out("", 1);
    state_.cmos[kRegA] = 0x26;
    state_.cmos[kRegB] = 0x02;
    state_.cmos[kRegD] = kValidRam;
}

Rtc::~Rtc() = default;

void Rtc::set_memory_sizes(std::uint64_t below_4g, std::uint64_t above_4g)
{
    constexpr std::uint64_t kib = 1024;
    constexpr std::uint64_t mib = 1024 * kib;
    const auto put = [this](std::uint8_t at, std::uint64_t value, unsigned bytes) {
        for (unsigned n = 0; n < bytes; ++n)
            set_cmos(static_cast<std::uint8_t>(at + n),
                     static_cast<std::uint8_t>(value >> (8 * n)));
    };
    const std::uint64_t base = std::min<std::uint64_t>(below_4g / kib, 640);
    const std::uint64_t extended =
        below_4g > mib ? std::min<std::uint64_t>(below_4g / kib - kib, 65535) : 0;
    const std::uint64_t high =
        below_4g > 16 * mib ? std::min<std::uint64_t>((below_4g - 16 * mib) / (64 * kib), 65535)
                            : 0;
    put(0x15, base, 2);
    put(0x17, extended, 2);
    put(0x30, extended, 2);
    put(0x34, high, 2);
    put(0x5b, above_4g / (64 * kib), 3);
}

// --- time --------------------------------------------------------------------------------------

std::int64_t Rtc::now() const
{
    return vm().clocks().now_ns(system::ClockType::Host);
}

std::int64_t Rtc::guest_ns() const
{
    const auto base = static_cast<std::int64_t>(state_.base_rtc);
    const std::int64_t seconds = std::clamp(base, -kLastSecond, kLastSecond);
    return seconds * kNsPerSec + (now() - static_cast<std::int64_t>(state_.last_update)) +
           state_.offset;
}

bool Rtc::running() const
{
    return (state_.cmos[kRegB] & kSet) == 0 && (state_.cmos[kRegA] & kDivider) <= 0x20;
}

bool Rtc::update_in_progress() const
{
    if (!running())
        return false;
    const std::int64_t in_second = (guest_ns() % kNsPerSec + kNsPerSec) % kNsPerSec;
    return in_second >= kNsPerSec - kUipNs;
}

// --- interrupts --------------------------------------------------------------------------------

void Rtc::raise(std::uint8_t flags)
{
    state_.cmos[kRegC] |= flags;
    if ((state_.cmos[kRegC] & state_.cmos[kRegB] & kAnyFlag) != 0) {
        state_.cmos[kRegC] |= kIrq;
        gpio_out("", 0).raise();
    }
}

// Period in ticks of 32768 Hz; 0 is off.
void Rtc::schedule_periodic(bool restart)
{
    unsigned code = state_.cmos[kRegA] & 0x0f;
    const bool wanted = (state_.cmos[kRegB] & (kPeriodic | kSquareWave)) != 0;
    if (code == 0 || !wanted || (state_.cmos[kRegA] & kDivider) > 0x20) {
        state_.period = 0;
        periodic_->disarm();
        return;
    }
    if (code <= 2)
        code += 7;
    const std::int64_t period = std::int64_t{1} << (code - 1);
    if (!restart && state_.period == period && periodic_->armed())
        return;
    state_.period = static_cast<std::uint32_t>(period);
    const std::int64_t ticks = muldiv(now(), kHz, kNsPerSec);
    const std::int64_t next = (ticks & ~(period - 1)) + period;
    state_.next_periodic_time = muldiv(next, kNsPerSec, kHz) + 1;
    periodic_->arm_at_ns(state_.next_periodic_time);
}

void Rtc::periodic_expired()
{
    schedule_periodic(true);
    raise(kPeriodic);
}

// Wakes for the next second only while nobody has seen the flag it sets, else for the alarm.
void Rtc::schedule_update()
{
    if (!running()) {
        update_->disarm();
        return;
    }
    const std::int64_t guest = guest_ns();
    const std::int64_t seconds = guest / kNsPerSec;
    const auto alarm = next_alarm(seconds);
    std::optional<std::int64_t> wake;
    if ((state_.cmos[kRegC] & kUpdate) == 0)
        wake = seconds + 1;
    else if ((state_.cmos[kRegC] & kAlarm) == 0)
        wake = alarm;
    const auto host_time = [&](std::int64_t at) { return now() + (at * kNsPerSec - guest); };
    state_.next_alarm_time =
        alarm ? static_cast<std::uint64_t>(host_time(*alarm)) : ~std::uint64_t{0};
    if (wake)
        update_->arm_at_ns(host_time(*wake));
    else
        update_->disarm();
}

void Rtc::update_expired()
{
    std::uint8_t flags = kUpdate;
    if (static_cast<std::uint64_t>(now()) >= state_.next_alarm_time)
        flags |= kAlarm;
    raise(flags);
    schedule_update();
}

// --- registers ---------------------------------------------------------------------------------

void Rtc::write_a(std::uint8_t value)
{
    auto& cmos = state_.cmos;
    const bool was_stopped = (cmos[kRegA] & kDivider) > 0x20;
    const bool stops = (value & kDivider) > 0x20;
    if (!was_stopped && stops && running())
        show_time();
    cmos[kRegA] = static_cast<std::uint8_t>((value & ~kUip) | (cmos[kRegA] & kUip));
    if (was_stopped && !stops && (cmos[kRegB] & kSet) == 0) {
        state_.offset = kNsPerSec / 2;  // the first update comes half a second after the restart
        take_time();
    }
    schedule_periodic(false);
    schedule_update();
}

void Rtc::write_b(std::uint8_t value)
{
    auto& cmos = state_.cmos;
    const bool was_set = (cmos[kRegB] & kSet) != 0;
    if ((value & kSet) != 0) {
        if (running())
            show_time();
        value &= static_cast<std::uint8_t>(~kUie);
        state_.offset = 0;
        cmos[kRegB] = value;
    } else {
        const bool was_running = running();
        const std::int64_t before = was_running ? guest_ns() : 0;
        if (was_set && (cmos[kRegA] & kDivider) <= 0x20)
            take_time();  // in the format in which the guest wrote it
        else if (was_running)
            state_.offset = before % kNsPerSec;
        if (was_running) {
            state_.base_rtc = static_cast<std::uint64_t>(before / kNsPerSec);
            state_.last_update = static_cast<std::uint64_t>(now());
        }
        cmos[kRegB] = value;
    }
    if ((cmos[kRegC] & cmos[kRegB] & kAnyFlag) != 0) {
        raise(0);
    } else {
        cmos[kRegC] &= static_cast<std::uint8_t>(~kIrq);
        gpio_out("", 0).lower();
    }
    schedule_periodic(false);
    schedule_update();
}

void Rtc::write_index(std::uint8_t index, std::uint8_t value)
{
    if (index == kPs2Century)
        index = kCentury;
    switch (index) {
    case kRegA:
        write_a(value);
        return;
    case kRegB:
        write_b(value);
        return;
    case kRegC:
    case kRegD:
        return;  // read-only
    default:
        break;
    }
    if (is_time(index)) {
        if (running())
            show_time();
        state_.cmos[index] = value;
        if (running()) {
            state_.offset = (guest_ns() % kNsPerSec + kNsPerSec) % kNsPerSec;
            take_time();
            schedule_update();
        }
        return;
    }
    state_.cmos[index] = value;
    if (index == kSecondsAlarm || index == kMinutesAlarm || index == kHoursAlarm)
        schedule_update();
}

std::uint8_t Rtc::read_c()
{
    const std::uint8_t value = std::exchange(state_.cmos[kRegC], std::uint8_t{0});
    gpio_out("", 0).lower();
    schedule_update();
    return value;
}

std::uint8_t Rtc::read_index(std::uint8_t index)
{
    if (index == kPs2Century)
        index = kCentury;
    if (is_time(index) && running())
        show_time();
    if (index == kRegA)
        return static_cast<std::uint8_t>((state_.cmos[kRegA] & ~kUip) |
                                         (update_in_progress() ? kUip : 0));
    if (index == kRegC)
        return read_c();
    return state_.cmos[index];
}

std::uint64_t Rtc::read(system::GuestAddr offset, unsigned)
{
    return offset == 0 ? 0xff : read_index(state_.cmos_index & 0x7f);
}

void Rtc::write(system::GuestAddr offset, std::uint64_t value, unsigned)
{
    if (offset == 0)
        state_.cmos_index = value & 0x7f;
    else
        write_index(state_.cmos_index & 0x7f, static_cast<std::uint8_t>(value));
}

// --- life --------------------------------------------------------------------------------------

Result<void> Rtc::realize()
{
    const std::int64_t host = now();
    const std::int64_t base = GW_TRY(rtc_base_seconds(vm().config().rtc_base, host / kNsPerSec));
    GW_TRY(connect_irq(0, irq_));
    state_.base_rtc = static_cast<std::uint64_t>(base);
    state_.last_update = static_cast<std::uint64_t>(host);
    state_.offset = 0;
    periodic_ = std::make_unique<system::Timer>(vm().clocks(), system::ClockType::Host,
                                                [this] { periodic_expired(); });
    update_ = std::make_unique<system::Timer>(vm().clocks(), system::ClockType::Host,
                                              [this] { update_expired(); });
    show_time();
    schedule_update();
    add_ports("rtc", static_cast<std::uint16_t>(iobase_), 2, *this);
    return {};
}

void Rtc::unrealize() noexcept
{
    IsaDevice::unrealize();
    periodic_.reset();
    update_.reset();
}

void Rtc::reset(system::ResetKind)
{
    state_.cmos[kRegB] &= static_cast<std::uint8_t>(~(kAnyFlag | kSquareWave));
    state_.cmos[kRegC] = 0;
    gpio_out("", 0).lower();
    schedule_periodic(false);
    schedule_update();
}

Result<void> Rtc::register_state(StateRegistry& registry)
{
    keep(GW_TRY(registry.add(kRtc, state_, {},
                             {.pre_save =
                                  [this] {
                                      if (running())
                                          show_time();
                                      state_.periodic_timer.expiry_ns = periodic_->expiry_ns();
                                      state_.update_timer.expiry_ns = update_->expiry_ns();
                                      return ok();
                                  },
                              .post_load =
                                  [this](Version version) {
                                      if (version < 3) {
                                          state_.offset = 0;
                                          take_time();
                                      }
                                      schedule_periodic(true);
                                      schedule_update();
                                      return ok();
                                  }})));
    return {};
}

Result<void> register_rtc(system::TypeRegistry& types)
{
    using system::property;
    return types.add(
        {.name = "mc146818rtc",
         .parent = "isa-device",
         .user_creatable = false,
         .bus = "ISA",
         .description = "real-time clock and CMOS memory",
         .properties = {property<&Rtc::iobase_>("iobase", 0x70), property<&Rtc::irq_>("irq", 8),
                        property<&Rtc::base_year_>("base_year", 0)},
         .create = [] { return std::make_unique<Rtc>(); }});
}

}  // namespace godwit::hw
