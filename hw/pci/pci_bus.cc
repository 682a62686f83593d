// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/dma.h"
#include "hw/pci.h"
#include "system/vm.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <span>

namespace godwit::hw {
namespace {

using namespace migration::stream;

constexpr auto kBus = vmstate<PciBus::IrqState>("PCIBUS", {.current = 1, .oldest = 1},
                                                field<&PciBus::IrqState::nirq>("nirq").equal(),
                                                field<&PciBus::IrqState::count>("irq_count")
                                                    .counted_by<&PciBus::IrqState::nirq>()
                                                    .at_most(256));

Result<std::uint8_t> parse_address(const std::string& text)
{
    const auto bad = [&] {
        return Error(Errc::InvalidArgument,
                     fmt::format("Property 'addr' doesn't take value '{}'", text));
    };
    std::string_view rest = text;
    if (rest.starts_with("0x"))
        rest.remove_prefix(2);
    unsigned slot = 0;
    unsigned function = 0;
    const char* end = rest.data() + rest.size();
    auto [next, error] = std::from_chars(rest.data(), end, slot, 16);
    if (error != std::errc{} || slot > 31)
        return bad();
    if (next != end) {
        if (*next != '.')
            return bad();
        const auto tail = std::from_chars(next + 1, end, function, 16);
        if (tail.ec != std::errc{} || tail.ptr != end || function > 7)
            return bad();
    }
    return pci::devfn(slot, function);
}

std::string describe(const PciDevice& device)
{
    const std::string type(device.type_name());
    return device.id().empty() ? type : type + ",id=" + device.id();
}

}  // namespace

const VMStateOf<PciBus::IrqState>& kPciBusState = kBus;

PciBus::PciBus(std::string name, system::Device* owner, system::AddressSpace& memory,
               system::AddressSpace& io)
    : Bus("PCI", std::move(name), owner), memory_(memory), io_(io)
{}

PciBus::~PciBus() = default;

std::uint32_t PciBus::config_read(std::uint8_t devfn, unsigned offset, unsigned size)
{
    PciDevice* device = slots_[devfn];
    if (device == nullptr || offset + size > device->config().size())
        return size >= 4 ? 0xffffffff : (1u << (8 * size)) - 1;
    return device->config_read(offset, size);
}

void PciBus::config_write(std::uint8_t devfn, unsigned offset, std::uint32_t value, unsigned size)
{
    PciDevice* device = slots_[devfn];
    if (device != nullptr && offset + size <= device->config().size())
        device->config_write(offset, value, size);
}

// --- interrupts --------------------------------------------------------------------------------

void PciBus::set_irqs(unsigned wires, IrqMap map, IrqSet set)
{
    irq_.nirq = static_cast<std::int32_t>(wires);
    irq_.count.assign(wires, 0);
    map_ = std::move(map);
    set_ = std::move(set);
}

void PciBus::change_irq(std::uint8_t devfn, unsigned pin, int change)
{
    if (!map_)
        return;
    const unsigned wire = map_(devfn, pin);
    if (wire >= irq_.count.size())
        return;
    irq_.count[wire] += change;
    set_(wire, irq_.count[wire] != 0 ? 1 : 0);
}

std::optional<unsigned> PciBus::irq_gsi(std::uint8_t devfn, unsigned pin) const
{
    return map_ && route_ ? route_(map_(devfn, pin)) : std::nullopt;
}

void PciBus::irq_routes_changed()
{
    for (PciDevice* device : slots_)
        if (device != nullptr)
            device->irq_route_changed();
}

void PciBus::send_msi(system::Vm& vm, const MsiMessage& message)
{
    if (msi_) {
        msi_(message);
        return;
    }
    system::KernelIrqchip* irqchip =
        vm.accelerator() != nullptr ? vm.accelerator()->irqchip() : nullptr;
    // A guest's bad address is its own loss, here and there.
    if (irqchip != nullptr)
        (void)irqchip->send_msi(message.address, message.data);
    else
        (void)dma_write(memory_, message.address, std::as_bytes(std::span(&message.data, 1)));
}

// --- places ------------------------------------------------------------------------------------

bool PciBus::full() const
{
    for (unsigned slot = 0; slot < 32; ++slot)
        if (slots_[pci::devfn(slot, 0)] == nullptr)
            return false;
    return true;
}

Result<std::uint8_t> PciBus::place(const PciDevice& device) const
{
    if (device.addr_.empty() || device.addr_ == "-1") {
        for (unsigned slot = 0; slot < 32; ++slot)
            if (slots_[pci::devfn(slot, 0)] == nullptr)
                return pci::devfn(slot, 0);
        return Error(Errc::Busy, fmt::format("PCI: no slot/function available for {}, all in use "
                                             "or reserved",
                                             device.type_name()));
    }
    const std::uint8_t devfn = GW_TRY(parse_address(device.addr_));
    const unsigned slot = devfn >> 3;
    if (const PciDevice* other = slots_[devfn])
        return Error(Errc::Busy,
                     fmt::format("PCI: slot {} function {} not available for {}, in use by {}",
                                 slot, devfn & 7, device.type_name(), describe(*other)));
    const PciDevice* first = slots_[pci::devfn(slot, 0)];
    if ((devfn & 7) != 0 && first != nullptr && !first->multifunction_)
        return Error(Errc::Busy,
                     fmt::format("PCI: {:x}.0 indicates single function, but {:x}.{} is already "
                                 "populated.",
                                 slot, slot, devfn & 7));
    return devfn;
}

Result<void> PciBus::check_plug(system::Device& device)
{
    auto* pci = dynamic_cast<PciDevice*>(&device);
    if (pci == nullptr)
        return Error(Errc::InvalidArgument, "only PCI devices go on a PCI bus");
    GW_TRY(place(*pci));
    return {};
}

Result<void> PciBus::plug(system::Device& device)
{
    auto& pci = static_cast<PciDevice&>(device);
    pci.devfn_ = GW_TRY(place(pci));
    pci.bus_ = this;
    slots_[pci.devfn_] = &pci;
    return {};
}

void PciBus::unplug(system::Device& device) noexcept
{
    auto& pci = static_cast<PciDevice&>(device);
    if (slots_[pci.devfn_] == &pci)
        slots_[pci.devfn_] = nullptr;
    pci.bus_ = nullptr;
}

}  // namespace godwit::hw
