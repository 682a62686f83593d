// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The ICH9 SATA controller: AHCI registers and commands for six ports, and the classic ports for
// the first.
#pragma once

#include "hw/ide/ide_drive.h"
#include "hw/pci.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>

namespace godwit::hw {

class Ahci;

/// A bus of type "IDE" with room for one disk: a port of the controller.
class IdeBus final : public system::Bus {
public:
    IdeBus(std::string name, Ahci& owner, unsigned port);
    bool full() const override { return !devices().empty(); }
    Result<void> check_plug(system::Device& device) override;
    Ahci& controller() noexcept { return controller_; }
    unsigned port() const noexcept { return port_; }

private:
    Ahci& controller_;
    unsigned port_;
};

/// Type "ide-hd", bus "IDE".
///
/// Properties  drive (id of a drive or node), serial, model, ver, bootindex (-1), cyls, heads, secs
/// (0: guessed),
///             unit (0), wwn, write-cache, share-rw, rotation_rate, logical_block_size,
///             physical_block_size (accepted; sectors have 512 bytes).
class IdeHd final : public system::Device {
public:
    std::string drive_;
    std::string serial_;
    std::string model_ = "QEMU HARDDISK";
    std::string version_;
    std::string write_cache_ = "auto";
    std::int32_t bootindex_ = -1;
    std::uint32_t cyls_ = 0;
    std::uint32_t heads_ = 0;
    std::uint32_t secs_ = 0;
    std::uint32_t unit_ = 0xffffffff;
    std::uint32_t logical_ = 512;
    std::uint32_t physical_ = 512;
    std::uint64_t wwn_ = 0;
    std::uint16_t rotation_ = 0;
    bool share_rw_ = false;

    BlockNode* node() const noexcept { return node_; }

protected:
    Result<void> realize() override;
    void unrealize() noexcept override;

private:
    BlockNode* node_ = nullptr;
};

inline constexpr unsigned kAhciPorts = 6;

struct AhciPortRegs {
    std::uint32_t lst_addr = 0;
    std::uint32_t lst_addr_hi = 0;
    std::uint32_t fis_addr = 0;
    std::uint32_t fis_addr_hi = 0;
    std::uint32_t irq_stat = 0;
    std::uint32_t irq_mask = 0;
    std::uint32_t cmd = 0;
    std::uint32_t tfdata = 0x7f;
    std::uint32_t sig = 0xffffffff;
    std::uint32_t scr_stat = 0;
    std::uint32_t scr_ctl = 0;
    std::uint32_t scr_err = 0;
    std::uint32_t scr_act = 0;
    std::uint32_t cmd_issue = 0;
};
/// A queued command; queuing is not offered.
struct NcqState {
    std::uint32_t sector_count = 0;
    std::uint64_t lba = 0;
    std::uint8_t tag = 0;
    std::uint8_t cmd = 0;
    std::uint8_t slot = 0;
    bool used = false;
    bool halt = false;
};
struct IdeBusState {
    std::uint8_t cmd = 0;  ///< device control
    std::uint8_t unit = 0;
};
struct AhciPortState {
    IdeBusState bus;
    IdeDriveState drive;
    std::uint32_t port_state = 0;
    std::uint32_t finished = 0;
    AhciPortRegs regs;
    bool done_first_drq = false;
    std::int32_t busy_slot = -1;
    bool init_d2h_sent = false;
    std::array<NcqState, 32> ncq{};
};
/// Source   Serial ATA AHCI 1.3.1; section `ich9_ahci` v1.
struct AhciState {
    std::array<AhciPortState, kAhciPorts> dev{};
    std::uint32_t cap = 0;
    std::uint32_t ghc = 0;
    std::uint32_t irqstatus = 0;
    std::uint32_t impl = 0;
    std::uint32_t version = 0;
    std::uint32_t idp_index = 0;
    std::uint32_t ports = kAhciPorts;
};
struct AhciSection {
    PciState pci;
    AhciState ahci;
};
extern const migration::stream::VMStateOf<AhciSection>& kAhciSection;

/// Type "ich9-ahci", at 1f.2: buses "ide.5" to "ide.0": a disk that names none gets ide.5. The disk
/// on the lowest port also answers at ports 0x1f0..0x1f7 and 0x3f6, by programmed I/O.
///
/// Properties  x-legacy-ports (on).
/// Gpio        list "legacy-irq", output 0: the interrupt of those ports, for ISA wire 14.
/// Commands    IDENTIFY, READ and WRITE by DMA and PIO, and what moves no data; no queued commands,
/// no ATAPI.
class Ahci final : public PciDevice {
public:
    bool legacy_ports_ = true;

    Ahci();
    ~Ahci() override;
    void attach(unsigned port, BlockNode& node, const IdeSettings& settings);
    void detach(unsigned port) noexcept;

protected:
    Result<void> realize() override;
    void reset(system::ResetKind kind) override;
    void unrealize() noexcept override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    class Abar;
    class IndexPorts;
    class TaskFile;
    class ControlPort;
    struct Command;

    std::uint32_t read_register(std::uint64_t offset) const;
    void write_register(std::uint64_t offset, std::uint32_t value);
    std::uint32_t read_port(unsigned n, unsigned reg) const;
    void write_port(unsigned n, unsigned reg, std::uint32_t value);
    void write_port_cmd(unsigned n, std::uint32_t value);
    void reset_port(unsigned n);
    void reset_hba();
    void update_irq();
    void raise(unsigned n, std::uint32_t bits);
    void run_commands(unsigned n);
    Result<void> run_slot(unsigned n, unsigned slot);
    Result<void> run_fis(unsigned n, Command& command);
    Result<void> move_sectors(unsigned n, Command& command, bool wide, bool to_disk);
    Result<void> identify(unsigned n, Command& command);
    Result<void> copy(Command& command, std::span<std::byte> data, bool to_memory);
    void send_d2h(unsigned n);
    void send_pio_setup(unsigned n, std::uint32_t bytes);
    Result<void> check_loaded(const AhciSection& loaded) const;
    unsigned legacy_port() const;
    IdeDrive* legacy_drive() const { return drives_[legacy_port()].get(); }
    IdeBusState& legacy_bus() { return s_.dev[legacy_port()].bus; }
    void legacy_interrupt();
    std::uint8_t read_legacy(unsigned reg);
    void write_legacy(unsigned reg, std::uint8_t value);
    void write_control(std::uint8_t value);

    std::unique_ptr<AhciSection> section_;
    AhciState& s_;
    std::array<std::unique_ptr<IdeDrive>, kAhciPorts> drives_;
    bool in_ahci_command_ = false;  // its interrupt is a FIS, not the legacy wire
    std::unique_ptr<Abar> abar_;
    std::unique_ptr<IndexPorts> index_;
    std::unique_ptr<TaskFile> task_file_;
    std::unique_ptr<ControlPort> control_;
    std::vector<MappedRegion> regions_;
};

}  // namespace godwit::hw
