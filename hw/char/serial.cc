// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/char/serial.h"

#include <algorithm>
#include <array>

namespace godwit::hw {
namespace {

// Register bits, PC16550D data sheet section 8.
constexpr std::uint8_t kIerRdi = 0x01;
constexpr std::uint8_t kIerThri = 0x02;
constexpr std::uint8_t kIerRlsi = 0x04;
constexpr std::uint8_t kIerMsi = 0x08;

constexpr std::uint8_t kIirNone = 0x01;
constexpr std::uint8_t kIirMsi = 0x00;
constexpr std::uint8_t kIirThri = 0x02;
constexpr std::uint8_t kIirRdi = 0x04;
constexpr std::uint8_t kIirRlsi = 0x06;
constexpr std::uint8_t kIirTimeout = 0x0c;
constexpr std::uint8_t kIirFifosOn = 0xc0;

constexpr std::uint8_t kLcrDlab = 0x80;
constexpr std::uint8_t kMcrDtr = 0x01;
constexpr std::uint8_t kMcrRts = 0x02;
constexpr std::uint8_t kMcrOut1 = 0x04;
constexpr std::uint8_t kMcrOut2 = 0x08;
constexpr std::uint8_t kMcrLoop = 0x10;

constexpr std::uint8_t kMsrCts = 0x10;
constexpr std::uint8_t kMsrDsr = 0x20;
constexpr std::uint8_t kMsrRi = 0x40;
constexpr std::uint8_t kMsrDcd = 0x80;
constexpr std::uint8_t kMsrDelta = 0x0f;

constexpr std::uint8_t kLsrDr = 0x01;
constexpr std::uint8_t kLsrOe = 0x02;
constexpr std::uint8_t kLsrBi = 0x10;
constexpr std::uint8_t kLsrThre = 0x20;
constexpr std::uint8_t kLsrTemt = 0x40;
constexpr std::uint8_t kLsrErrors = 0x1e;

constexpr std::uint8_t kFcrEnable = 0x01;
constexpr std::uint8_t kFcrClearRecv = 0x02;
constexpr std::uint8_t kFcrClearXmit = 0x04;
constexpr std::uint8_t kFcrKept = 0xc9;

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

}  // namespace

Uart::Uart(system::Clocks& clocks, std::function<void(int)> irq, std::uint32_t baudbase)
    : irq_(std::move(irq)), baudbase_(std::max(baudbase, 1u)),
      fifo_timer_(clocks, system::ClockType::Virtual,
                  [this] {
                      if (!s_.recv.empty()) {
                          s_.timeout_ipending = 1;
                          update_irq();
                      }
                  }),
      alive_(std::make_shared<int>())
{}

Uart::~Uart()
{
    if (chardev_ != nullptr)
        chardev_->detach();
}

Result<void> Uart::connect(system::Chardev* chardev)
{
    if (chardev == nullptr)
        return {};
    GW_TRY(chardev->attach({.can_receive = [this] { return can_receive(); },
                            .receive = [this](std::span<const std::byte> data) { receive(data); },
                            .event =
                                [this](system::Chardev::FrontEnd::Event event) {
                                    if (event == system::Chardev::FrontEnd::Event::Break)
                                        receive_break();
                                }}));
    chardev_ = chardev;
    return {};
}

void Uart::reset()
{
    fifo_timer_.disarm();
    s_ = UartState{};
    alive_ = std::make_shared<int>();  // a byte that waited for the back end is gone
    waiting_ = false;
    irq_(0);
}

bool Uart::fifo_on() const noexcept
{
    return (s_.fcr & kFcrEnable) != 0;
}

bool Uart::loopback() const noexcept
{
    return (s_.mcr & kMcrLoop) != 0;
}

unsigned Uart::trigger_level() const noexcept
{
    constexpr std::array<unsigned, 4> levels{1, 4, 8, 14};
    return levels[s_.fcr >> 6];
}

void Uart::update_irq()
{
    std::uint8_t id = kIirNone;
    if ((s_.ier & kIerRlsi) != 0 && (s_.lsr & kLsrErrors) != 0)
        id = kIirRlsi;
    else if ((s_.ier & kIerRdi) != 0 && s_.timeout_ipending != 0)
        id = kIirTimeout;
    else if ((s_.ier & kIerRdi) != 0 && (s_.lsr & kLsrDr) != 0 &&
             (!fifo_on() || s_.recv.num >= trigger_level()))
        id = kIirRdi;
    else if ((s_.ier & kIerThri) != 0 && s_.thr_ipending != 0)
        id = kIirThri;
    else if ((s_.ier & kIerMsi) != 0 && (s_.msr & kMsrDelta) != 0)
        id = kIirMsi;
    s_.iir = static_cast<std::uint8_t>(id | (s_.iir & 0xf0));
    irq_(id != kIirNone ? 1 : 0);
}

// Four character times without a read or an arrival: the FIFO asks for attention.
void Uart::arm_timeout()
{
    const unsigned data_bits = 5 + (s_.lcr & 3);
    const unsigned stop_bits = (s_.lcr & 4) != 0 ? 2 : 1;
    const unsigned parity = (s_.lcr & 8) != 0 ? 1 : 0;
    const std::int64_t bits = 1 + data_bits + parity + stop_bits;
    const std::int64_t divider = std::max<std::int64_t>(s_.divider, 1);
    fifo_timer_.arm_in_ns(std::max<std::int64_t>(4 * bits * divider * kNsPerSecond / baudbase_, 1));
}

// --- the guest reads -------------------------------------------------------------------------

std::uint8_t Uart::read_data()
{
    std::uint8_t value = 0;
    if (fifo_on()) {
        value = s_.recv.pop();
        if (s_.recv.empty()) {
            s_.lsr &= static_cast<std::uint8_t>(~(kLsrDr | kLsrBi));
            fifo_timer_.disarm();
        } else {
            arm_timeout();
        }
        s_.timeout_ipending = 0;
    } else {
        value = s_.rbr;
        s_.lsr &= static_cast<std::uint8_t>(~(kLsrDr | kLsrBi));
    }
    update_irq();
    if (!loopback() && chardev_ != nullptr)
        chardev_->accept_input();
    return value;
}

std::uint8_t Uart::read_iir()
{
    const std::uint8_t value = s_.iir;
    if ((value & 0x0f) == kIirThri) {
        s_.thr_ipending = 0;
        update_irq();
    }
    return value;
}

std::uint8_t Uart::read_lsr()
{
    const std::uint8_t value = s_.lsr;
    if ((value & (kLsrBi | kLsrOe)) != 0) {
        s_.lsr &= static_cast<std::uint8_t>(~(kLsrBi | kLsrOe));
        update_irq();
    }
    return value;
}

std::uint8_t Uart::read_msr()
{
    if (loopback()) {  // the modem control outputs come back as modem status
        std::uint8_t value = 0;
        value |= (s_.mcr & kMcrDtr) != 0 ? kMsrDsr : 0;
        value |= (s_.mcr & kMcrRts) != 0 ? kMsrCts : 0;
        value |= (s_.mcr & kMcrOut1) != 0 ? kMsrRi : 0;
        value |= (s_.mcr & kMcrOut2) != 0 ? kMsrDcd : 0;
        return value;
    }
    const std::uint8_t value = s_.msr;
    if ((value & kMsrDelta) != 0) {
        s_.msr &= 0xf0;
        update_irq();
    }
    return value;
}

std::uint64_t Uart::read(system::GuestAddr offset, unsigned)
{
    const bool dlab = (s_.lcr & kLcrDlab) != 0;
    switch (offset) {
    case 0:
        return dlab ? s_.divider & 0xff : read_data();
    case 1:
        return dlab ? s_.divider >> 8 : s_.ier;
    case 2:
        return read_iir();
    case 3:
        return s_.lcr;
    case 4:
        return s_.mcr;
    case 5:
        return read_lsr();
    case 6:
        return read_msr();
    case 7:
        return s_.scr;
    default:
        return 0xff;
    }
}

// --- the guest writes ------------------------------------------------------------------------

void Uart::write(system::GuestAddr offset, std::uint64_t value, unsigned)
{
    const auto byte = static_cast<std::uint8_t>(value);
    const bool dlab = (s_.lcr & kLcrDlab) != 0;
    switch (offset) {
    case 0:
        if (dlab)
            s_.divider = static_cast<std::uint16_t>((s_.divider & 0xff00) | byte);
        else
            write_data(byte);
        break;
    case 1:
        if (dlab)
            s_.divider = static_cast<std::uint16_t>((s_.divider & 0x00ff) | byte << 8);
        else
            write_ier(byte);
        break;
    case 2:
        write_fcr(byte);
        break;
    case 3:
        s_.lcr = byte;
        break;
    case 4:
        write_mcr(byte);
        break;
    case 7:
        s_.scr = byte;
        break;
    default:  // line and modem status are read-only
        break;
    }
}

void Uart::write_data(std::uint8_t value)
{
    s_.thr = value;
    if (fifo_on()) {
        if (s_.xmit.full())  // the oldest gives way, as on the chip
            s_.xmit.pop();
        s_.xmit.push(value);
    }
    s_.thr_ipending = 0;
    s_.lsr &= static_cast<std::uint8_t>(~kLsrThre);
    update_irq();
    if (s_.tsr_retry == 0)
        transmit();
}

void Uart::write_ier(std::uint8_t value)
{
    const std::uint8_t changed = (s_.ier ^ value) & 0x0f;
    s_.ier = value & 0x0f;
    if ((changed & kIerThri) != 0)
        s_.thr_ipending = (s_.ier & kIerThri) != 0 && (s_.lsr & kLsrThre) != 0 ? 1 : 0;
    if (changed != 0)
        update_irq();
}

void Uart::write_fcr(std::uint8_t value)
{
    if (((value ^ s_.fcr) & kFcrEnable) != 0)
        value |= kFcrClearRecv | kFcrClearXmit;
    if ((value & kFcrClearRecv) != 0) {
        s_.lsr &= static_cast<std::uint8_t>(~(kLsrDr | kLsrBi));
        fifo_timer_.disarm();
        s_.timeout_ipending = 0;
        s_.recv.clear();
    }
    if ((value & kFcrClearXmit) != 0) {
        s_.lsr |= kLsrThre;
        s_.thr_ipending = 1;
        s_.xmit.clear();
    }
    s_.fcr = value & kFcrKept;
    s_.iir = static_cast<std::uint8_t>((s_.iir & 0x0f) | (fifo_on() ? kIirFifosOn : 0));
    update_irq();
    if ((value & kFcrClearRecv) != 0 && chardev_ != nullptr)
        chardev_->accept_input();
}

void Uart::write_mcr(std::uint8_t value)
{
    const bool was_loop = loopback();
    s_.mcr = value & 0x1f;
    if (was_loop && !loopback() && chardev_ != nullptr)
        chardev_->accept_input();
}

// --- transmitting ----------------------------------------------------------------------------

// Moves the next byte into the shift register; false when there is none.
bool Uart::load_tsr()
{
    if ((s_.lsr & kLsrThre) != 0)
        return false;
    if (fifo_on()) {
        if (s_.xmit.empty()) {
            s_.lsr |= kLsrThre;
            return false;
        }
        s_.tsr = s_.xmit.pop();
        if (s_.xmit.empty())
            s_.lsr |= kLsrThre;
    } else {
        s_.tsr = s_.thr;
        s_.lsr |= kLsrThre;
    }
    if ((s_.lsr & kLsrThre) != 0 && s_.thr_ipending == 0) {
        s_.thr_ipending = 1;
        update_irq();
    }
    s_.lsr &= static_cast<std::uint8_t>(~kLsrTemt);
    return true;
}

// False when the back end is full and will call back.
bool Uart::send_tsr()
{
    if (loopback()) {
        receive_byte(s_.tsr);
        return true;
    }
    if (chardev_ == nullptr || !chardev_->connected())
        return true;  // nobody listens: the byte is gone, as on a cable without a peer
    const auto byte = static_cast<std::byte>(s_.tsr);
    return chardev_->write_some(std::span(&byte, 1)) == 1 || !chardev_->connected();
}

void Uart::transmit()
{
    for (;;) {
        if (s_.tsr_retry == 0 && !load_tsr())
            return;
        if (!send_tsr()) {
            s_.tsr_retry = 1;
            wait_writable();
            return;
        }
        s_.tsr_retry = 0;
        s_.lsr |= kLsrTemt;
    }
}

void Uart::wait_writable()
{
    if (std::exchange(waiting_, true))
        return;
    chardev_->on_writable([this, alive = std::weak_ptr<int>(alive_)] {
        if (alive.expired())
            return;
        waiting_ = false;
        if (s_.tsr_retry != 0)
            transmit();
    });
}

// --- receiving -------------------------------------------------------------------------------

std::size_t Uart::can_receive() const
{
    if (loopback())
        return 0;
    if (fifo_on())
        return s_.recv.room();
    return (s_.lsr & kLsrDr) != 0 ? 0 : 1;
}

void Uart::receive_byte(std::uint8_t byte)
{
    if (fifo_on()) {
        if (s_.recv.full())
            s_.lsr |= kLsrOe;
        s_.recv.push(byte);
        arm_timeout();
    } else {
        if ((s_.lsr & kLsrDr) != 0)
            s_.lsr |= kLsrOe;
        s_.rbr = byte;
    }
    s_.lsr |= kLsrDr;
    update_irq();
}

void Uart::receive(std::span<const std::byte> data)
{
    for (const std::byte byte : data)
        receive_byte(static_cast<std::uint8_t>(byte));
}

void Uart::receive_break()
{
    s_.rbr = 0;
    if (fifo_on())
        s_.recv.push(0);
    s_.lsr |= kLsrBi | kLsrDr;
    update_irq();
}

// --- migration -------------------------------------------------------------------------------

Result<void> Uart::pre_save()
{
    s_.fifo_timeout.expiry_ns = fifo_timer_.expiry_ns();
    return {};
}

void Uart::post_load()
{
    if (s_.fifo_timeout.armed())
        fifo_timer_.arm_at_ns(s_.fifo_timeout.expiry_ns);
    else
        fifo_timer_.disarm();
    if (s_.tsr_retry != 0) {
        if (chardev_ != nullptr)
            wait_writable();
        else
            transmit();
    }
    if (chardev_ != nullptr && can_receive() > 0)
        chardev_->accept_input();
}

}  // namespace godwit::hw
