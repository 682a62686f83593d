// SPDX-License-Identifier: LGPL-2.1-or-later
//
// System control port A.
#pragma once

#include "hw/isa.h"

#include <cstdint>

namespace godwit::hw {

/// Type "port92": one byte that reads back as written, but for bit 0. A write with bit 0 set resets
/// the machine; bit 1 is the A20 gate.
///
/// Gpio     list "a20", output 0: level of the gate. Nothing needs it: addresses never wrap here.
/// Section  `port92` v1.
class Port92 final : public IsaDevice, private system::IoHandler {
public:
    struct State {
        std::uint8_t outport = 0;
    };
    Port92() { add_gpio_out("a20", 1); }

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override { state_.outport &= 0xfe; }
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    std::uint64_t read(system::GuestAddr, unsigned) override { return state_.outport; }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override;
    unsigned max_access() const override { return 1; }
    State state_;
};

/// Type "isa-debug-exit": a write of n to its port ends the program with status 2n + 1.
///
/// Properties  iobase (0x501), iosize (2).
class DebugExit final : public IsaDevice, private system::IoHandler {
public:
    std::uint32_t iobase_ = 0x501;
    std::uint32_t iosize_ = 2;

protected:
    Result<void> realize() override;

private:
    std::uint64_t read(system::GuestAddr, unsigned) override { return 0; }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override;
    unsigned max_access() const override { return 4; }
};

}  // namespace godwit::hw
