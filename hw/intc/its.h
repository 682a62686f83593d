// SPDX-License-Identifier: LGPL-2.1-or-later
//
// An interrupt translation service: turns a device's event into an interrupt of a processor, by
// tables that the guest fills through a queue of commands.
#pragma once

#include "hw/intc/its_tables.h"
#include "hw/region.h"
#include "migration/stream/registry.h"
#include "system/device.h"

#include <array>
#include <cstdint>

namespace godwit::hw {

/// What migrates besides the tables, which travel in guest RAM.
struct ItsRegisters {
    std::uint32_t ctlr = 0;
    std::uint64_t cbaser = 0;
    std::uint64_t cwriter = 0;
    std::uint64_t creadr = 0;
    std::array<std::uint64_t, 2> baser{};  ///< devices, collections
    std::uint32_t error = 0;               ///< the last mistake of the guest, see ItsMistake
    std::uint64_t errors = 0;              ///< how many there were
    std::uint64_t translated = 0;
    std::uint32_t last_device = 0;
    std::uint32_t last_event = 0;
    std::uint32_t last_intid = 0;
    std::uint32_t last_processor = 0;
};

/// What a guest can do wrong; with the opcode: 0x010000 | opcode << 8 | mistake, as in the GICv3
/// architecture. Those from 0xf0 on are ours.
enum class ItsMistake : std::uint8_t {
    DeviceOutOfRange = 0x01,
    TableOutOfRange = 0x02,
    CollectionOutOfRange = 0x03,
    UnmappedDevice = 0x04,
    EventOutOfRange = 0x05,
    InterruptOutOfRange = 0x06,
    UnmappedEvent = 0x07,
    UnmappedCollection = 0x09,
    TargetOutOfRange = 0x20,
    UnknownCommand = 0xf0,
    QueueNotInMemory = 0xf1,
    TableNotInMemory = 0xf2,
};

/// Type "its".
///
/// Properties  base (0xfe000000).
/// Frames      64 KiB of registers as in GICv3, then 256 KiB in which word n is GITS_TRANSLATER of
///             device n: a store on this bus does not say whose it is.
///             Ours, from 0xc000 on: ERROR u32 (any write clears it), 0xc008 ERRORS u64, 0xc010
///             TRANSLATED u64, 0xc018 LAST_DEVICE, LAST_EVENT, LAST_INTID, LAST_PROCESSOR u32.
/// Interrupts  LPI 8192 + v is vector v of the local APIC whose number the collection names.
/// Errors      the guest's alone: a command that is wrong stops the queue (GITS_CREADR.Stalled)
///             until the guest writes GITS_CWRITER.Retry; an event that leads nowhere is dropped.
///             Both leave their code in ERROR.
/// Section     `its` v1. The tables are written to guest RAM at Moment::InCompletion and read back
///             once the registers are loaded.
/// Source      Arm IHI 0069 (GICv3), chapters 5 and 12.19.
class Its final : public system::Device, private system::IoHandler {
public:
    static constexpr std::uint64_t kRegisterBytes = 0x10000;
    static constexpr std::uint64_t kBytes = kRegisterBytes + (4 << kItsDeviceBits);

    std::uint64_t base_ = 0xfe000000;

    const ItsRegisters& registers() const noexcept { return registers_; }
    const ItsTables& tables() const noexcept { return tables_; }
    /// Writes the tables to guest RAM; the pages that changed.
    std::uint64_t flush();

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override;
    void unrealize() noexcept override { region_.reset(); }
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    using Words = std::array<std::uint64_t, 4>;  // of a command

    std::uint64_t read(system::GuestAddr offset, unsigned size) override;
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override;
    unsigned min_access() const override { return 4; }
    std::uint64_t read_register(unsigned reg) const;
    void write_register(unsigned reg, std::uint64_t value, std::uint64_t mask);

    bool enabled() const noexcept { return (registers_.ctlr & 1) != 0; }
    std::uint64_t queue_bytes() const noexcept;
    void run_queue();
    /// Whether the command was right; otherwise its mistake is noted.
    bool execute(const Words& command);
    bool fail(unsigned opcode, ItsMistake mistake);
    bool map_device(const Words& command);
    bool map_collection(const Words& command);
    bool map_event(const Words& command, bool explicit_intid);
    bool move_event(const Words& command);
    bool move_all(const Words& command);
    bool on_event(const Words& command);
    bool invalidate_all(const Words& command);
    ItsDevice* device_of(const Words& command);
    std::uint64_t collection_room() const noexcept;
    bool processor_exists(std::uint64_t number) const;
    void signal(std::uint32_t device, std::uint32_t event);
    void deliver(const ItsTarget& target);

    Result<void> check(const ItsRegisters& loaded) const;
    void read_tables();

    ItsRegisters registers_;
    ItsTables tables_;
    MappedRegion region_;
};

}  // namespace godwit::hw
