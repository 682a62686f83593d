// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/char/serial.h"
#include "hw/register_private.h"
#include "migration/stream/registry.h"
#include "system/property.h"
#include "system/vm.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace godwit::hw {
namespace {

struct Port {
    std::uint16_t iobase;
    std::uint8_t irq;
};
constexpr std::array<Port, 4> kPorts{{{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}}};

Result<std::uint32_t> free_index(const system::Bus* bus)
{
    for (std::uint32_t n = 0; n < kPorts.size(); ++n) {
        const auto taken = [n](const system::Device* device) {
            const auto* serial = dynamic_cast<const IsaSerial*>(device);
            return serial != nullptr && serial->realized() && serial->index_ == n;
        };
        if (bus == nullptr || std::ranges::none_of(bus->devices(), taken))
            return n;
    }
    return Error(Errc::InvalidArgument, "Max. supported number of ISA serial ports is 4.");
}

}  // namespace

Result<void> IsaSerial::realize()
{
    if (index_ == kAuto)
        index_ = GW_TRY(free_index(parent_bus()));
    if (index_ >= kPorts.size())
        return Error(Errc::InvalidArgument, "Max. supported number of ISA serial ports is 4.");
    if (iobase_ == kAuto)
        iobase_ = kPorts[index_].iobase;
    if (irq_ == kAuto)
        irq_ = kPorts[index_].irq;
    if (iobase_ > 0xfff8)
        return Error(Errc::InvalidArgument,
                     fmt::format("iobase {:#x} leaves no room for eight ports", iobase_));
    system::Chardev* chardev = nullptr;
    if (!chardev_.empty()) {
        chardev = vm().chardevs().find(chardev_);
        if (chardev == nullptr)
            return Error(Errc::NotFound, fmt::format("Property 'isa-serial.chardev' can't find "
                                                     "value '{}'",
                                                     chardev_));
    }
    GW_TRY(connect_irq(0, irq_));
    uart_ = std::make_unique<Uart>(
        vm().clocks(), [this](int level) { gpio_out("", 0).set(level); }, baudbase_);
    if (auto attached = uart_->connect(chardev); !attached) {
        uart_.reset();
        return attached;
    }
    add_ports("serial", static_cast<std::uint16_t>(iobase_), 8, *uart_);
    return {};
}

void IsaSerial::reset(system::ResetKind)
{
    uart_->reset();
}

void IsaSerial::unrealize() noexcept
{
    IsaDevice::unrealize();
    uart_.reset();
}

Result<void> IsaSerial::register_state(migration::stream::StateRegistry& registry)
{
    keep(GW_TRY(registry.add(kSerialSection, uart_->section(), {},
                             {.pre_save = [this] { return uart_->pre_save(); },
                              .post_load =
                                  [this](migration::stream::Version) {
                                      uart_->post_load();
                                      return ok();
                                  }})));
    return {};
}

Result<void> register_serial(system::TypeRegistry& types)
{
    using system::property;
    return types.add({.name = "isa-serial",
                      .parent = "isa-device",
                      .bus = "ISA",
                      .description = "16550A UART",
                      .properties = {property<&IsaSerial::chardev_>("chardev", "", "its back end"),
                                     property<&IsaSerial::index_>("index", IsaSerial::kAuto),
                                     property<&IsaSerial::iobase_>("iobase", IsaSerial::kAuto),
                                     property<&IsaSerial::irq_>("irq", IsaSerial::kAuto),
                                     property<&IsaSerial::baudbase_>("baudbase", 115200),
                                     property<&IsaSerial::wakeup_>("wakeup", false)},
                      .create = [] { return std::make_unique<IsaSerial>(); }});
}

}  // namespace godwit::hw
