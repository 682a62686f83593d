// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/isa.h"

#include "system/vm.h"

#include <fmt/format.h>

namespace godwit::hw {

void IsaDevice::add_ports(std::string name, std::uint16_t start, std::uint32_t size,
                          system::IoHandler& io)
{
    ports_.emplace_back(vm().io(), system::RegionSpec{.name = std::move(name),
                                                      .start = start,
                                                      .size = size,
                                                      .kind = system::RegionKind::Io,
                                                      .io = &io});
}

Result<void> IsaDevice::connect_irq(unsigned n, std::int64_t irq)
{
    if (irq < 0 || irq >= IsaBus::kIrqs)
        return Error(Errc::InvalidArgument, fmt::format("isa irq {} is not in 0..15", irq));
    if (auto* bus = dynamic_cast<IsaBus*>(parent_bus()))
        gpio_out("", n).connect(bus->irq(static_cast<unsigned>(irq)));
    return {};
}

Result<void> IsaBridge::realize()
{
    bus_ = &static_cast<IsaBus&>(add_bus(std::make_unique<IsaBus>("isa.0", this)));
    return {};
}

}  // namespace godwit::hw
