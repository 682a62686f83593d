// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/ide/ahci.h"

#include "hw/register_private.h"
#include "migration/stream/registry.h"
#include "system/property.h"
#include "system/vm.h"

#include <fmt/format.h>

namespace godwit::hw {
namespace {

// Generic host control.
constexpr unsigned kCap = 0x00;
constexpr unsigned kGhc = 0x04;
constexpr unsigned kIs = 0x08;
constexpr unsigned kPi = 0x0c;
constexpr unsigned kVs = 0x10;
constexpr std::uint32_t kGhcReset = 1;
constexpr std::uint32_t kGhcInterrupts = 2;
constexpr std::uint32_t kGhcAhci = 0x80000000;
constexpr std::uint32_t kCapValue = (kAhciPorts - 1) | 31u << 8 | 1u << 18 | 1u << 20 | 1u << 31;
constexpr std::uint32_t kVersion = 0x00010000;

constexpr unsigned kPortBase = 0x100;
constexpr unsigned kPortSize = 0x80;
constexpr std::uint32_t kCmdStart = 0x0001;
constexpr std::uint32_t kCmdFisOn = 0x0010;
constexpr std::uint32_t kCmdFisRunning = 0x4000;
constexpr std::uint32_t kCmdRunning = 0x8000;
constexpr std::uint32_t kSignatureDisk = 0x00000101;
constexpr std::uint32_t kLinkUp = 0x113;

constexpr std::uint8_t kCapSata = 0x12;
constexpr std::uint8_t kControlReset = 0x04;
constexpr std::uint8_t kControlNoInterrupt = 0x02;
constexpr std::uint8_t kControlHob = 0x80;

}  // namespace

// --- windows -----------------------------------------------------------------------------------

class Ahci::Abar final : public system::IoHandler {
public:
    explicit Abar(Ahci& ahci) : ahci_(ahci) {}
    std::uint64_t read(system::GuestAddr offset, unsigned size) override
    {
        const std::uint64_t word = ahci_.read_register(offset & ~std::uint64_t{3});
        return word >> (8 * (offset & 3)) & ((std::uint64_t{1} << (8 * size)) - 1);
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override
    {
        if (size == 4 && offset % 4 == 0)
            ahci_.write_register(offset, static_cast<std::uint32_t>(value));
    }
    unsigned max_access() const override { return 4; }

private:
    Ahci& ahci_;
};

// The same registers through an index and a data port.
class Ahci::IndexPorts final : public system::IoHandler {
public:
    explicit IndexPorts(Ahci& ahci) : ahci_(ahci) {}
    std::uint64_t read(system::GuestAddr offset, unsigned size) override
    {
        if (size == 4 && offset == 0x10)
            return ahci_.s_.idp_index;
        return size == 4 && offset == 0x14 ? ahci_.read_register(ahci_.s_.idp_index) : 0;
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override
    {
        if (size == 4 && offset == 0x10)
            ahci_.s_.idp_index = static_cast<std::uint32_t>(value) & 0xffc;
        else if (size == 4 && offset == 0x14)
            ahci_.write_register(ahci_.s_.idp_index, static_cast<std::uint32_t>(value));
    }
    unsigned max_access() const override { return 4; }

private:
    Ahci& ahci_;
};

class Ahci::TaskFile final : public system::IoHandler {
public:
    explicit TaskFile(Ahci& ahci) : ahci_(ahci) {}
    std::uint64_t read(system::GuestAddr offset, unsigned size) override
    {
        if (offset != 0)
            return size == 1 ? ahci_.read_legacy(static_cast<unsigned>(offset)) : ~std::uint64_t{0};
        IdeDrive* drive = ahci_.legacy_drive();
        if (drive == nullptr)
            return ~std::uint64_t{0};
        std::uint64_t value = drive->read_data();
        if (size == 4)
            value |= std::uint64_t{drive->read_data()} << 16;
        return value;
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override
    {
        if (offset != 0) {
            if (size == 1)
                ahci_.write_legacy(static_cast<unsigned>(offset), static_cast<std::uint8_t>(value));
            return;
        }
        IdeDrive* drive = ahci_.legacy_drive();
        if (drive == nullptr || size < 2)
            return;
        drive->write_data(static_cast<std::uint16_t>(value));
        if (size == 4)
            drive->write_data(static_cast<std::uint16_t>(value >> 16));
    }
    unsigned max_access() const override { return 4; }

private:
    Ahci& ahci_;
};

class Ahci::ControlPort final : public system::IoHandler {
public:
    explicit ControlPort(Ahci& ahci) : ahci_(ahci) {}
    std::uint64_t read(system::GuestAddr, unsigned) override
    {
        const IdeDrive* drive = ahci_.legacy_drive();  // reading here acknowledges nothing
        return drive != nullptr && ahci_.legacy_bus().unit == 0 ? drive->read(7) : 0;
    }
    void write(system::GuestAddr, std::uint64_t value, unsigned) override
    {
        ahci_.write_control(static_cast<std::uint8_t>(value));
    }
    unsigned max_access() const override { return 1; }

private:
    Ahci& ahci_;
};

// --- the classic ports -------------------------------------------------------------------------

// They belong to the disk on the lowest port that has one.
unsigned Ahci::legacy_port() const
{
    for (unsigned n = 0; n < kAhciPorts; ++n)
        if (drives_[n] != nullptr)
            return n;
    return 0;
}

void Ahci::legacy_interrupt()
{
    if ((legacy_bus().cmd & kControlNoInterrupt) == 0)
        gpio_out("legacy-irq", 0).set(1);
}

std::uint8_t Ahci::read_legacy(unsigned reg)
{
    const IdeDrive* drive = legacy_drive();
    if (drive == nullptr)
        return reg == 7 ? 0x7f : 0xff;  // a floating bus, but not busy
    if (reg == 7)
        gpio_out("legacy-irq", 0).set(0);
    if (legacy_bus().unit != 0)
        return 0;
    return (legacy_bus().cmd & kControlHob) != 0 ? drive->read_high(reg) : drive->read(reg);
}

void Ahci::write_legacy(unsigned reg, std::uint8_t value)
{
    IdeDrive* drive = legacy_drive();
    if (drive == nullptr)
        return;
    legacy_bus().cmd &= static_cast<std::uint8_t>(~kControlHob);
    if (reg == 6)
        legacy_bus().unit = value >> 4 & 1;
    if (reg != 7) {
        drive->write(reg, value);
    } else if (legacy_bus().unit == 0) {
        gpio_out("legacy-irq", 0).set(0);
        drive->command(value);
    }
}

void Ahci::write_control(std::uint8_t value)
{
    const std::uint8_t old = std::exchange(legacy_bus().cmd, value);
    if ((old & kControlReset) == 0 || (value & kControlReset) != 0 || legacy_drive() == nullptr)
        return;
    legacy_bus().unit = 0;
    legacy_drive()->reset();
}

// --- AHCI registers ----------------------------------------------------------------------------

void Ahci::update_irq()
{
    s_.irqstatus = 0;
    for (unsigned n = 0; n < kAhciPorts; ++n)
        if ((s_.dev[n].regs.irq_stat & s_.dev[n].regs.irq_mask) != 0)
            s_.irqstatus |= 1u << n;
    const bool active = s_.irqstatus != 0 && (s_.ghc & kGhcInterrupts) != 0;
    if (!msi_enabled())
        set_irq(active ? 1 : 0);
    else if (active)
        msi_notify(0);
}

void Ahci::raise(unsigned n, std::uint32_t bits)
{
    s_.dev[n].regs.irq_stat |= bits;
    update_irq();
}

std::uint32_t Ahci::read_register(std::uint64_t offset) const
{
    switch (offset) {
    case kCap:
        return s_.cap;
    case kGhc:
        return s_.ghc;
    case kIs:
        return s_.irqstatus;
    case kPi:
        return s_.impl;
    case kVs:
        return s_.version;
    default:
        break;
    }
    if (offset < kPortBase || offset >= kPortBase + kPortSize * kAhciPorts)
        return 0;
    return read_port(static_cast<unsigned>(offset - kPortBase) / kPortSize,
                     static_cast<unsigned>(offset - kPortBase) % kPortSize);
}

void Ahci::write_register(std::uint64_t offset, std::uint32_t value)
{
    if (offset == kGhc) {
        if ((value & kGhcReset) != 0) {
            reset_hba();
        } else {
            s_.ghc = (value & kGhcInterrupts) | kGhcAhci;
            update_irq();
        }
    } else if (offset == kIs) {
        s_.irqstatus &= ~value;
        update_irq();
    } else if (offset >= kPortBase && offset < kPortBase + kPortSize * kAhciPorts) {
        write_port(static_cast<unsigned>(offset - kPortBase) / kPortSize,
                   static_cast<unsigned>(offset - kPortBase) % kPortSize, value);
    }
}

std::uint32_t Ahci::read_port(unsigned n, unsigned reg) const
{
    const AhciPortRegs& r = s_.dev[n].regs;
    switch (reg) {
    case 0x00:
        return r.lst_addr;
    case 0x04:
        return r.lst_addr_hi;
    case 0x08:
        return r.fis_addr;
    case 0x0c:
        return r.fis_addr_hi;
    case 0x10:
        return r.irq_stat;
    case 0x14:
        return r.irq_mask;
    case 0x18:
        return r.cmd;
    case 0x20:
        return r.tfdata;
    case 0x24:
        return r.sig;
    case 0x28:
        return drives_[n] != nullptr ? kLinkUp : 0;
    case 0x2c:
        return r.scr_ctl;
    case 0x30:
        return r.scr_err;
    case 0x34:
        return r.scr_act;
    case 0x38:
        return r.cmd_issue;
    default:
        return 0;
    }
}

void Ahci::write_port_cmd(unsigned n, std::uint32_t value)
{
    AhciPortRegs& r = s_.dev[n].regs;
    constexpr std::uint32_t read_only = kCmdFisRunning | kCmdRunning | 0x1f00 | 0x2000;
    r.cmd = (value & ~read_only & ~0x8u) | (r.cmd & 0x2000);
    if ((value & kCmdStart) != 0)
        r.cmd |= kCmdRunning;
    else
        r.cmd_issue = 0;
    if ((value & kCmdFisOn) != 0)
        r.cmd |= kCmdFisRunning;
    // The disk introduces itself once somebody listens.
    if ((r.cmd & kCmdFisRunning) != 0 && !s_.dev[n].init_d2h_sent && drives_[n] != nullptr) {
        s_.dev[n].init_d2h_sent = true;
        r.sig = kSignatureDisk;
        send_d2h(n);
    }
    run_commands(n);
}

void Ahci::write_port(unsigned n, unsigned reg, std::uint32_t value)
{
    AhciPortRegs& r = s_.dev[n].regs;
    switch (reg) {
    case 0x00:
        r.lst_addr = value & ~0x3ffu;
        break;
    case 0x04:
        r.lst_addr_hi = value;
        break;
    case 0x08:
        r.fis_addr = value & ~0xffu;
        break;
    case 0x0c:
        r.fis_addr_hi = value;
        break;
    case 0x10:
        r.irq_stat &= ~value;
        update_irq();
        break;
    case 0x14:
        r.irq_mask = value & 0xfdc000ff;
        update_irq();
        break;
    case 0x18:
        write_port_cmd(n, value);
        break;
    case 0x2c:
        if ((r.scr_ctl & 0x0f) == 1 && (value & 0x0f) == 0)
            reset_port(n);
        r.scr_ctl = value;
        break;
    case 0x30:
        r.scr_err &= ~value;
        break;
    case 0x34:
        break;  // queued commands are not offered
    case 0x38:
        r.cmd_issue |= value;
        run_commands(n);
        break;
    default:
        break;
    }
}

void Ahci::reset_port(unsigned n)
{
    AhciPortState& port = s_.dev[n];
    port.regs.irq_stat = 0;
    port.regs.irq_mask = 0;
    port.regs.scr_ctl = 0;
    port.regs.scr_err = 0;
    port.regs.scr_act = 0;
    port.regs.cmd_issue = 0;
    port.regs.tfdata = 0x7f;
    port.regs.sig = 0xffffffff;
    port.busy_slot = -1;
    port.init_d2h_sent = false;
    if (drives_[n] != nullptr) {
        drives_[n]->reset();
        port.regs.sig = kSignatureDisk;
        port.regs.tfdata = 0x150;
    }
}

void Ahci::reset_hba()
{
    s_.ghc = kGhcAhci;
    s_.irqstatus = 0;
    s_.idp_index = 0;
    for (unsigned n = 0; n < kAhciPorts; ++n) {
        s_.dev[n].regs = {.cmd = 0x6};
        reset_port(n);
    }
    update_irq();
}

// --- life --------------------------------------------------------------------------------------

Ahci::Ahci()
    : section_(std::make_unique<AhciSection>()), s_(section_->ahci),
      abar_(std::make_unique<Abar>(*this)), index_(std::make_unique<IndexPorts>(*this)),
      task_file_(std::make_unique<TaskFile>(*this)), control_(std::make_unique<ControlPort>(*this))
{
    set_identity({.vendor = 0x8086,
                  .device = 0x2922,
                  .class_code = 0x010601,
                  .revision = 2,
                  .interrupt_pin = 1});
    add_gpio_out("legacy-irq", 1);
}

Ahci::~Ahci() = default;

Result<void> Ahci::realize()
{
    GW_TRY(PciDevice::realize());
    GW_TRY(add_bar(
        4, {.kind = PciBar::Kind::Io, .size = 32, .parts = {{.size = 32, .io = index_.get()}}}));
    GW_TRY(add_bar(5, {.size = 0x1000, .parts = {{.size = 0x1000, .io = abar_.get()}}}));
    const unsigned sata = GW_TRY(add_capability(kCapSata, 8, 0xa8));
    set_config(sata + 2, 0x0010, 2);
    set_config(sata + 4, 0x48, 4);  // index and data ports: BAR 4, offset 0x10
    GW_TRY(add_msi(1, true, false, 0x80));
    s_.cap = kCapValue;
    s_.impl = (1u << kAhciPorts) - 1;
    s_.version = kVersion;
    for (unsigned n = kAhciPorts; n-- > 0;)  // the last is filled first, as in QEMU
        add_bus(std::make_unique<IdeBus>(fmt::format("ide.{}", n), *this, n));
    if (!legacy_ports_)
        return {};
    const auto map = [this](std::uint16_t at, std::uint64_t size, system::IoHandler& io) {
        regions_.emplace_back(vm().io(), system::RegionSpec{.name = "ide",
                                                            .start = at,
                                                            .size = size,
                                                            .kind = system::RegionKind::Io,
                                                            .io = &io});
    };
    map(0x1f0, 8, *task_file_);
    map(0x3f6, 1, *control_);
    return {};
}

void Ahci::reset(system::ResetKind kind)
{
    PciDevice::reset(kind);
    for (AhciPortState& port : s_.dev)
        port.bus = {};
    gpio_out("legacy-irq", 0).set(0);
    reset_hba();
}

void Ahci::unrealize() noexcept
{
    regions_.clear();
    PciDevice::unrealize();
}

void Ahci::attach(unsigned port, BlockNode& node, const IdeSettings& settings)
{
    drives_[port] = std::make_unique<IdeDrive>(s_.dev[port].drive, node, settings, [this, port] {
        if (!in_ahci_command_ && port == legacy_port())
            legacy_interrupt();
    });
}

void Ahci::detach(unsigned port) noexcept
{
    drives_[port].reset();
    s_.dev[port].drive = {};
    s_.dev[port].regs.sig = 0xffffffff;
}

Result<void> Ahci::check_loaded(const AhciSection& loaded) const
{
    GW_TRY(check_pci(loaded.pci));
    for (unsigned n = 0; n < kAhciPorts; ++n)
        if (drives_[n] != nullptr)
            GW_TRY(with_context(drives_[n]->check(loaded.ahci.dev[n].drive),
                                fmt::format("port {}", n)));
    return {};
}

Result<void> Ahci::register_state(migration::stream::StateRegistry& registry)
{
    section_->pci.config.assign(config().begin(), config().end());
    keep(GW_TRY(registry.add(
        kAhciSection, *section_, {.device_path = state_path()},
        {.pre_save = [this] { return save_pci(section_->pci); },
         .validate = [this](const AhciSection& loaded) { return check_loaded(loaded); },
         .post_load =
             [this](migration::stream::Version) {
                 load_pci(section_->pci);
                 for (unsigned n = 0; n < kAhciPorts; ++n)
                     if (drives_[n] != nullptr)
                         s_.dev[n].drive.io_buffer.resize(IdeDriveState::kBufferBytes);
                 return ok();
             }})));
    return {};
}

Result<void> register_ide(system::TypeRegistry& types)
{
    using system::property;
    GW_TRY(types.add({.name = "ich9-ahci",
                      .parent = "pci-device",
                      .user_creatable = false,
                      .bus = "PCI",
                      .description = "ICH9 SATA controller",
                      .properties = {property<&Ahci::legacy_ports_>("x-legacy-ports", true)},
                      .create = [] { return std::make_unique<Ahci>(); }}));
    return types.add(
        {.name = "ide-hd",
         .parent = "device",
         .bus = "IDE",
         .description = "virtual IDE disk",
         .properties =
             {property<&IdeHd::drive_>("drive", "",
                                       "Node name or ID of a block device to "
                                       "use as a backend"),
              property<&IdeHd::serial_>("serial", ""),
              property<&IdeHd::model_>("model", "QEMU HARDDISK"),
              property<&IdeHd::version_>("ver", ""), property<&IdeHd::bootindex_>("bootindex", -1),
              property<&IdeHd::cyls_>("cyls", 0), property<&IdeHd::heads_>("heads", 0),
              property<&IdeHd::secs_>("secs", 0), property<&IdeHd::unit_>("unit", 0xffffffff),
              property<&IdeHd::logical_>("logical_block_size", 512),
              property<&IdeHd::physical_>("physical_block_size", 512),
              property<&IdeHd::wwn_>("wwn", 0), property<&IdeHd::rotation_>("rotation_rate", 0),
              property<&IdeHd::write_cache_>("write-cache", "auto"),
              property<&IdeHd::share_rw_>("share-rw", false)},
         .create = [] { return std::make_unique<IdeHd>(); }});
}

}  // namespace godwit::hw
