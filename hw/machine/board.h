// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the x86 boards share: RAM, vCPUs, firmware, interrupt wires, and what happens at reset.
#pragma once

#include "hw/boot/direct_boot.h"
#include "hw/gsi.h"
#include "hw/isa.h"
#include "system/accelerator.h"
#include "system/machine.h"
#include "system/machine_ram.h"
#include "system/property.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godwit::hw {

class FwCfg;
class IoapicDevice;

/// A virtio-mmio transport of a board.
struct VirtioTransport {
    system::Device* device = nullptr;
    system::GuestAddr base = 0;
    unsigned gsi = 0;
};

/// A property of a board that is on, off, or the board's choice.
template <auto Member>
system::Property on_off_auto(const char* name, const char* what)
{
    return system::enum_property<Member>(name, "OnOffAuto", system::kOnOffAutoNames, "auto", what);
}

/// What is put into guest memory before the guest starts.
struct BootImage {
    system::GuestAddr address = 0;
    std::uint64_t size = 0;
    bool rom = false;  ///< the guest cannot write there
    std::string name;  ///< a file's, or what it is
};

/// Base of the x86 machines.
///
/// Order    a board's init() calls the make_*() in the order in which it wants the sections of the
///          stream; done() is left to this class.
/// Threads  with the machine lock.
class X86Board : public system::Machine {
public:
    X86Board();
    ~X86Board() override;
    const system::MachineInfo& info() const noexcept override { return info_; }
    Result<void> done(system::Vm& vm) override;
    /// Devices first, then firmware and kernel are put into memory: not while an incoming migration
    /// is awaited, whose stream brings them.
    void reset(system::Vm& vm, system::ResetKind kind) override;
    const std::vector<VirtioTransport>& transports() const noexcept { return transports_; }
    /// What load_boot_image() puts there.
    std::vector<BootImage> boot_images(system::Vm& vm) const;

protected:
    static constexpr std::uint64_t k4GiB = std::uint64_t{1} << 32;

    /// Takes the RAM and maps it: up to `below_4g` bytes at 0, the rest at 4 GiB. `vga_hole`
    /// leaves 0xa0000 to 0xbffff to others.
    Result<void> make_ram(system::Vm& vm, std::uint64_t below_4g, bool vga_hole = false);
    /// The block "pc.bios" that ends at 4 GiB, of the size of `-bios` or else `default_size`.
    Result<void> make_firmware(system::Vm& vm, std::uint64_t default_size);
    Result<void> make_fw_cfg(system::Vm& vm);
    Result<void> make_vcpus(system::Vm& vm, const system::AcceleratorNeeds& needs);
    /// Ports 0x3f8... for each -serial, as far as there are chardevs for them.
    Result<void> make_serial_ports(system::Vm& vm, IsaBus& bus, unsigned most);
    /// 24 wires, to an I/O APIC, and with `pic` to a pair of 8259s on `bus` that are wires of it.
    Result<IoapicDevice*> make_ioapic(system::Vm& vm);
    Result<void> make_pics(system::Vm& vm, IsaBus& bus);
    /// The first 16 wires to the ISA bus.
    void connect_isa(IsaBus& bus) const;
    /// Reads -kernel and -initrd; nothing without -kernel.
    Result<void> plan_kernel(system::Vm& vm, const std::string& more_cmdline);
    /// The memory map a guest is given.
    MemoryMap memory_map() const;

    bool has_firmware() const noexcept { return !bios_image_.empty(); }
    /// Last at reset: what firmware would have set up.
    virtual void after_boot_image(system::Vm&, system::ResetKind) {}
    /// What a board without kernel and firmware starts, asked at each reset.
    virtual StubEntry default_entry(system::Vm& vm, system::ResetKind kind);
    /// Everything that makes a difference to the command line only when all devices are there.
    virtual std::string kernel_cmdline_addition(system::Vm&) { return {}; }

    system::MachineInfo info_;
    system::MachineRam ram_;
    std::uint64_t ram_below_4g_ = 0;
    std::uint64_t ram_above_4g_ = 0;
    MemoryMap reserved_;  ///< for the guest's memory map
    system::RamBlock* bios_ = nullptr;
    std::vector<std::byte> bios_image_;  ///< of -bios
    std::optional<BootPlan> kernel_;
    FwCfg* fw_cfg_ = nullptr;
    std::shared_ptr<Gsi> gsi_ = std::make_shared<Gsi>(24);
    std::vector<VirtioTransport> transports_;

private:
    void load_boot_image(system::Vm& vm, system::ResetKind kind);
    bool fresh_ = true;
};

/// Makes vCPUs 0 to `count` - 1 of the configured model.
Result<void> add_vcpus(system::Vm& vm, unsigned count);

}  // namespace godwit::hw
