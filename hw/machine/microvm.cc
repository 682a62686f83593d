// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Machine "microvm": QEMU's memory map and devices, without ACPI and PCI.
#include "hw/intc/ioapic.h"
#include "hw/machine/board.h"
#include "hw/machine/register.h"
#include "hw/rtc.h"
#include "hw/timer/i8254.h"
#include "system/accelerator.h"
#include "system/property.h"
#include "system/vm.h"
#include "util/json.h"
#include "util/units.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::hw {

namespace {

using system::OnOffAuto;

constexpr std::uint64_t kRamBelow4G = std::uint64_t{3} << 30;
constexpr std::uint64_t kFirmwareSize = 64 << 10;
constexpr std::uint64_t kLowFirmware = 128 << 10;
constexpr system::GuestAddr kTransports = 0xfeb00000;
constexpr std::uint64_t kTransportSize = 512;
constexpr system::GuestAddr kIoapic2 = 0xfec10000;

class Microvm final : public X86Board {
public:
    Microvm()
    {
        info_ = {.name = "microvm",
                 .description = "microvm (i386)",
                 .max_cpus = 288,
                 .numa = true,
                 .default_cpu_type = "qemu64-x86_64-cpu",
                 .default_ram_id = "microvm.ram",
                 .default_ram_bytes = 128 * kMiB};
    }
    Result<void> init(system::Vm& vm) override;
    static std::vector<system::Property> own_properties();

protected:
    std::string kernel_cmdline_addition(system::Vm& vm) override;

private:
    void map_firmware(system::Vm& vm);
    Result<void> make_isa_devices(system::Vm& vm);
    Result<void> make_second_ioapic(system::Vm& vm);
    Result<void> make_transports(system::Vm& vm);
    bool second_ioapic() const noexcept { return ioapic2_ == OnOffAuto::On; }

