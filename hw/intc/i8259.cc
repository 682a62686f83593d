// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/intc/i8259.h"

#include "hw/register_private.h"
#include "migration/stream/registry.h"
#include "system/property.h"
#include "system/vm.h"
#include "util/json.h"

namespace godwit::hw {
namespace {

constexpr unsigned kCascade = 2;
constexpr unsigned kNone = 8;

constexpr std::uint8_t bit(unsigned n)
{
    return static_cast<std::uint8_t>(1u << (n & 7));
}

using namespace migration::stream;

constexpr auto kLtim =
    vmstate<PicState>("i8259/ltim", {.needed = [](const PicState& s) { return s.ltim != 0; }},
                      field<&PicState::ltim>("ltim"));

constexpr auto kPic = vmstate<PicState>(
    "i8259",
    {.current = 1,
     .oldest = 1,
     .pre_load =
         [](PicState& s) {
             s.ltim = 0;
             return ok();
         }},
    field<&PicState::last_irr>("last_irr"), field<&PicState::irr>("irr"),
    field<&PicState::imr>("imr"), field<&PicState::isr>("isr"),
    field<&PicState::priority_add>("priority_add").in_range(0, 7),
    field<&PicState::irq_base>("irq_base"),
    field<&PicState::read_reg_select>("read_reg_select").in_range(0, 1),
    field<&PicState::poll>("poll").in_range(0, 1),
    field<&PicState::special_mask>("special_mask").in_range(0, 1),
    field<&PicState::init_state>("init_state").in_range(0, 3),
    field<&PicState::auto_eoi>("auto_eoi").in_range(0, 1),
    field<&PicState::rotate_on_auto_eoi>("rotate_on_auto_eoi").in_range(0, 1),
    field<&PicState::special_fully_nested_mode>("special_fully_nested_mode").in_range(0, 1),
    field<&PicState::init4>("init4"), field<&PicState::single_mode>("single_mode"),
    field<&PicState::elcr>("elcr"), subsection(kLtim));
static_assert(kPic.well_formed());

}  // namespace

const VMStateOf<PicState>& kPicState = kPic;

class Pic::Ports final : public system::IoHandler {
public:
    explicit Ports(Pic& pic) : pic_(pic) {}
    std::uint64_t read(system::GuestAddr offset, unsigned) override
    {
        return pic_.read(static_cast<unsigned>(offset));
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned) override
    {
        if (offset == 0)
            pic_.write_command(static_cast<std::uint8_t>(value));
        else
            pic_.write_data(static_cast<std::uint8_t>(value));
    }
    unsigned max_access() const override { return 1; }

private:
    Pic& pic_;
};

class Pic::Elcr final : public system::IoHandler {
public:
    explicit Elcr(Pic& pic) : pic_(pic) {}
    std::uint64_t read(system::GuestAddr, unsigned) override { return pic_.state_.elcr; }
    void write(system::GuestAddr, std::uint64_t value, unsigned) override
    {
        pic_.state_.elcr = static_cast<std::uint8_t>(value) & pic_.elcr_mask_;
    }
    unsigned max_access() const override { return 1; }

private:
    Pic& pic_;
};

PicDevice::PicDevice()
{
    add_gpio_in("", kInputs, [this](unsigned n, int level) {
        raised_[n] += level != 0 ? 1 : 0;
        input(n, level);
    });
    add_gpio_out("", 1);
}

// --- priorities --------------------------------------------------------------------------------

// 0 is the highest, 8 means that `mask` is empty.
unsigned Pic::priority_of(std::uint8_t mask) const
{
    if (mask == 0)
        return kNone;
    unsigned priority = 0;
    while ((mask & bit(priority + state_.priority_add)) == 0)
        ++priority;
    return priority;
}

// The input that may interrupt now, -1 if none.
int Pic::pending() const
{
    const unsigned wants = priority_of(state_.irr & static_cast<std::uint8_t>(~state_.imr));
    if (wants == kNone)
        return -1;
    std::uint8_t busy = state_.isr;
    if (state_.special_mask != 0)
        busy &= static_cast<std::uint8_t>(~state_.imr);
    if (state_.special_fully_nested_mode != 0 && master_)
        busy &= static_cast<std::uint8_t>(~bit(kCascade));
    if (wants >= priority_of(busy))
        return -1;
    return static_cast<int>((wants + state_.priority_add) & 7);
}

void Pic::update()
{
    gpio_out("", 0).set(pending() >= 0 ? 1 : 0);
}

void Pic::input(unsigned n, int level)
{
    const std::uint8_t mask = bit(n);
    const bool by_level = state_.ltim != 0 || (state_.elcr & mask) != 0;
    if (level != 0) {
        if (by_level || (state_.last_irr & mask) == 0)
            state_.irr |= mask;
        state_.last_irr |= mask;
    } else {
        if (by_level)
            state_.irr &= static_cast<std::uint8_t>(~mask);
        state_.last_irr &= static_cast<std::uint8_t>(~mask);
    }
    update();
}

void Pic::take(unsigned n)
{
    if (state_.auto_eoi != 0) {
        if (state_.rotate_on_auto_eoi != 0)
            state_.priority_add = (n + 1) & 7;
    } else {
        state_.isr |= bit(n);
    }
    if (state_.ltim == 0 && (state_.elcr & bit(n)) == 0)
        state_.irr &= static_cast<std::uint8_t>(~bit(n));
    update();
}

std::uint8_t Pic::acknowledge(Pic& slave)
{
    const int n = pending();
    if (n < 0)
        return static_cast<std::uint8_t>(state_.irq_base + 7);  // spurious
    std::uint8_t vector = 0;
    if (n == static_cast<int>(kCascade)) {
        const int behind = slave.pending();
        if (behind >= 0)
            slave.take(static_cast<unsigned>(behind));
        vector = static_cast<std::uint8_t>(slave.state_.irq_base + (behind >= 0 ? behind : 7));
    } else {
        vector = static_cast<std::uint8_t>(state_.irq_base + n);
    }
    take(static_cast<unsigned>(n));
    return vector;
}

// --- registers ---------------------------------------------------------------------------------

// What ICW1 does; level-triggered requests stay.
void Pic::initialise()
{
    state_ =
        PicState{.irr = static_cast<std::uint8_t>(state_.irr & state_.elcr), .elcr = state_.elcr};
    update();
}

void Pic::write_icw1(std::uint8_t value)
{
    initialise();
    state_.init_state = 1;
    state_.init4 = value & 1;
    state_.single_mode = value & 2;
    state_.ltim = value & 8;
}

void Pic::write_ocw3(std::uint8_t value)
{
    if ((value & 0x04) != 0)
        state_.poll = 1;
    if ((value & 0x02) != 0)
        state_.read_reg_select = value & 1;
    if ((value & 0x40) != 0)
        state_.special_mask = value >> 5 & 1;
}

void Pic::write_ocw2(std::uint8_t value)
{
    const unsigned command = value >> 5;
    const bool rotate = (command & 4) != 0;
    const bool specific = (command & 2) != 0;
    const bool eoi = (command & 1) != 0;
    unsigned n = value & 7;
    if (!eoi) {
        if (!specific)
            state_.rotate_on_auto_eoi = rotate ? 1 : 0;
        else if (rotate)
            state_.priority_add = (n + 1) & 7;
        update();
        return;
    }
    if (!specific) {
        const unsigned priority = priority_of(state_.isr);
        if (priority == kNone)
            return;
        n = (priority + state_.priority_add) & 7;
    }
    state_.isr &= static_cast<std::uint8_t>(~bit(n));
    if (rotate)
        state_.priority_add = (n + 1) & 7;
    update();
}

void Pic::write_command(std::uint8_t value)
{
    if ((value & 0x10) != 0)
        write_icw1(value);
    else if ((value & 0x08) != 0)
        write_ocw3(value);
    else
        write_ocw2(value);
}

void Pic::write_data(std::uint8_t value)
{
    switch (state_.init_state) {
    case 1:  // ICW2
        state_.irq_base = value & 0xf8;
        state_.init_state = state_.single_mode == 0 ? 2 : state_.init4 != 0 ? 3 : 0;
        break;
    case 2:  // ICW3
        state_.init_state = state_.init4 != 0 ? 3 : 0;
        break;
    case 3:  // ICW4
        state_.special_fully_nested_mode = value >> 4 & 1;
        state_.auto_eoi = value >> 1 & 1;
        state_.init_state = 0;
        break;
    default:  // OCW1
        state_.imr = value;
        update();
        break;
    }
}

std::uint8_t Pic::read(unsigned port)
{
    if (state_.poll != 0) {
        state_.poll = 0;
        const int n = pending();
        if (n < 0)
            return 0;
        take(static_cast<unsigned>(n));
        return static_cast<std::uint8_t>(0x80 | n);
    }
    if (port == 0)
        return state_.read_reg_select != 0 ? state_.isr : state_.irr;
    return state_.imr;
}

// --- life --------------------------------------------------------------------------------------

Result<void> Pic::realize()
{
    ports_handler_ = std::make_unique<Ports>(*this);
    elcr_handler_ = std::make_unique<Elcr>(*this);
    add_ports("pic", static_cast<std::uint16_t>(iobase_), 2, *ports_handler_);
    if (elcr_addr_ != 0xffffffff)
        add_ports("elcr", static_cast<std::uint16_t>(elcr_addr_), 1, *elcr_handler_);
    return {};
}

void Pic::reset(system::ResetKind)
{
    state_.elcr = 0;
    initialise();
}

Result<void> Pic::register_state(StateRegistry& registry)
{
    keep(GW_TRY(registry.add(kPicState, state_)));
    return {};
}

// --- the pair ----------------------------------------------------------------------------------

system::IrqInput PicPair::input(unsigned n) const
{
    return n < 8 ? master->gpio_in("", n) : slave->gpio_in("", n - 8);
}

Result<PicPair> add_pics(system::Vm& vm, IsaBus& bus, system::IrqInput cpu)
{
    const auto* accelerator = vm.accelerator();
    const bool kernel = accelerator != nullptr &&
                        const_cast<system::Accelerator*>(accelerator)->irqchip() != nullptr;
    const char* type = kernel ? "kvm-i8259" : "isa-i8259";
    PicPair pair;
    const auto add = [&](bool master) -> Result<PicDevice*> {
        const Json properties{{"master", master},
                              {"iobase", master ? 0x20 : 0xa0},
                              {"elcr_addr", master ? 0x4d0 : 0x4d1},
                              {"elcr_mask", master ? 0xf8 : 0xde}};
        return static_cast<PicDevice*>(GW_TRY(vm.devices().add_builtin(type, &bus, properties)));
    };
    pair.master = GW_TRY(add(true));
    pair.slave = GW_TRY(add(false));
    pair.master->gpio_out("", 0).connect(std::move(cpu));
    pair.slave->gpio_out("", 0).connect(pair.master->gpio_in("", kCascade));
    return pair;
}

namespace {

template <class T>
system::TypeInfo pic_type(std::string name)
{
    using system::property;
    return {.name = std::move(name),
            .parent = "isa-device",
            .user_creatable = false,
            .bus = "ISA",
            .description = "8259A interrupt controller",
            .properties = {property<&T::master_>("master", false),
                           property<&T::iobase_>("iobase", std::uint32_t{0xffffffff}),
                           property<&T::elcr_addr_>("elcr_addr", std::uint32_t{0xffffffff}),
                           property<&T::elcr_mask_>("elcr_mask", std::uint8_t{0xff})},
            .create = [] { return std::make_unique<T>(); }};
}

}  // namespace

Result<void> register_i8259(system::TypeRegistry& types)
{
    GW_TRY(types.add(pic_type<Pic>("isa-i8259")));
    return types.add(pic_type<KvmPic>("kvm-i8259"));
}

}  // namespace godwit::hw
