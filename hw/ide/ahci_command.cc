// SPDX-License-Identifier: LGPL-2.1-or-later
//
// AHCI commands: slots in guest memory, frames in and out. Everything read here is a guest's to
// choose. Source: Serial ATA AHCI 1.3.1, chapters 4 and 5; Serial ATA 3.0, section 10.5.
#include "hw/ide/ahci.h"
#include "util/byte_order.h"

#include <algorithm>
#include <cstring>

namespace godwit::hw {
namespace {

constexpr std::uint8_t kFisHostToDevice = 0x27;
constexpr std::uint8_t kFisDeviceToHost = 0x34;
constexpr std::uint8_t kFisPioSetup = 0x5f;
constexpr std::uint64_t kD2hOffset = 0x40;
constexpr std::uint64_t kPioOffset = 0x20;

constexpr std::uint32_t kIrqD2h = 0x00000001;
constexpr std::uint32_t kIrqPio = 0x00000002;
constexpr std::uint32_t kIrqHostBus = 0x20000000;
constexpr std::uint32_t kIrqTaskFile = 0x40000000;

constexpr std::uint32_t kCmdStart = 0x0001;
constexpr std::uint32_t kCmdFisOn = 0x0010;
constexpr std::size_t kChunk = 64 * 1024;

std::uint64_t le(std::span<const std::byte> bytes)
{
    std::uint64_t value = 0;
    for (std::size_t n = bytes.size(); n-- > 0;)
        value = value << 8 | static_cast<std::uint8_t>(bytes[n]);
    return value;
}

}  // namespace

struct Ahci::Command {
    std::uint64_t header_at = 0;
    std::uint64_t table_at = 0;
    std::uint32_t prdt_entries = 0;
    std::array<std::byte, 20> fis{};
    // Where the next byte goes.
    std::uint32_t entry = 0;
    std::uint32_t entry_offset = 0;
    std::uint64_t moved = 0;
};

void Ahci::run_commands(unsigned n)
{
    AhciPortRegs& r = s_.dev[n].regs;
    if ((r.cmd & kCmdStart) == 0 || in_ahci_command_)
        return;
    for (unsigned slot = 0; slot < 32 && (r.cmd & kCmdStart) != 0; ++slot) {
        if ((r.cmd_issue & 1u << slot) == 0)
            continue;
        in_ahci_command_ = true;
        const bool good = drives_[n] != nullptr && run_slot(n, slot).has_value();
        in_ahci_command_ = false;
        r.cmd_issue &= ~(1u << slot);
        if (!good && drives_[n] != nullptr)
            raise(n, kIrqHostBus);
    }
}

Result<void> Ahci::run_slot(unsigned n, unsigned slot)
{
    const AhciPortRegs& r = s_.dev[n].regs;
    Command command;
    command.header_at = (r.lst_addr | std::uint64_t{r.lst_addr_hi} << 32) + slot * 32;
    std::array<std::byte, 32> header{};
    GW_TRY(dma_read(command.header_at, header));
    const std::span<const std::byte> all(header);
    command.prdt_entries = static_cast<std::uint32_t>(le(all.subspan(2, 2)));
    command.table_at = le(all.subspan(8, 8)) & ~std::uint64_t{0x7f};
    GW_TRY(dma_read(command.table_at, command.fis));
    if (static_cast<std::uint8_t>(command.fis[0]) != kFisHostToDevice)
        return Error(Errc::InvalidArgument, "not a host-to-device frame");
    GW_TRY(run_fis(n, command));
    std::array<std::byte, 4> moved{};
    for (unsigned i = 0; i < 4; ++i)
        moved[i] = static_cast<std::byte>(command.moved >> (8 * i));
    return dma_write(command.header_at + 4, moved);
}

// Loads the task file and runs the command in it; the outcome goes back as a frame.
Result<void> Ahci::run_fis(unsigned n, Command& command)
{
    IdeDrive& drive = *drives_[n];
    IdeDriveState& s = s_.dev[n].drive;
    const auto byte = [&](unsigned at) { return static_cast<std::uint8_t>(command.fis[at]); };
    if ((byte(1) & 0x80) == 0) {  // device control: a software reset ends with bit 2 clear
        if ((byte(15) & 0x04) == 0) {
            drive.reset();
            s_.dev[n].regs.sig = 0x101;
            send_d2h(n);
        }
        return {};
    }
    s.feature = byte(3);
    s.hob_feature = byte(11);
    s.sector = byte(4);
    s.lcyl = byte(5);
    s.hcyl = byte(6);
    s.select = byte(7) | 0xa0;
    s.hob_sector = byte(8);
    s.hob_lcyl = byte(9);
    s.hob_hcyl = byte(10);
    s.nsector = byte(12);
    s.hob_nsector = byte(13);
    s.error = 0;
    switch (byte(2)) {
    case 0xec:
        return identify(n, command);
    case 0xc8:
    case 0x20:
    case 0xc4:
        return move_sectors(n, command, false, false);
    case 0x25:
    case 0x24:
    case 0x29:
        return move_sectors(n, command, true, false);
    case 0xca:
    case 0x30:
    case 0xc5:
        return move_sectors(n, command, false, true);
    case 0x35:
    case 0x34:
    case 0x39:
        return move_sectors(n, command, true, true);
    default:
        drive.command(byte(2));
        send_d2h(n);
        return {};
    }
}

// Bytes between `data` and the pieces of guest memory that the command lists.
Result<void> Ahci::copy(Command& command, std::span<std::byte> data, bool to_memory)
{
    while (!data.empty()) {
        if (command.entry >= command.prdt_entries)
            return Error(Errc::InvalidArgument, "the command has too little memory");
        std::array<std::byte, 16> prd{};
        GW_TRY(dma_read(command.table_at + 0x80 + std::uint64_t{command.entry} * 16, prd));
        const std::uint64_t base = le(std::span<const std::byte>(prd).first(8));
        const auto size = static_cast<std::uint32_t>(
            (le(std::span<const std::byte>(prd).subspan(12, 4)) & 0x3fffff) + 1);
        if (command.entry_offset >= size) {
            ++command.entry;
            command.entry_offset = 0;
            continue;
        }
        const std::size_t here = std::min<std::size_t>(data.size(), size - command.entry_offset);
        const std::uint64_t at = base + command.entry_offset;
        GW_TRY(to_memory ? dma_write(at, data.first(here)) : dma_read(at, data.first(here)));
        data = data.subspan(here);
        command.entry_offset += static_cast<std::uint32_t>(here);
        command.moved += here;
    }
    return {};
}

Result<void> Ahci::identify(unsigned n, Command& command)
{
    IdeDrive& drive = *drives_[n];
    auto words = drive.identify_data();
    const auto bytes = std::as_writable_bytes(std::span(words));
    GW_TRY(copy(command, bytes, true));
    send_pio_setup(n, static_cast<std::uint32_t>(bytes.size()));
    drive.complete(true);
    send_d2h(n);
    return {};
}

Result<void> Ahci::move_sectors(unsigned n, Command& command, bool wide, bool to_disk)
{
    IdeDrive& drive = *drives_[n];
    const auto extent = drive.extent(wide);
    if (!extent || (to_disk && drive.node().read_only())) {
        drive.complete(false);
        send_d2h(n);
        return {};
    }
    std::vector<std::byte> buffer(std::min<std::uint64_t>(kChunk, extent->sectors * kSectorBytes));
    std::uint64_t at = extent->lba * kSectorBytes;
    std::uint64_t left = extent->sectors * kSectorBytes;
    bool good = true;
    while (left > 0 && good) {
        const auto piece = std::span(buffer).first(std::min<std::uint64_t>(left, buffer.size()));
        if (to_disk) {
            GW_TRY(copy(command, piece, false));
            good = drive.node().write(at, piece).has_value();
        } else {
            good = drive.node().read(at, piece).has_value();
            if (good)
                GW_TRY(copy(command, piece, true));
        }
        at += piece.size();
        left -= piece.size();
    }
    drive.complete(good);
    s_.dev[n].drive.nsector = 0;
    send_d2h(n);
    return {};
}

// --- frames to the host ------------------------------------------------------------------------

void Ahci::send_d2h(unsigned n)
{
    AhciPortRegs& r = s_.dev[n].regs;
    const IdeDriveState& s = s_.dev[n].drive;
    r.tfdata = std::uint32_t{s.error} << 8 | s.status;
    if ((r.cmd & kCmdFisOn) == 0)
        return;
    const std::array<std::uint8_t, 20> fis{kFisDeviceToHost,
                                           0x40,
                                           s.status,
                                           s.error,
                                           s.sector,
                                           s.lcyl,
                                           s.hcyl,
                                           s.select,
                                           s.hob_sector,
                                           s.hob_lcyl,
                                           s.hob_hcyl,
                                           0,
                                           static_cast<std::uint8_t>(s.nsector),
                                           static_cast<std::uint8_t>(s.nsector >> 8)};
    const std::uint64_t base = r.fis_addr | std::uint64_t{r.fis_addr_hi} << 32;
    (void)dma_write(base + kD2hOffset, std::as_bytes(std::span(fis)));
    raise(n, (s.status & 1) != 0 ? kIrqD2h | kIrqTaskFile : kIrqD2h);
}

void Ahci::send_pio_setup(unsigned n, std::uint32_t bytes)
{
    const AhciPortRegs& r = s_.dev[n].regs;
    if ((r.cmd & kCmdFisOn) == 0)
        return;
    std::array<std::uint8_t, 20> fis{kFisPioSetup, 0x60, 0x58};
    fis[15] = 0x50;  // the status once the data is there
    fis[16] = static_cast<std::uint8_t>(bytes);
    fis[17] = static_cast<std::uint8_t>(bytes >> 8);
    const std::uint64_t base = r.fis_addr | std::uint64_t{r.fis_addr_hi} << 32;
    (void)dma_write(base + kPioOffset, std::as_bytes(std::span(fis)));
    raise(n, kIrqPio);
}

}  // namespace godwit::hw
