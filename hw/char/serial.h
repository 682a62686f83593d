// SPDX-License-Identifier: LGPL-2.1-or-later
//
// 16550A UART, and the ISA card it sits on.
#pragma once

#include "hw/core/fifo8.h"
#include "hw/isa.h"
#include "system/chardev.h"
#include "system/clock.h"

#include <cstdint>
#include <memory>
#include <string>

namespace godwit::hw {

/// The registers of a 16550A, and what migrates of them.
///
/// Source   National Semiconductor PC16550D data sheet; layout of section `serial` v3.
struct UartState {
    std::uint16_t divider = 12;
    std::uint8_t rbr = 0;
    std::uint8_t ier = 0;
    std::uint8_t iir = 0x01;
    std::uint8_t lcr = 0;
    std::uint8_t mcr = 0x08;
    std::uint8_t lsr = 0x60;
    std::uint8_t msr = 0xb0;
    std::uint8_t scr = 0;
    std::uint8_t fcr = 0;
    std::int32_t thr_ipending = 0;
    std::uint32_t tsr_retry = 0;  ///< times the back end refused the byte in tsr
    std::uint8_t thr = 0;
    std::uint8_t tsr = 0;
    Fifo8<16> recv;
    Fifo8<16> xmit;
    migration::stream::TimerState fifo_timeout;
    std::int32_t timeout_ipending = 0;
    std::int32_t poll_msl = -1;  ///< modem lines of a host tty: not polled here
    migration::stream::TimerState poll;
};

/// The section's outer structure has the UART as its only field.
struct SerialSection {
    UartState state;
};
extern const migration::stream::VMStateOf<SerialSection>& kSerialSection;

/// The UART without a bus: eight registers, one interrupt, one chardev.
///
/// Threads  with the machine lock.
/// Errors   none: an access out of range reads ones and writes nothing.
class Uart final : public system::IoHandler {
public:
    Uart(system::Clocks& clocks, std::function<void(int level)> irq, std::uint32_t baudbase);
    ~Uart() override;

    /// Takes `chardev` as its only front end; null is a UART with nothing plugged in.
    Result<void> connect(system::Chardev* chardev);
    void reset();

    std::uint64_t read(system::GuestAddr offset, unsigned size) override;
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override;
    unsigned max_access() const override { return 1; }

    UartState& state() noexcept { return section_.state; }
    SerialSection& section() noexcept { return section_; }
    Result<void> pre_save();
    void post_load();

private:
    void update_irq();
    void write_data(std::uint8_t value);
    void write_ier(std::uint8_t value);
    void write_fcr(std::uint8_t value);
    void write_mcr(std::uint8_t value);
    std::uint8_t read_data();
    std::uint8_t read_iir();
    std::uint8_t read_lsr();
    std::uint8_t read_msr();
    void transmit();
    bool load_tsr();
    bool send_tsr();
    void wait_writable();
    std::size_t can_receive() const;
    void receive(std::span<const std::byte> data);
    void receive_byte(std::uint8_t byte);
    void receive_break();
    void arm_timeout();
    bool fifo_on() const noexcept;
    bool loopback() const noexcept;
    unsigned trigger_level() const noexcept;

    SerialSection section_;
    UartState& s_ = section_.state;
    std::function<void(int)> irq_;
    std::uint32_t baudbase_;
    system::Chardev* chardev_ = nullptr;
    system::Timer fifo_timer_;
    std::shared_ptr<int> alive_;  // callbacks given to the chardev look whether we are still here
    bool waiting_ = false;
};

/// Type "isa-serial", bus "ISA".
///
/// Properties  chardev (id), index (0..3, default the next free), iobase, irq (defaults by index:
/// 0x3f8/4,
///             0x2f8/3, 0x3e8/4, 0x2e8/3), baudbase (115200), wakeup (accepted).
/// Gpio        unnamed output 0: the interrupt; realize() connects it to the ISA wire `irq`.
/// Section     `serial` v3.
class IsaSerial final : public IsaDevice {
public:
    std::string chardev_;
    std::uint32_t index_ = kAuto;
    std::uint32_t iobase_ = kAuto;
    std::uint32_t irq_ = kAuto;
    std::uint32_t baudbase_ = 115200;
    bool wakeup_ = false;
    static constexpr std::uint32_t kAuto = 0xffffffff;

    IsaSerial() { add_gpio_out("", 1); }
    Uart& uart() noexcept { return *uart_; }

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override;
    void unrealize() noexcept override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    std::unique_ptr<Uart> uart_;
};

}  // namespace godwit::hw
