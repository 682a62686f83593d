// SPDX-License-Identifier: LGPL-2.1-or-later
//
// fw_cfg: items that the machine puts there for its firmware, read through two ports or by DMA.
#pragma once

#include "hw/region.h"
#include "system/device.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::hw {

/// Keys that mean something to firmware. Files get keys from FileFirst on, in order of their names.
///
/// Source   QEMU, docs/specs/fw_cfg.rst.
enum class FwCfgKey : std::uint16_t {
    Signature = 0x00,
    Id = 0x01,
    Uuid = 0x02,
    RamSize = 0x03,
    NoGraphic = 0x04,
    NbCpus = 0x05,
    MachineId = 0x06,
    KernelAddr = 0x07,
    KernelSize = 0x08,
    KernelCmdline = 0x09,
    InitrdAddr = 0x0a,
    InitrdSize = 0x0b,
    BootDevice = 0x0c,
    Numa = 0x0d,
    BootMenu = 0x0e,
    MaxCpus = 0x0f,
    KernelEntry = 0x10,
    KernelData = 0x11,
    InitrdData = 0x12,
    CmdlineAddr = 0x13,
    CmdlineSize = 0x14,
    CmdlineData = 0x15,
    SetupAddr = 0x16,
    SetupSize = 0x17,
    SetupData = 0x18,
    FileDir = 0x19,
    FileFirst = 0x20,
    AcpiTables = 0x8000,
    SmbiosEntries = 0x8001,
    Irq0Override = 0x8002,
    E820Table = 0x8003,
    Hpet = 0x8004,
};

/// What migrates: where the guest reads.
struct FwCfgState {
    std::uint16_t cur_entry = 0;
    std::uint32_t cur_offset = 0;
    std::uint64_t dma_addr = 0;
    std::uint64_t table_mr_size = 0;  ///< exact sizes of the ACPI blobs, 0 without ACPI
    std::uint64_t linker_mr_size = 0;
    std::uint64_t rsdp_mr_size = 0;
};

/// Type "fw_cfg_io", system bus: selector 0x510, data 0x511, DMA 0x514.
///
/// Properties  dma_enabled (on), x-file-slots (32).
/// Section     `fw_cfg` v2.
/// Threads     with the machine lock. Items are added while the machine is built; what is added
///             later moves the keys of files whose names come behind.
/// Errors      add_file(): Exists, InvalidArgument (name empty or over 55 bytes), OutOfMemory (no
/// slot
///             left). Guests cannot fail: a bad DMA request gets its error bit.
class FwCfg final : public system::Device {
public:
    using Bytes = std::vector<std::byte>;
    struct Item {
        Bytes data;
        bool writable = false;            ///< by DMA
        std::function<void()> on_select;  ///< before the first byte is read
        std::function<void(std::uint32_t offset, std::uint32_t length)> on_write;
    };

    FwCfg();
    ~FwCfg() override;

    void set(FwCfgKey key, Bytes data);
    void set_string(FwCfgKey key, std::string_view text);  ///< with its NUL
    void set_u16(FwCfgKey key, std::uint16_t value);       ///< little-endian, as all of these
    void set_u32(FwCfgKey key, std::uint32_t value);
    void set_u64(FwCfgKey key, std::uint64_t value);
    /// Called when the guest selects the item, which may then be replaced.
    void on_select(FwCfgKey key, std::function<void()> hook);

    Result<void> add_file(std::string name, Bytes data);
    Result<void> add_file(std::string name, Item item);
    /// Replaces the data of a file, or adds it.
    Result<void> set_file(std::string_view name, Bytes data);
    const Item* file(std::string_view name) const;
    /// The key under which the guest finds the file now, 0 if there is none.
    std::uint16_t file_key(std::string_view name) const;

    /// Sent as `fw_cfg/acpi_mr` when one is not a whole number of pages.
    void set_acpi_sizes(std::uint64_t tables, std::uint64_t linker, std::uint64_t rsdp);
    const FwCfgState& state() const noexcept { return state_; }
    /// After an incoming state was loaded: the sizes may be new.
    void on_loaded(std::function<void(const FwCfgState&)> hook) { loaded_ = std::move(hook); }

    bool dma_enabled_ = true;
    std::uint16_t file_slots_ = 32;

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override;
    void unrealize() noexcept override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    class ComboPort;
    class DmaPort;
    struct Request;

    Item* item(std::uint16_t key);
    void select(std::uint16_t key);
    std::uint8_t read_byte();
    void run_dma();
    Result<void> transfer(Request& request);
    void rebuild_directory();

    FwCfgState state_;
    std::map<std::uint16_t, Item> items_;
    std::map<std::string, Item, std::less<>> files_;
    std::function<void(const FwCfgState&)> loaded_;
    std::unique_ptr<ComboPort> combo_;
    std::unique_ptr<DmaPort> dma_;
    std::vector<MappedRegion> regions_;
};

}  // namespace godwit::hw
