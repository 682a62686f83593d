// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/hmp.h"

#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/machine/board.h"
#include "hw/pci.h"
#include "system/hmp.h"
#include "system/vm.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <string_view>

namespace godwit::hw {
namespace {

using system::HmpArgs;
using system::HmpContext;
using system::HmpOutput;

// --- info pci ---------------------------------------------------------------------------------

std::string class_text(std::uint16_t code)
{
    struct Name {
        std::uint16_t code;
        std::string_view text;
    };
    static constexpr auto kNames = std::to_array<Name>({
        {0x0101, "IDE controller"},
        {0x0106, "SATA controller"},
        {0x0108, "NVMe controller"},
        {0x0200, "Ethernet controller"},
        {0x0300, "VGA controller"},
        {0x0600, "Host bridge"},
        {0x0601, "ISA bridge"},
        {0x0604, "PCI bridge"},
        {0x0c05, "SMBus"},
    });
    const auto found = std::ranges::find(kNames, code, &Name::code);
    return found == kNames.end() ? fmt::format("Class {:04d}", code) : std::string(found->text);
}

std::string bar_text(const PciDevice& device, unsigned index)
{
    const std::uint64_t size = device.bar_size(index);
    const std::uint32_t low = device.config_u32(pci::kBar0 + 4 * index);
    const bool io = (low & 1) != 0;
    const bool wide = !io && (low & 6) == 4;
    const std::string kind =
        io ? "I/O"
           : fmt::format("{} bit{} memory", wide ? 64 : 32, (low & 8) != 0 ? " prefetchable" : "");
    const auto address = device.bar_address(index);
    if (!address)
        return fmt::format("      BAR{}: {} (not mapped)\n", index, kind);
    return io ? fmt::format("      BAR{}: {} at 0x{:04x} [0x{:04x}]\n", index, kind, *address,
                            *address + size - 1)
              : fmt::format("      BAR{}: {} at 0x{:08x} [0x{:08x}]\n", index, kind, *address,
                            *address + size - 1);
}

std::string device_text(const PciDevice& device)
{
    const unsigned devfn = device.devfn();
    std::string out =
        fmt::format("  Bus  0, device {:3}, function {}:\n    {}: PCI device {:04x}:{:04x}\n",
                    devfn >> 3, devfn & 7, class_text(device.config_u16(pci::kClass)),
                    device.config_u16(pci::kVendorId), device.config_u16(pci::kDeviceId));
    out +=
        fmt::format("      PCI subsystem {:04x}:{:04x}\n", device.config_u16(pci::kSubsystemVendor),
                    device.config_u16(pci::kSubsystem));
    if (const unsigned pin = device.config_u8(pci::kInterruptPin))
        out += fmt::format("      IRQ {}, pin {}\n", device.config_u8(pci::kInterruptLine),
                           static_cast<char>('A' + pin - 1));
    for (unsigned index = 0; index < 6; ++index)
        if (device.bar_size(index) != 0)
            out += bar_text(device, index);
    return out + fmt::format("      id \"{}\"\n", device.id());
}

Result<void> info_pci(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    std::vector<const PciDevice*> found;
    for (const system::Device* device : context.vm.devices().devices())
        if (const auto* function = dynamic_cast<const PciDevice*>(device))
            found.push_back(function);
    std::ranges::sort(found, {}, &PciDevice::devfn);
    for (const PciDevice* device : found)
        out.print(device_text(*device));
    return {};
}

// --- info pic ---------------------------------------------------------------------------------

std::string pic_text(unsigned number, const PicState& s)
{
    return fmt::format("pic{}: irr={:02x} imr={:02x} isr={:02x} hprio={} irq_base={:02x} rr_sel={} "
                       "elcr={:02x} fnm={}\n",
                       number, s.irr, s.imr, s.isr, s.priority_add, s.irq_base, s.read_reg_select,
                       s.elcr, s.special_fully_nested_mode);
}

/// Fields of a redirection entry.
/// Source   Intel 82093AA data sheet, section 3.2.4.
std::string pin_text(unsigned pin, std::uint64_t entry)
{
    static constexpr std::array<std::string_view, 8> kModes = {"fixed", "lowest", "SMI", "...",
                                                               "NMI",   "INIT",   "...", "ExtINT"};
    const auto bit = [entry](unsigned n) { return (entry >> n & 1) != 0; };
    return fmt::format("  pin {:<2} 0x{:016x} dest={} vec={:<3} {} {} {} {:<6} {}\n", pin, entry,
                       entry >> 56, entry & 0xff, bit(13) ? "active-lo" : "active-hi",
                       bit(15) ? "level" : "edge ", bit(16) ? "masked" : "      ",
                       kModes[entry >> 8 & 7], bit(11) ? "logical" : "physical");
}

std::string pins_of(std::uint32_t bits)
{
    std::string out;
    for (unsigned pin = 0; pin < kIoapicPins; ++pin)
        if ((bits >> pin & 1) != 0)
            out += fmt::format(" {}", pin);
    return out.empty() ? " (none)" : out;
}

std::string ioapic_text(unsigned number, const IoapicDevice& device, const IoapicState& s)
{
    std::string out = fmt::format("ioapic{}: ver=0x{:x} id=0x{:02x} sel=0x{:02x}\n", number,
                                  device.version_, s.id, s.ioregsel);
    std::uint32_t remote = 0;
    for (unsigned pin = 0; pin < kIoapicPins; ++pin) {
        out += pin_text(pin, s.ioredtbl[pin]);
        remote |= static_cast<std::uint32_t>(s.ioredtbl[pin] >> 14 & 1) << pin;
    }
    return out + "  IRR     " + pins_of(s.irr) + "\n  Remote IRR" + pins_of(remote) + "\n";
}

Result<void> info_pic(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    unsigned pics = 0;
    unsigned ioapics = 0;
    for (system::Device* device : context.vm.devices().devices()) {
        if (auto* pic = dynamic_cast<PicDevice*>(device))
            out.print(pic_text(pics++, GW_TRY(pic->current())));
        else if (auto* ioapic = dynamic_cast<IoapicDevice*>(device))
            out.print(ioapic_text(ioapics++, *ioapic, GW_TRY(ioapic->current())));
    }
    return {};
}

// --- info irq ---------------------------------------------------------------------------------

template <class Chip>
void print_statistics(const Chip& chip, HmpOutput& out)
{
    out.print(fmt::format("IRQ statistics for {}:\n", chip.type_name()));
    for (std::size_t n = 0; n < chip.raised().size(); ++n)
        if (chip.raised()[n] != 0)
            out.print(fmt::format("{:2}: {}\n", n, chip.raised()[n]));
}

Result<void> info_irq(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    for (const system::Device* device : context.vm.devices().devices()) {
        if (const auto* pic = dynamic_cast<const PicDevice*>(device))
            print_statistics(*pic, out);
        else if (const auto* ioapic = dynamic_cast<const IoapicDevice*>(device))
            print_statistics(*ioapic, out);
    }
    return {};
}

// --- info roms --------------------------------------------------------------------------------

Result<void> info_roms(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    const auto* board = dynamic_cast<const X86Board*>(context.vm.machine());
    if (board == nullptr)
        return {};
    for (const BootImage& image : board->boot_images(context.vm))
        out.print(fmt::format("addr={:016x} size=0x{:06x} mem={} name=\"{}\"\n", image.address,
                              image.size, image.rom ? "rom" : "ram", image.name));
    return {};
}

}  // namespace

void add_human_commands(system::HmpTable& table)
{
    table.add_info({.name = "pci", .help = "show PCI info", .run = info_pci});
    table.add_info({.name = "pic", .help = "show PIC state", .run = info_pic});
    table.add_info(
        {.name = "irq", .help = "show the interrupts statistics (if available)", .run = info_irq});
    table.add_info({.name = "roms", .help = "show roms", .run = info_roms});
}

}  // namespace godwit::hw
