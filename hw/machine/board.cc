// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/machine/board.h"

#include "hw/fw_cfg.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/machine/device_tree.h"
#include "system/accelerator.h"
#include "system/vm.h"
#include "util/json.h"
#include "util/log.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::hw {

namespace {

constexpr std::uint64_t kFirmwareUnit = 64 << 10;
constexpr std::uint64_t kMaxFirmware = 16 << 20;
constexpr std::uint64_t kVgaStart = 0xa0000;
constexpr std::uint64_t kVgaEnd = 0xc0000;

}  // namespace

X86Board::X86Board() = default;
X86Board::~X86Board() = default;

Result<void> X86Board::make_ram(system::Vm& vm, std::uint64_t below_4g, bool vga_hole)
{
    ram_ = GW_TRY(system::MachineRam::create(vm));
    ram_below_4g_ = std::min(ram_.size(), below_4g);
    ram_above_4g_ = ram_.size() - ram_below_4g_;
    const std::uint64_t hole = vga_hole ? std::min(kVgaStart, ram_below_4g_) : ram_below_4g_;
    const std::uint64_t after = std::min(std::max(hole, vga_hole ? kVgaEnd : 0), ram_below_4g_);
    const system::AddressSpace::Transaction transaction(vm.memory());
    ram_.map(vm.memory(), 0, 0, hole, "ram-below-4g");
    ram_.map(vm.memory(), after, after, ram_below_4g_ - after, "ram-below-4g");
    ram_.map(vm.memory(), k4GiB, ram_below_4g_, ram_above_4g_, "ram-above-4g");
    return {};
}

Result<void> X86Board::make_firmware(system::Vm& vm, std::uint64_t default_size)
{
    std::uint64_t size = default_size;
    const std::string& path = vm.config().firmware;
    if (!path.empty()) {
        auto image = read_boot_file(path, kMaxFirmware);
        if (!image)
            return std::move(image).error().context(
                fmt::format("could not load PC BIOS '{}'", path));
        if (image->empty() || image->size() % kFirmwareUnit != 0)
            return Error(Errc::InvalidArgument,
                         fmt::format("could not load PC BIOS '{}': its size {} is no multiple of "
                                     "64 KiB",
                                     path, image->size()));
        bios_image_ = std::move(*image);
        size = bios_image_.size();
    }
    bios_ = GW_TRY(system::create_aux_ram(vm, "pc.bios", size));
    return {};
}

Result<void> X86Board::make_fw_cfg(system::Vm& vm)
{
    fw_cfg_ = static_cast<FwCfg*>(
        GW_TRY(vm.devices().add_builtin("fw_cfg_io", nullptr, Json::object(), "fw_cfg", this)));
    const system::VmConfig& config = vm.config();
    fw_cfg_->set_u64(FwCfgKey::RamSize, ram_.size());
    fw_cfg_->set_u16(FwCfgKey::NbCpus, static_cast<std::uint16_t>(config.cpus));
    fw_cfg_->set_u16(FwCfgKey::MaxCpus, static_cast<std::uint16_t>(config.max_cpus));
    fw_cfg_->set_u16(FwCfgKey::BootMenu, 0);
    fw_cfg_->set_u32(FwCfgKey::Irq0Override, 1);
    if (config.uuid) {
        const auto* bytes = reinterpret_cast<const std::byte*>(config.uuid->data());
        fw_cfg_->set(FwCfgKey::Uuid, {bytes, bytes + config.uuid->size()});
    }
    return {};
}

Result<void> add_vcpus(system::Vm& vm, unsigned count)
{
    system::Accelerator& accelerator = *vm.accelerator();
    for (unsigned index = 0; index < count; ++index) {
        auto vcpu = GW_TRY(accelerator.create_vcpu(index, vm.config().cpu_model));
        system::Vcpu& added = *vcpu;
        GW_TRY(vm.devices().add_builtin(std::move(vcpu), nullptr));
        vm.add_vcpu(added);
    }
    return accelerator.set_vcpus_done();
}

Result<void> X86Board::make_vcpus(system::Vm& vm, const system::AcceleratorNeeds& needs)
{
    GW_TRY(vm.accelerator()->prepare(needs));
    return add_vcpus(vm, vm.config().cpus);
}

Result<void> X86Board::make_serial_ports(system::Vm& vm, IsaBus& bus, unsigned most)
{
    const auto& ports = vm.config().serial_chardevs;
    for (unsigned index = 0; index < std::min<std::size_t>(ports.size(), most); ++index) {
        if (!ports[index])
            continue;
        const Json properties{{"index", index}, {"chardev", ports[index]->label()}};
        GW_TRY(vm.devices().add_builtin("isa-serial", &bus, properties));
    }
    return {};
}

