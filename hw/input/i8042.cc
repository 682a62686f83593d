// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/input/i8042.h"

#include "hw/register_private.h"
#include "migration/stream/registry.h"
#include "system/vm.h"

namespace godwit::hw {
namespace {

// Status.
constexpr std::uint8_t kObf = 0x01;
constexpr std::uint8_t kSelfTest = 0x04;
constexpr std::uint8_t kLastWasCommand = 0x08;
constexpr std::uint8_t kMouseObf = 0x20;
// Mode, the "command byte".
constexpr std::uint8_t kKbdInt = 0x01;
constexpr std::uint8_t kMouseInt = 0x02;
constexpr std::uint8_t kSystem = 0x04;
constexpr std::uint8_t kNoKbd = 0x10;
constexpr std::uint8_t kNoMouse = 0x20;
constexpr std::uint8_t kTranslate = 0x40;
// Where the output buffer's byte came from.
constexpr std::uint32_t kFromKbd = 1;
constexpr std::uint32_t kFromMouse = 2;
constexpr std::uint32_t kFromController = 4;

constexpr std::uint8_t kOutPort = 0xc3;  // reset high, A20 open, both lines idle

using namespace migration::stream;

constexpr auto kCommon =
    vmstate<Ps2Common>("PS2 Common State", {.current = 3, .oldest = 2},
                       field<&Ps2Common::write_cmd>("write_cmd").in_range(-1, 255),
                       field<&Ps2Common::rptr>("queue.rptr").in_range(0, 255),
                       field<&Ps2Common::wptr>("queue.wptr").in_range(0, 255),
                       field<&Ps2Common::count>("queue.count").in_range(0, 256),
                       buffer<&Ps2Common::data>("queue.data"));

constexpr auto kLeds = vmstate<Ps2Keyboard>(
    "ps2kbd/ledstate",
    {.current = 3, .oldest = 2, .needed = [](const Ps2Keyboard& s) { return s.ledstate != 0; }},
    field<&Ps2Keyboard::ledstate>("ledstate"));

constexpr auto kKeyboard = vmstate<Ps2Keyboard>(
    "ps2kbd", {.current = 3, .oldest = 3}, structure<&Ps2Keyboard::common>("parent_obj", kCommon),
    field<&Ps2Keyboard::scan_enabled>("scan_enabled"), field<&Ps2Keyboard::translate>("translate"),
    field<&Ps2Keyboard::scancode_set>("scancode_set").since(3).in_range(1, 3), subsection(kLeds));
static_assert(kKeyboard.well_formed());

constexpr auto kMouse = vmstate<Ps2Mouse>(
    "ps2mouse", {.current = 2, .oldest = 2}, structure<&Ps2Mouse::common>("parent_obj", kCommon),
    field<&Ps2Mouse::status>("mouse_status"), field<&Ps2Mouse::resolution>("mouse_resolution"),
    field<&Ps2Mouse::sample_rate>("mouse_sample_rate"), field<&Ps2Mouse::wrap>("mouse_wrap"),
    field<&Ps2Mouse::type>("mouse_type"), field<&Ps2Mouse::detect_state>("mouse_detect_state"),
    field<&Ps2Mouse::dx>("mouse_dx"), field<&Ps2Mouse::dy>("mouse_dy"),
    field<&Ps2Mouse::dz>("mouse_dz"), field<&Ps2Mouse::buttons>("mouse_buttons"));
static_assert(kMouse.well_formed());

constexpr auto kExtended = vmstate<KbdController>(
    "pckbd/extended_state", {.current = 0, .oldest = 0},
    field<&KbdController::migration_flags>("migration_flags"),
    field<&KbdController::obsrc>("obsrc"), field<&KbdController::obdata>("obdata"),
    field<&KbdController::cbdata>("cbdata"));

constexpr auto kController = vmstate<KbdController>(
    "pckbd", {.current = 3, .oldest = 3}, field<&KbdController::write_cmd>("write_cmd"),
    field<&KbdController::status>("status"), field<&KbdController::mode>("mode"),
    field<&KbdController::pending>("pending_tmp"), subsection(kExtended));

constexpr auto kSection = vmstate<KbdSection>("pckbd", {.current = 3, .oldest = 3},
                                              structure<&KbdSection::kbd>("kbd", kController));
static_assert(kSection.well_formed());

}  // namespace

class I8042::Port final : public system::IoHandler {
public:
    Port(I8042& owner, bool command) : owner_(owner), command_(command) {}
    std::uint64_t read(system::GuestAddr, unsigned) override
    {
        return command_ ? owner_.s_.status : owner_.read_data();
    }
    void write(system::GuestAddr, std::uint64_t value, unsigned) override
    {
        if (command_)
            owner_.write_command(static_cast<std::uint8_t>(value));
        else
            owner_.write_data(static_cast<std::uint8_t>(value));
    }
    unsigned max_access() const override { return 1; }

private:
    I8042& owner_;
    bool command_;
};

I8042::I8042()
    : data_port_(std::make_unique<Port>(*this, false)),
      command_port_(std::make_unique<Port>(*this, true))
{
    add_gpio_out("", 2);
    add_gpio_out("a20", 1);
}

I8042::~I8042() = default;

// --- towards the guest -------------------------------------------------------------------------

void I8042::update_irq()
{
    const bool full = (s_.status & kObf) != 0;
    const bool mouse = full && (s_.status & kMouseObf) != 0;
    const bool keyboard = full && !mouse;
    gpio_out("", 0).set(keyboard && (s_.mode & kKbdInt) != 0 && (s_.mode & kNoKbd) == 0 ? 1 : 0);
    gpio_out("", 1).set(mouse && (s_.mode & kMouseInt) != 0 ? 1 : 0);
}

void I8042::answer(std::uint8_t value, bool mouse)
{
    s_.obdata = value;
    s_.obsrc = kFromController;
    s_.status |= mouse ? kObf | kMouseObf : kObf;
    update_irq();
}

// The next byte of a device moves into the output buffer once that is free.
void I8042::refill()
{
    if ((s_.status & kObf) != 0) {
        update_irq();
        return;
    }
    s_.status &= static_cast<std::uint8_t>(~kMouseObf);
    if (keyboard_.common.count > 0 && (s_.mode & kNoKbd) == 0) {
        s_.obdata = keyboard_.common.pop();
        s_.obsrc = kFromKbd;
        s_.status |= kObf;
    } else if (mouse_.common.count > 0 && (s_.mode & kNoMouse) == 0) {
        s_.obdata = mouse_.common.pop();
        s_.obsrc = kFromMouse;
        s_.status |= kObf | kMouseObf;
    }
    update_irq();
}

std::uint8_t I8042::read_data()
{
    const std::uint8_t value = s_.obdata;
    if ((s_.status & kObf) != 0) {
        s_.status &= static_cast<std::uint8_t>(~(kObf | kMouseObf));
        s_.obsrc = 0;
        update_irq();
        refill();
    }
    return value;
}

// --- from the guest ----------------------------------------------------------------------------

void I8042::pulse_reset()
{
    vm().request_reset(system::ShutdownCause::GuestReset);
}

void I8042::write_command(std::uint8_t command)
{
    s_.status |= kLastWasCommand;
    const auto set_mode = [this](std::uint8_t bit, bool on) {
        s_.mode = static_cast<std::uint8_t>(on ? s_.mode | bit : s_.mode & ~bit);
        refill();
    };
    switch (command) {
    case 0x20:
        answer(s_.mode);
        break;
    case 0x60:
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xd4:
        s_.write_cmd = command;
        break;
    case 0xa7:
    case 0xa8:
        set_mode(kNoMouse, command == 0xa7);
        break;
    case 0xad:
    case 0xae:
        set_mode(kNoKbd, command == 0xad);
        break;
    case 0xa9:
    case 0xab:
        answer(0x00);
        break;
    case 0xaa:
        s_.status |= kSelfTest;
        answer(0x55);
        break;
    case 0xc0:
        answer(0x80);
        break;
    case 0xd0:
        answer(static_cast<std::uint8_t>(kOutPort | ((s_.status & kObf) != 0 ? 0x10 : 0)));
        break;
    case 0xdd:
    case 0xdf:
        gpio_out("a20", 0).set(command == 0xdf ? 1 : 0);
        break;
    default:
        if (command >= 0xf0 && (command & 1) == 0)  // pulses the lines whose bits are 0
            pulse_reset();
        break;
    }
}

void I8042::write_data(std::uint8_t value)
{
    s_.status &= static_cast<std::uint8_t>(~kLastWasCommand);
    switch (std::exchange(s_.write_cmd, std::uint8_t{0})) {
    case 0:
        s_.mode &= static_cast<std::uint8_t>(~kNoKbd);
        keyboard_.write(value);
        break;
    case 0x60:
        s_.mode = value;
        keyboard_.translate = (value & kTranslate) != 0 ? 1 : 0;
        s_.status = static_cast<std::uint8_t>((s_.status & ~kSystem) | (value & kSystem));
        break;
    case 0xd1:
        gpio_out("a20", 0).set(value >> 1 & 1);
        if ((value & 1) == 0)
            pulse_reset();
        break;
    case 0xd2:
        answer(value);
        break;
    case 0xd3:
        answer(value, true);
        break;
    case 0xd4:
        s_.mode &= static_cast<std::uint8_t>(~kNoMouse);
        mouse_.write(value);
        break;
    default:
        break;
    }
    refill();
}

// --- life --------------------------------------------------------------------------------------

Result<void> I8042::realize()
{
    GW_TRY(connect_irq(0, 1));
    GW_TRY(connect_irq(1, 12));
    add_ports("i8042-data", 0x60, 1, *data_port_);
    add_ports("i8042-cmd", 0x64, 1, *command_port_);
    return {};
}

void I8042::reset(system::ResetKind)
{
    keyboard_ = {};
    keyboard_.reset();
    mouse_.reset();
    s_ = {};
    update_irq();
}

Result<void> I8042::register_state(StateRegistry& registry)
{
    keep(GW_TRY(registry.add(kKeyboard, keyboard_)));
    keep(GW_TRY(registry.add(kMouse, mouse_)));
    keep(GW_TRY(registry.add(kSection, section_)));
    return {};
}

Result<void> register_i8042(system::TypeRegistry& types)
{
    return types.add({.name = "i8042",
                      .parent = "isa-device",
                      .user_creatable = false,
                      .bus = "ISA",
                      .description = "keyboard controller",
                      .create = [] { return std::make_unique<I8042>(); }});
}

}  // namespace godwit::hw
