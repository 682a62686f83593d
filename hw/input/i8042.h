// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The keyboard controller with a keyboard and a mouse nobody touches: what firmware and kernels
// probe, and the reset line many of them pull.
#pragma once

#include "hw/isa.h"
#include "migration/stream/vmstate.h"

#include <array>
#include <cstdint>

namespace godwit::hw {

/// Bytes from a PS/2 device to its host. Structure "PS2 Common State" v3.
struct Ps2Common {
    std::int32_t write_cmd = -1;  ///< the command whose argument comes next, -1 = none
    std::int32_t rptr = 0;
    std::int32_t wptr = 0;
    std::int32_t count = 0;
    std::array<std::uint8_t, 256> data{};

    static constexpr std::int32_t kRoom = 16;  // what a real device buffers
    void push(std::uint8_t byte);
    std::uint8_t pop();
    void clear() { rptr = wptr = count = 0; }
};

struct Ps2Keyboard {
    Ps2Common common;
    std::int32_t scan_enabled = 0;
    std::int32_t translate = 0;
    std::int32_t scancode_set = 2;
    std::int32_t ledstate = 0;

    void reset();
    void write(std::uint8_t byte);
};

struct Ps2Mouse {
    Ps2Common common;
    std::uint8_t status = 0;
    std::uint8_t resolution = 2;
    std::uint8_t sample_rate = 100;
    std::uint8_t wrap = 0;
    std::uint8_t type = 0;
    std::uint8_t detect_state = 0;
    std::int32_t dx = 0;
    std::int32_t dy = 0;
    std::int32_t dz = 0;
    std::uint8_t buttons = 0;

    void reset();
    void write(std::uint8_t byte);
};

/// Section `pckbd` v3 and its subsection.
struct KbdController {
    std::uint8_t write_cmd = 0;
    std::uint8_t status = 0x18;
    std::uint8_t mode = 0x03;
    std::uint8_t pending = 0;
    std::uint32_t migration_flags = 1;
    std::uint32_t obsrc = 0;
    std::uint8_t obdata = 0;
    std::uint8_t cbdata = 0;
};
struct KbdSection {
    KbdController kbd;
};

/// Type "i8042", ports 0x60 and 0x64.
///
/// Gpio      unnamed outputs 0 (keyboard, ISA wire 1) and 1 (mouse, ISA wire 12); list "a20",
/// output 0. Sections  `ps2kbd` v3, `ps2mouse` v2, `pckbd` v3.
class I8042 final : public IsaDevice {
public:
    I8042();
    ~I8042() override;

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    class Port;
    void write_command(std::uint8_t command);
    void write_data(std::uint8_t value);
    std::uint8_t read_data();
    void answer(std::uint8_t value, bool mouse = false);
    void refill();
    void update_irq();
    void pulse_reset();

    Ps2Keyboard keyboard_;
    Ps2Mouse mouse_;
    KbdSection section_;
    KbdController& s_ = section_.kbd;
    std::unique_ptr<Port> data_port_;
    std::unique_ptr<Port> command_port_;
};

}  // namespace godwit::hw
