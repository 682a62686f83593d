// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/acpi/pm.h"

#include "hw/core/muldiv.h"
#include "qapi/event_sink.h"
#include "system/vm.h"
#include "util/json.h"

namespace godwit::hw {
namespace {

constexpr std::int64_t kPmTimerHz = 3579545;
constexpr std::int64_t kHalf = 0x800000;  // the 24-bit counter's top bit changes

// PM1 status and enable.
constexpr std::uint16_t kTimer = 0x0001;
constexpr std::uint16_t kGlobal = 0x0020;
constexpr std::uint16_t kPowerButton = 0x0100;
constexpr std::uint16_t kRtc = 0x0400;
constexpr std::uint16_t kWake = 0x8000;
// PM1 control.
constexpr std::uint16_t kSciEnable = 0x0001;
constexpr std::uint16_t kSleepEnable = 0x2000;

constexpr unsigned kStatusReg = 0x00;
constexpr unsigned kEnableReg = 0x02;
constexpr unsigned kControlReg = 0x04;
constexpr unsigned kTimerReg = 0x08;
constexpr unsigned kGpeStatus = 0x20;
constexpr unsigned kGpeEnable = 0x28;
constexpr unsigned kGpeBytes = 8;
constexpr unsigned kSmiEnable = 0x30;
constexpr unsigned kSmiStatus = 0x34;
constexpr unsigned kTcoBase = 0x60;

constexpr bool within(unsigned offset, unsigned start, unsigned length)
{
    return offset >= start && offset < start + length;
}

std::uint16_t word(const std::array<std::uint8_t, 16>& bytes, unsigned at)
{
    return static_cast<std::uint16_t>(bytes[at] | bytes[at + 1] << 8);
}

std::uint16_t half_of(std::uint32_t value, bool upper)
{
    return static_cast<std::uint16_t>(upper ? value >> 16 : value);
}

std::uint32_t with_half(std::uint32_t old, std::uint16_t value, bool upper)
{
    return upper ? (old & 0xffff) | std::uint32_t{value} << 16 : (old & 0xffff0000) | value;
}

}  // namespace

AcpiPm::AcpiPm(system::Vm& vm, PmState& state, Values values, std::function<void(int)> sci)
    : vm_(vm), s_(state), values_(values), sci_(std::move(sci)),
      timer_(vm.clocks(), system::ClockType::Virtual, [this] { update(); })
{}

// --- the timer ---------------------------------------------------------------------------------

std::int64_t AcpiPm::ticks() const
{
    return muldiv(vm_.clocks().now_ns(system::ClockType::Virtual), kPmTimerHz, kNsPerSec);
}

void AcpiPm::check_overflow()
{
    const std::int64_t now = ticks();
    if (now < s_.overflow_time)
        return;
    s_.status |= kTimer;
    s_.overflow_time = (now + kHalf) & ~(kHalf - 1);
}

// --- the interrupt -----------------------------------------------------------------------------

void AcpiPm::update()
{
    check_overflow();
    bool active = (s_.status & s_.enable & (kTimer | kGlobal | kPowerButton | kRtc)) != 0;
    for (unsigned n = 0; n < kGpeBytes; ++n)
        active = active || (s_.gpe_status[n] & s_.gpe_enable[n]) != 0;
    sci_(active && (s_.control & kSciEnable) != 0 ? 1 : 0);
    if ((s_.enable & kTimer) != 0 && (s_.status & kTimer) == 0)
        timer_.arm_at_ns(muldiv(s_.overflow_time, kNsPerSec, kPmTimerHz) + 1);
    else
        timer_.disarm();
}

void AcpiPm::press_power_button()
{
    s_.status |= kPowerButton;
    update();
}

void AcpiPm::set_gpe(unsigned bit)
{
    if (bit < kGpeBytes * 8)
        s_.gpe_status[bit / 8] |= static_cast<std::uint8_t>(1u << (bit % 8));
    update();
}

void AcpiPm::enable_acpi(bool on)
{
    s_.control =
        static_cast<std::uint16_t>(on ? s_.control | kSciEnable : s_.control & ~kSciEnable);
    update();
}

// --- sleep -------------------------------------------------------------------------------------

void AcpiPm::write_control(std::uint16_t value)
{
    s_.control = static_cast<std::uint16_t>(value & ~kSleepEnable);
    if ((value & kSleepEnable) == 0) {
        update();
        return;
    }
    const unsigned type = value >> 10 & 7;
    if (type == 0) {
        vm_.request_shutdown(system::ShutdownCause::GuestShutdown);
    } else if (type == 1 && values_.s3) {
        vm_.request_suspend();
    } else if (type == values_.s4_type && values_.s4) {
        vm_.events().emit("SUSPEND_DISK", Json::object());
        vm_.request_shutdown(system::ShutdownCause::GuestShutdown);
    }
}

// --- ports -------------------------------------------------------------------------------------

std::uint16_t AcpiPm::read_tco(unsigned offset) const
{
    const TcoState& t = s_.tco;
    switch (offset) {
    case 0x00:
        return t.rld;
    case 0x02:
        return static_cast<std::uint16_t>(t.din | t.dout << 8);
    case 0x04:
        return t.sts1;
    case 0x06:
        return t.sts2;
    case 0x08:
        return t.cnt1;
    case 0x0a:
        return t.cnt2;
    case 0x0c:
        return static_cast<std::uint16_t>(t.msg1 | t.msg2 << 8);
    case 0x0e:
        return t.wdcnt;
    case 0x10:
        return t.sw_irq_gen;
    case 0x12:
        return t.tmr;
    default:
        return 0;
    }
}

void AcpiPm::write_tco(unsigned offset, std::uint16_t value)
{
    TcoState& t = s_.tco;
    const auto low = static_cast<std::uint8_t>(value);
    const auto high = static_cast<std::uint8_t>(value >> 8);
    switch (offset) {
    case 0x00:
        t.rld = t.tmr;  // any write reloads
        break;
    case 0x02:
        t.din = low;
        t.dout = high;
        break;
    case 0x04:
        t.sts1 &= static_cast<std::uint16_t>(~value);
        break;
    case 0x06:
        t.sts2 &= static_cast<std::uint16_t>(~value);
        break;
    case 0x08:
        t.cnt1 =
            static_cast<std::uint16_t>((value & 0xfeff) | (t.cnt1 & 0x1000));  // the lock stays
        break;
    case 0x0a:
        t.cnt2 = value;
        break;
    case 0x0c:
        t.msg1 = low;
        t.msg2 = high;
        break;
    case 0x0e:
        t.wdcnt = low;
        break;
    case 0x10:
        t.sw_irq_gen = low;
        break;
    case 0x12:
        t.tmr = value & 0x03ff;
        break;
    default:
        break;
    }
}

// Registers as 16-bit words at even offsets; other widths are made of them.
std::uint16_t AcpiPm::read_word(unsigned offset)
{
    switch (offset) {
    case kStatusReg:
        check_overflow();
        return s_.status;
    case kEnableReg:
        return s_.enable;
    case kControlReg:
        return s_.control;
    case kTimerReg:
    case kTimerReg + 2:
        return half_of(ticks() & 0xffffff, offset != kTimerReg);
    default:
        break;
    }
    if (within(offset, kGpeStatus, kGpeBytes))
        return word(s_.gpe_status, offset - kGpeStatus);
    if (within(offset, kGpeEnable, kGpeBytes))
        return word(s_.gpe_enable, offset - kGpeEnable);
    if (within(offset, kSmiEnable, 4))
        return half_of(s_.smi_enable, offset != kSmiEnable);
    if (within(offset, kSmiStatus, 4))
        return half_of(s_.smi_status, offset != kSmiStatus);
    return within(offset, kTcoBase, 32) ? read_tco(offset - kTcoBase) : 0;
}

void AcpiPm::write_word(unsigned offset, std::uint16_t value)
{
    if (offset == kStatusReg) {
        check_overflow();
        s_.status &= static_cast<std::uint16_t>(~value);
        s_.overflow_time = (ticks() + kHalf) & ~(kHalf - 1);
        update();
    } else if (offset == kEnableReg) {
        s_.enable = value;
        update();
    } else if (offset == kControlReg) {
        write_control(value);
    } else if (within(offset, kGpeStatus, kGpeBytes)) {
        s_.gpe_status[offset - kGpeStatus] &= static_cast<std::uint8_t>(~value);
        s_.gpe_status[offset - kGpeStatus + 1] &= static_cast<std::uint8_t>(~(value >> 8));
        update();
    } else if (within(offset, kGpeEnable, kGpeBytes)) {
        s_.gpe_enable[offset - kGpeEnable] = static_cast<std::uint8_t>(value);
        s_.gpe_enable[offset - kGpeEnable + 1] = static_cast<std::uint8_t>(value >> 8);
        update();
    } else if (within(offset, kSmiEnable, 4)) {
        s_.smi_enable = with_half(s_.smi_enable, value, offset != kSmiEnable);
    } else if (within(offset, kSmiStatus, 4)) {
        s_.smi_status &= ~with_half(0, value, offset != kSmiStatus);
    } else if (within(offset, kTcoBase, 32)) {
        write_tco(offset - kTcoBase, value);
    }
}

std::uint64_t AcpiPm::read(system::GuestAddr offset, unsigned size)
{
    if (offset + size > kPorts)
        return ~std::uint64_t{0};
    const auto at = static_cast<unsigned>(offset);
    std::uint64_t value = 0;
    for (unsigned n = 0; n < size; ++n) {
        const std::uint16_t both = read_word((at + n) & ~1u);
        value |= std::uint64_t{((at + n) & 1) != 0 ? both >> 8 : both & 0xffu} << (8 * n);
    }
    return value;
}

void AcpiPm::write(system::GuestAddr offset, std::uint64_t value, unsigned size)
{
    if (offset + size > kPorts)
        return;
    const auto at = static_cast<unsigned>(offset);
    for (unsigned n = 0; n < size;) {
        const unsigned reg = (at + n) & ~1u;
        if (size - n >= 2 && ((at + n) & 1) == 0) {
            write_word(reg, static_cast<std::uint16_t>(value >> (8 * n)));
            n += 2;
            continue;
        }
        const auto byte = static_cast<std::uint8_t>(value >> (8 * n));
        const bool upper = ((at + n) & 1) != 0;
        const bool clears = reg == kStatusReg || within(reg, kGpeStatus, kGpeBytes) ||
                            within(reg, kSmiStatus, 4) || within(reg, kTcoBase + 4, 4);
        const std::uint16_t kept = clears ? 0 : read_word(reg) & (upper ? 0x00ff : 0xff00);
        write_word(reg, static_cast<std::uint16_t>(kept | byte << (upper ? 8 : 0)));
        ++n;
    }
}

// --- life --------------------------------------------------------------------------------------

void AcpiPm::reset(bool wakeup)
{
    s_ = PmState{};
    s_.overflow_time = (ticks() + kHalf) & ~(kHalf - 1);
    if (wakeup)
        s_.status = kWake;
    update();
}

void AcpiPm::pre_save()
{
    s_.timer.expiry_ns = timer_.expiry_ns();
}

void AcpiPm::post_load()
{
    update();
}

}  // namespace godwit::hw
