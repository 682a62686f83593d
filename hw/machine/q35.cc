// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Machine "pc-q35-10.0": a PC with PCI Express, started without firmware unless -bios brings one.
#include "hw/pci/q35.h"
#include "hw/block.h"
#include "hw/input/i8042.h"
#include "hw/intc/ioapic.h"
#include "hw/machine/board.h"
#include "hw/machine/register.h"
#include "hw/misc/port92.h"
#include "hw/pci/lpc.h"
#include "hw/rtc.h"
#include "hw/timer/i8254.h"
#include "system/accelerator.h"
#include "system/property.h"
#include "system/vm.h"
#include "util/json.h"
#include "util/log.h"
#include "util/units.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <span>

namespace godwit::hw {

using system::OnOffAuto;

namespace {

constexpr std::uint64_t kFirmwareSize = 256 << 10;
constexpr std::uint64_t kLowFirmware = 128 << 10;
constexpr std::uint64_t kStubSize = 4096;
constexpr system::GuestAddr kBootSector = 0x7c00;
constexpr std::uint16_t kBootSignature = 0xaa55;
constexpr std::uint64_t kEcam = 0xb0000000;
constexpr std::uint64_t kEcamSize = 256 * kMiB;
constexpr unsigned kPciexbar = 0x60;
constexpr std::uint32_t kPmBase = 0x600;
constexpr unsigned kSerialPorts = 4;
constexpr std::uint8_t kCmosShutdown = 0x0f;
constexpr std::uint8_t kShutdownWakeup = 0xfe;

class Q35 final : public X86Board {
public:
    Q35();
    Result<void> init(system::Vm& vm) override;
    bool wakeup_suspend_support() const noexcept override { return true; }
    void wakeup(system::Vm& vm) override;
    Result<void> powerdown(system::Vm& vm) override;
    static std::vector<system::Property> own_properties();

protected:
    void after_boot_image(system::Vm& vm, system::ResetKind kind) override;
    StubEntry default_entry(system::Vm& vm, system::ResetKind kind) override;

private:
    void map_firmware(system::Vm& vm);
    void copy_low_firmware(system::Vm& vm);
    Result<void> make_host(system::Vm& vm);
    Result<void> make_isa_devices(system::Vm& vm);
    Result<void> make_disks(system::Vm& vm);

    Result<void> refuse_what_is_missing() const;