    OnOffAuto acpi_ = OnOffAuto::Auto;
    OnOffAuto pit_ = OnOffAuto::Auto;
    OnOffAuto pic_ = OnOffAuto::Auto;
    OnOffAuto rtc_ = OnOffAuto::Auto;
    OnOffAuto pcie_ = OnOffAuto::Auto;
    OnOffAuto ioapic2_ = OnOffAuto::Auto;
    bool isa_serial_ = true;
    bool option_roms_ = true;
    bool auto_kernel_cmdline_ = true;
    IsaBus* isa_ = nullptr;
};

std::vector<system::Property> Microvm::own_properties()
{
    using system::property;
    using M = Microvm;
    return {
        on_off_auto<&M::acpi_>("acpi", "Enable ACPI"),
        on_off_auto<&M::pit_>("pit", "Enable i8254 PIT"),
        on_off_auto<&M::pic_>("pic", "Enable i8259 PIC"),
        on_off_auto<&M::rtc_>("rtc", "Enable MC146818 RTC"),
        on_off_auto<&M::pcie_>("pcie", "Enable PCIe"),
        on_off_auto<&M::ioapic2_>("ioapic2", "Enable second IO-APIC"),
        property<&M::isa_serial_>("isa-serial", true,
                                  "Set off to disable the instantiation an ISA serial port"),
        property<&M::option_roms_>("x-option-roms", true, "Set off to disable loading option ROMs"),
        property<&M::auto_kernel_cmdline_>(
            "auto-kernel-cmdline", true,
            "Set off to disable adding virtio-mmio devices to the kernel cmdline"),
    };
}

/// At the top of 4 GiB, and its last 128 KiB once more below 1 MiB: RAM in both places, which
/// hides the machine's RAM.
void Microvm::map_firmware(system::Vm& vm)
{
    const std::uint64_t size = bios_->used_length();
    const std::uint64_t low = std::min(size, kLowFirmware);
    const system::AddressSpace::Transaction transaction(vm.memory());
    vm.memory().add({.name = "pc.bios",
                     .start = k4GiB - size,
                     .size = size,
                     .kind = system::RegionKind::Ram,
                     .block = bios_});
    vm.memory().add({.name = "isa-bios",
                     .start = kMiB - low,
                     .size = low,
                     .priority = 1,
                     .kind = system::RegionKind::Ram,
                     .block = bios_,
                     .block_offset = size - low});
}

Result<void> Microvm::make_isa_devices(system::Vm& vm)
{
    const bool kernel_chips = vm.accelerator()->irqchip() != nullptr;
    if (pic_ != OnOffAuto::Off)
        GW_TRY(make_pics(vm, *isa_));
    if (pit_ != OnOffAuto::Off)
        GW_TRY(add_pit(vm, *isa_));
    if (rtc_ == OnOffAuto::On || (rtc_ == OnOffAuto::Auto && !kernel_chips)) {
        auto* rtc = static_cast<Rtc*>(
            GW_TRY(vm.devices().add_builtin("mc146818rtc", isa_, Json::object())));
        rtc->set_memory_sizes(ram_below_4g_, ram_above_4g_);
    }
    if (isa_serial_)
        GW_TRY(make_serial_ports(vm, *isa_, 1));
    return {};
}

Result<void> Microvm::make_second_ioapic(system::Vm& vm)
{
    auto* ioapic = static_cast<Ioapic*>(GW_TRY(add_ioapic(vm, kIoapic2, kIoapicPins)));
    if (system::KernelIrqchip* irqchip = vm.accelerator()->irqchip())
        ioapic->on_message([irqchip](std::uint64_t address, std::uint32_t data) {
            (void)irqchip->send_msi(address, data);
        });
    for (unsigned pin = 0; pin < kIoapicPins; ++pin)
        gsi_->connect(kIoapicPins + pin, ioapic->gpio_in("", pin));
    return {};
}

Result<void> Microvm::make_transports(system::Vm& vm)
{
    if (!vm.types().find("virtio-mmio"))
        return {};
    const unsigned count = second_ioapic() ? 24 : 8;
    const unsigned first_gsi = second_ioapic() ? kIoapicPins : 5;
    // The last one first: it gets the first device that names no bus, as in QEMU.
    for (unsigned n = count; n-- > 0;) {
        const system::GuestAddr base = kTransports + n * kTransportSize;
        const Json properties{{"base", base}, {"x-index", n}};
        system::Device* device =
            GW_TRY(vm.devices().add_builtin("virtio-mmio", nullptr, properties));
        device->gpio_out("", 0).connect(gsi_->input(first_gsi + n));
        transports_.insert(transports_.begin(), {device, base, first_gsi + n});
    }
    return {};
}

Result<void> Microvm::init(system::Vm& vm)
{
    if (acpi_ == OnOffAuto::On)
        return Error(Errc::Unsupported,
                     "machine 'microvm': acpi=on is not supported, use acpi=off");
    if (pcie_ == OnOffAuto::On)
        return Error(Errc::Unsupported,
                     "machine 'microvm': pcie=on is not supported, use pcie=off");
    GW_TRY(make_ram(vm, kRamBelow4G));
    GW_TRY(make_firmware(vm, kFirmwareSize));
    map_firmware(vm);
    GW_TRY(make_fw_cfg(vm));
    GW_TRY(make_vcpus(vm, {.pic = pic_ != OnOffAuto::Off,
                           .pit = pit_ != OnOffAuto::Off,
                           .host_phys_bits = true,
                           .msi_ext_dest_id = true}));
    if (second_ioapic())
        gsi_ = std::make_shared<Gsi>(2 * kIoapicPins);
    GW_TRY(make_ioapic(vm));
    if (second_ioapic())
        GW_TRY(make_second_ioapic(vm));
    auto* bridge = static_cast<IsaBridge*>(
        GW_TRY(vm.devices().add_builtin("isabus-bridge", nullptr, Json::object())));
    isa_ = &bridge->bus();
    connect_isa(*isa_);
    GW_TRY(make_isa_devices(vm));
    return make_transports(vm);
}

std::string Microvm::kernel_cmdline_addition(system::Vm&)
{
    std::string text;
    if (!auto_kernel_cmdline_)
        return text;
    for (const VirtioTransport& transport : transports_) {
        const auto& buses = transport.device->buses();
        if (!buses.empty() && !buses.front()->devices().empty())
            text += fmt::format(" virtio_mmio.device={}@{:#x}:{}", kTransportSize, transport.base,
                                transport.gsi);
    }
    return text;
}

}  // namespace

Result<void> register_microvm_machine(system::TypeRegistry& types)
{
    return types.add({.name = "microvm-machine",
                      .parent = "machine",
                      .description = "microvm (i386)",
                      .properties = Microvm::own_properties(),
                      .create = [] { return std::make_unique<Microvm>(); }});
}

}  // namespace godwit::hw
