// SPDX-License-Identifier: LGPL-2.1-or-later
//
// An ATA disk: task file, commands, sectors by programmed I/O.
#pragma once

#include "hw/block.h"
#include "migration/stream/vmstate.h"

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace godwit::hw {

/// Source   ATA/ATAPI-7 (T13/1532D); structure "ide_drive" v3 and its PIO subsection.
struct IdeDriveState {
    static constexpr std::size_t kBufferBytes = 256 * 512 + 4;

    std::int32_t mult_sectors = 0;
    std::int32_t identify_set = 0;  ///< a disk is there
    std::array<std::uint8_t, 512> identify_data{};
    std::uint8_t feature = 0;
    std::uint8_t error = 0;
    std::uint32_t nsector = 0;
    std::uint8_t sector = 0;
    std::uint8_t lcyl = 0;
    std::uint8_t hcyl = 0;
    std::uint8_t hob_feature = 0;
    std::uint8_t hob_sector = 0;
    std::uint8_t hob_nsector = 0;
    std::uint8_t hob_lcyl = 0;
    std::uint8_t hob_hcyl = 0;
    std::uint8_t select = 0xa0;
    std::uint8_t status = 0;
    std::uint8_t lba48 = 0;  ///< the command that runs uses 48-bit addresses
    std::uint8_t sense_key = 0;
    std::uint8_t asc = 0;
    std::uint8_t cdrom_changed = 0;

    // While data goes through the data register.
    std::int32_t req_nb_sectors = 0;
    std::vector<std::uint8_t> io_buffer;  ///< empty, or kBufferBytes
    std::int32_t buffer_offset = 0;
    std::int32_t buffer_length = 0;
    std::uint8_t end_transfer = 0;  ///< what comes behind the buffer: an index, as in the stream
    std::int32_t elementary_transfer_size = 0;
    std::int32_t packet_transfer_size = 0;
};
extern const migration::stream::VMStateDef<IdeDriveState, 21> kIdeDriveState;

/// What -device ide-hd said.
struct IdeSettings {
    std::uint32_t cylinders = 0;  ///< 0: guessed from the size
    std::uint32_t heads = 0;
    std::uint32_t sectors = 0;
    std::string serial;
    std::string version;
    std::string model;
};

/// One disk. The state lives with its controller, whose section carries it.
///
/// Threads  with the machine lock; a command is done when the register write returns.
/// Errors   what goes wrong becomes the error register; no access of a guest is refused otherwise.
class IdeDrive {
public:
    IdeDrive(IdeDriveState& state, BlockNode& node, const IdeSettings& settings,
             std::function<void()> interrupt);

    void reset();  ///< power-on and software reset
    std::uint8_t
    read(unsigned reg) const;  ///< registers 1..7; `hob` from the device control register
    std::uint8_t read_high(unsigned reg) const;
    void write(unsigned reg, std::uint8_t value);
    std::uint16_t read_data();
    void write_data(std::uint16_t value);
    void command(std::uint8_t value);
    /// For AHCI: sectors of the command in the task file, moved at once.
    /// Errors   Io or range, already in the error register.
    struct Extent {
        std::uint64_t lba = 0;
        std::uint32_t sectors = 0;
    };
    Result<Extent> extent(bool wide);
    void complete(bool good);
    BlockNode& node() noexcept { return node_; }
    std::uint64_t sectors() const noexcept { return node_.sectors(); }
    Result<void> check(const IdeDriveState& loaded) const;
    const std::array<std::uint8_t, 512>& identify_data() const noexcept { return identify_; }

private:
    void identify();
    void make_identify(const IdeSettings& settings);
    void abort();
    void finish();
    void start_transfer(std::int32_t bytes, std::uint8_t end);
    void begin_read(bool wide, unsigned chunk);
    void next_read();
    void begin_write(bool wide, unsigned chunk);
    void next_write();
    void take_written();
    std::uint64_t address() const;
    void set_address(std::uint64_t lba);
    void native_max(bool wide);
    void set_features();
    bool is_wide() const { return s_.lba48 != 0; }
    bool slow_commands(std::uint8_t value);

    IdeDriveState& s_;
    BlockNode& node_;
    std::function<void()> interrupt_;
    std::uint32_t cylinders_ = 0;
    std::uint32_t heads_ = 0;
    std::uint32_t sectors_ = 0;
    std::array<std::uint8_t, 512> identify_{};
};

}  // namespace godwit::hw