    OnOffAuto acpi_ = OnOffAuto::Auto;
    OnOffAuto pit_ = OnOffAuto::Auto;
    OnOffAuto pic_ = OnOffAuto::Auto;
    OnOffAuto smm_ = OnOffAuto::Auto;
    OnOffAuto vmport_ = OnOffAuto::Auto;
    bool i8042_ = true;
    bool hpet_ = false;
    bool sata_ = true;
    bool smbus_ = false;
    std::uint64_t max_ram_below_4g_ = 0;
    Q35Host* host_ = nullptr;
    Lpc* lpc_ = nullptr;
    Rtc* rtc_ = nullptr;
};

Q35::Q35()
{
    info_ = {.name = "pc-q35-10.0",
             .alias = "q35",
             .description = "Standard PC (Q35 + ICH9, 2009)",
             .is_default = true,
             .max_cpus = 4096,
             .hotpluggable_cpus = true,
             .numa = true,
             .acpi = false,
             .default_cpu_type = "qemu64-x86_64-cpu",
             .default_ram_id = "pc.ram",
             .default_ram_bytes = 128 * kMiB};
}

std::vector<system::Property> Q35::own_properties()
{
    using system::property;
    using system::size_property;
    return {
        on_off_auto<&Q35::acpi_>("acpi", "Enable ACPI"),
        on_off_auto<&Q35::pit_>("pit", "Enable i8254 PIT"),
        on_off_auto<&Q35::pic_>("pic", "Enable i8259 PIC"),
        on_off_auto<&Q35::smm_>("smm", "Enable SMM"),
        on_off_auto<&Q35::vmport_>("vmport", "Enable vmport (pc & q35)"),
        property<&Q35::i8042_>("i8042", true,
                               "Enable/disable Intel 8042 PS/2 controller emulation"),
        property<&Q35::hpet_>("hpet", false, "Enable/disable high precision event timer emulation"),
        property<&Q35::sata_>("sata", true, "Enable/disable Serial ATA bus"),
        property<&Q35::smbus_>("smbus", false, "Enable/disable system management bus"),
        size_property<&Q35::max_ram_below_4g_>(
            "max-ram-below-4g", {}, "Maximum ram below the 4G boundary (32bit boundary)"),
    };
}

void Q35::map_firmware(system::Vm& vm)
{
    vm.memory().add({.name = "pc.bios",
                     .start = k4GiB - bios_->used_length(),
                     .size = bios_->used_length(),
                     .kind = system::RegionKind::Rom,
                     .block = bios_});
    reserved_.push_back({kEcam, kEcamSize, MemoryMapEntry::Type::Reserved});
}

Result<void> Q35::make_host(system::Vm& vm)
{
    host_ = static_cast<Q35Host*>(
        GW_TRY(vm.devices().add_builtin("q35-pcihost", nullptr, Json::object(), "q35", this)));
    const std::uint32_t pm_base = has_firmware() ? 0 : kPmBase;
    lpc_ = static_cast<Lpc*>(GW_TRY(vm.devices().add_builtin(
        "ICH9-LPC", &host_->bus(), Json{{"addr", "1f.0"}, {"x-firmware-pm-base", pm_base}})));
    return {};
}

Result<void> Q35::make_isa_devices(system::Vm& vm)
{
    IsaBus& isa = lpc_->isa();
    GW_TRY(make_pics(vm, isa));
    GW_TRY(make_ioapic(vm));
    lpc_->connect_gsi(gsi_);
    rtc_ = static_cast<Rtc*>(GW_TRY(vm.devices().add_builtin("mc146818rtc", &isa, Json::object())));
    rtc_->set_memory_sizes(ram_below_4g_, ram_above_4g_);
    PitDevice* pit = GW_TRY(add_pit(vm, isa));
    auto* speaker = static_cast<PcSpeaker*>(
        GW_TRY(vm.devices().add_builtin("isa-pcspk", &isa, Json::object())));
    speaker->connect(*pit);
    GW_TRY(make_serial_ports(vm, isa, kSerialPorts));
    if (i8042_)
        GW_TRY(vm.devices().add_builtin("i8042", &isa, Json::object()));
    GW_TRY(vm.devices().add_builtin("port92", &isa, Json::object()));
    return {};
}

Result<void> Q35::make_disks(system::Vm& vm)
{
    system::Device* ahci =
        GW_TRY(vm.devices().add_builtin("ich9-ahci", &host_->bus(), Json{{"addr", "1f.2"}}));
    ahci->gpio_out("legacy-irq", 0).connect(lpc_->isa().irq(14));
    for (const Drive* drive : BlockSet::of(vm).default_disks()) {
        const std::string name = fmt::format("ide.{}", drive->index);
        system::Bus* bus = vm.devices().find_bus(name);
        if (!bus)
            return Error(Errc::InvalidArgument,
                         fmt::format("-drive index={}: there is no bus {}", drive->index, name));
        GW_TRY(vm.devices().add_builtin("ide-hd", bus, Json{{"drive", drive->id}}));
    }
    return {};
}

Result<void> Q35::refuse_what_is_missing() const
{
    using enum OnOffAuto;
    const std::array<std::pair<std::string_view, bool>, 7> asked{{{"acpi=on", acpi_ == On},
                                                                  {"hpet=on", hpet_},
                                                                  {"pic=off", pic_ == Off},
                                                                  {"pit=off", pit_ == Off},
                                                                  {"smbus=on", smbus_},
                                                                  {"smm=on", smm_ == On},
                                                                  {"vmport=on", vmport_ == On}}};
    for (const auto& [what, is] : asked)
        if (is)
            return Error(Errc::Unsupported,
                         fmt::format("machine 'pc-q35-10.0': {} is not supported", what));
    return {};
}

Result<void> Q35::init(system::Vm& vm)
{
    GW_TRY(refuse_what_is_missing());
    // As in QEMU: with room to spare, the border is a round number.
    std::uint64_t below_4g = vm.config().ram_bytes >= kEcam ? 2 * kGiB : kEcam;
    if (max_ram_below_4g_ != 0)
        below_4g = std::min({below_4g, std::max(max_ram_below_4g_, kMiB)});
    GW_TRY(make_ram(vm, below_4g, true));
    GW_TRY(make_firmware(vm, kFirmwareSize));
    map_firmware(vm);
    GW_TRY(make_vcpus(vm, {}));
    GW_TRY(make_fw_cfg(vm));
    GW_TRY(make_host(vm));
    GW_TRY(make_isa_devices(vm));
    return sata_ ? make_disks(vm) : Result<void>();
}

/// Below 1 MiB all is RAM, whatever the PAM registers say: the end of the firmware is copied there.
/// Of what we start guests with, the page with the reset vector is enough.
void Q35::copy_low_firmware(system::Vm& vm)
{
    const std::uint64_t size =
        has_firmware() ? std::min(bios_->used_length(), kLowFirmware) : kStubSize;
    const std::span<const std::byte> end =
        bios_->bytes().subspan(bios_->used_length() - size, size);
    if (auto copied = vm.memory().write(kMiB - size, end); !copied)
        vm.log().report(copied.error());
}

void Q35::after_boot_image(system::Vm& vm, system::ResetKind kind)
{
    if (kind == system::ResetKind::Cold && vm.accelerator()->runs_guest_code())
        copy_low_firmware(vm);
    if (has_firmware())
        return;
    // Without firmware nobody else opens the configuration space.
    host_->mch().config_write(kPciexbar + 4, 0, 4);
    host_->mch().config_write(kPciexbar, static_cast<std::uint32_t>(kEcam | 1), 4);
}

/// The boot sector, put in its place; after a wake-up as well, since there is no waking vector.
StubEntry Q35::default_entry(system::Vm& vm, system::ResetKind)
{
    BlockNode* disk = boot_disk(vm);
    if (!disk)
        return HaltEntry{};
    std::array<std::byte, kSectorBytes> sector{};
    auto loaded = disk->read(0, sector);
    if (loaded)
        loaded = vm.memory().write(kBootSector, sector);
    if (!loaded) {
        vm.log().report(std::move(loaded).error().context("boot sector"));
        return HaltEntry{};
    }
    if (vm.memory().load(kBootSector + kSectorBytes - 2, 2) != kBootSignature) {
        vm.log().warn("the first sector of the disk is no boot sector: nothing to start");
        return HaltEntry{};
    }
    return BootSectorEntry{};
}

void Q35::wakeup(system::Vm&)
{
    rtc_->set_cmos(kCmosShutdown, kShutdownWakeup);  // firmware's sign to resume
}

Result<void> Q35::powerdown(system::Vm&)
{
    lpc_->pm().press_power_button();
    return {};
}

}  // namespace

Result<void> register_q35_machine(system::TypeRegistry& types)
{
    return types.add({.name = "pc-q35-10.0-machine",
                      .parent = "machine",
                      .description = "Standard PC (Q35 + ICH9, 2009)",
                      .properties = Q35::own_properties(),
                      .create = [] { return std::make_unique<Q35>(); }});
}

}  // namespace godwit::hw
