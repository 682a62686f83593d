// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The ISA bus: sixteen interrupt wires and the port space.
#pragma once

#include "hw/region.h"
#include "system/device.h"

#include <array>
#include <vector>

namespace godwit::hw {

/// A bus of type "ISA". The board connects its wires to the interrupt controllers before it adds
/// devices; a wire nobody connected swallows what is sent.
class IsaBus : public system::Bus {
public:
    static constexpr unsigned kIrqs = 16;
    IsaBus(std::string name, system::Device* owner) : Bus("ISA", std::move(name), owner) {}

    void connect_irq(unsigned n, system::IrqInput to) { irqs_.at(n) = std::move(to); }
    const system::IrqInput& irq(unsigned n) const { return irqs_.at(n); }

private:
    std::array<system::IrqInput, kIrqs> irqs_;
};

/// What ISA devices share: ports that go when the device does, and one interrupt.
class IsaDevice : public system::Device {
protected:
    /// Puts `size` ports at `start` in front of `io`, until unrealize.
    void add_ports(std::string name, std::uint16_t start, std::uint32_t size,
                   system::IoHandler& io);
    /// Connects output `n` of the unnamed gpio list to ISA wire `irq`.
    /// Errors   InvalidArgument when there is no such wire.
    Result<void> connect_irq(unsigned n, std::int64_t irq);
    void remove_ports() noexcept { ports_.clear(); }

    void unrealize() noexcept override { remove_ports(); }

private:
    std::vector<MappedRegion> ports_;
};

/// Type "isabus-bridge": a board without PCI gets its bus "isa.0" from it.
class IsaBridge : public system::Device {
public:
    IsaBus& bus() noexcept { return *bus_; }

protected:
    Result<void> realize() override;

private:
    IsaBus* bus_ = nullptr;
};

}  // namespace godwit::hw