Result<IoapicDevice*> X86Board::make_ioapic(system::Vm& vm)
{
    IoapicDevice* ioapic = GW_TRY(add_ioapic(vm));
    for (unsigned pin = 0; pin < kIoapicPins; ++pin)
        gsi_->connect(pin, ioapic->gpio_in("", pin));
    return ioapic;
}

Result<void> X86Board::make_pics(system::Vm& vm, IsaBus& bus)
{
    const PicPair pics = GW_TRY(add_pics(vm, bus, system::IrqInput()));
    if (vm.accelerator()->irqchip())
        return {};  // the kernel hands a GSI to all its chips
    for (unsigned wire = 0; wire < IsaBus::kIrqs; ++wire)
        gsi_->connect(wire, pics.input(wire));
    return {};
}

void X86Board::connect_isa(IsaBus& bus) const
{
    for (unsigned wire = 0; wire < IsaBus::kIrqs; ++wire)
        bus.connect_irq(wire, gsi_->input(wire));
}

MemoryMap X86Board::memory_map() const
{
    MemoryMap reserved = reserved_;
    if (bios_)
        reserved.push_back(
            {k4GiB - bios_->used_length(), bios_->used_length(), MemoryMapEntry::Type::Reserved});
    return pc_memory_map(ram_below_4g_, ram_above_4g_, reserved);
}

Result<void> X86Board::plan_kernel(system::Vm& vm, const std::string& more_cmdline)
{
    const system::VmConfig& config = vm.config();
    if (config.kernel.empty()) {
        if (!config.initrd.empty())
            return Error(Errc::InvalidArgument, "-initrd only allowed with -kernel option");
        if (!config.append.empty())
            return Error(Errc::InvalidArgument, "-append only allowed with -kernel option");
        return {};
    }
    kernel_ = GW_TRY(plan_direct_boot(
        {.kernel = config.kernel, .initrd = config.initrd, .cmdline = config.append + more_cmdline},
        ram_below_4g_, memory_map()));
    if (fw_cfg_)
        describe_boot_plan(*kernel_, *fw_cfg_);
    return {};
}

Result<void> X86Board::done(system::Vm& vm)
{
    GW_TRY(plan_kernel(vm, kernel_cmdline_addition(vm)));
    if (fw_cfg_)
        GW_TRY(fw_cfg_->add_file("etc/e820", e820_bytes(memory_map())));
    return dump_device_tree_if_asked(vm, *this);
}

StubEntry X86Board::default_entry(system::Vm&, system::ResetKind)
{
    return HaltEntry{};
}

void X86Board::load_boot_image(system::Vm& vm, system::ResetKind kind)
{
    if (!bios_ || !vm.accelerator()->runs_guest_code())
        return;
    std::vector<std::byte> image = bios_image_;
    if (image.empty())
        image = make_boot_stub(bios_->used_length(),
                               kernel_ ? kernel_->entry : default_entry(vm, kind));
    std::ranges::copy(image, bios_->host());
    bios_->mark_dirty(0, image.size());
    if (!kernel_ || !bios_image_.empty())
        return;
    if (auto loaded = load_boot_plan(*kernel_, vm.memory(), fresh_); !loaded)
        vm.log().report(loaded.error());
}

std::vector<BootImage> X86Board::boot_images(system::Vm& vm) const
{
    std::vector<BootImage> images;
    if (!bios_ || !vm.accelerator()->runs_guest_code())
        return images;
    const system::VmConfig& config = vm.config();
    if (kernel_ && bios_image_.empty()) {
        for (const BootPiece& piece : kernel_->pieces) {
            const std::uint64_t size =
                std::max<std::uint64_t>(piece.data.size(), piece.memory_size);
            const bool initrd = kernel_->initrd_address == piece.address && !config.initrd.empty();
            images.push_back({.address = piece.address,
                              .size = size,
                              .name = initrd ? config.initrd
                                      : piece.address >= kernel_->kernel_address
                                          ? config.kernel
                                          : "start-up data"});
        }
    }
    for (const system::MemorySection& section : *vm.memory().view()) {
        if (section.block == bios_ && section.start + section.size == k4GiB)
            images.push_back({.address = section.start,
                              .size = section.size,
                              .rom = section.kind == system::RegionKind::Rom,
                              .name = bios_image_.empty() ? "boot stub" : config.firmware});
    }
    std::ranges::sort(images, {}, &BootImage::address);
    return images;
}

void X86Board::reset(system::Vm& vm, system::ResetKind kind)
{
    Machine::reset(vm, kind);
    if (vm.run_state().state() != system::RunState::Inmigrate) {
        load_boot_image(vm, kind);
        after_boot_image(vm, kind);
    }
    fresh_ = false;
}

}  // namespace godwit::hw
