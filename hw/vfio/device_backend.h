// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a VFIO device is to the rest of this folder, whoever stands behind it: a kernel driver
// (hw/vfio/kernel_device.h) or a server on a socket (hw/vfio/user_device.h). Nothing above this
// header knows which.
#pragma once

#include "hw/vfio/abi.h"
#include "hw/vfio/page_bits.h"
#include "util/mapping.h"
#include "util/result.h"
#include "util/unique_fd.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace godwit::hw::vfio {

/// What the device says of itself. Counts are bounded by the implementation (kMaxRegions,
/// kMaxIrqIndexes).
struct DeviceInfo {
    bool can_reset = false;
    bool is_pci = false;
    std::uint32_t regions = 0;
    std::uint32_t irqs = 0;  ///< interrupt indexes, not vectors
};

/// A part of a region, in bytes from the region's start.
struct RegionArea {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    bool operator==(const RegionArea&) const = default;
};

struct RegionType {
    std::uint32_t type = 0;
    std::uint32_t subtype = 0;
    bool operator==(const RegionType&) const = default;
};

/// One region. `mappable` is checked: page-aligned, inside the region, ascending, no overlaps;
/// the whole region when the device names no sparse areas, empty when it may not be mapped.
struct RegionInfo {
    std::uint32_t index = 0;
    std::uint64_t size = 0;  ///< 0: the device does not have it
    bool readable = false;
    bool writable = false;
    std::vector<RegionArea> mappable;
    std::optional<RegionType> type;
    bool msix_mappable = false;
};

/// Bytes of a region behind a file: what mmap() needs. The descriptor is the caller's.
struct RegionWindow {
    UniqueFd fd;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
};

struct IrqInfo {
    std::uint32_t index = 0;
    std::uint32_t count = 0;  ///< vectors; 0: the device does not have the index
    bool eventfd = false;
    bool maskable = false;
    bool automasked = false;
    bool noresize = false;
};

enum class IrqAction : std::uint8_t { Mask, Unmask, Trigger };

/// One SET_IRQS. With `eventfds` vector start + i gets eventfds[i] (-1: none); with `fire` true
/// entries take place; with neither the action is done `count` times from `start`. `count` 0 with
/// Trigger, start 0 and no data switches the whole index off.
struct IrqRequest {
    std::uint32_t index = 0;
    std::uint32_t start = 0;
    std::uint32_t count = 0;
    IrqAction action = IrqAction::Trigger;
    std::span<const int> eventfds;
    std::span<const std::uint8_t> fire;
};

/// What pre-copy is worth at the moment (VFIO_MIG_GET_PRECOPY_INFO).
struct PrecopyInfo {
    std::uint64_t initial_bytes = 0;
    std::uint64_t dirty_bytes = 0;
};

/// One read of the migration data.
struct DataRead {
    enum class More : std::uint8_t {
        Yes,    ///< there may be more at once
        Later,  ///< nothing more now; only in pre-copy
        End,    ///< nothing more ever; only in stop-copy
    };
    std::size_t bytes = 0;
    More more = More::Yes;
};

/// Migration data on its way, in or out: waited for once, or let go of.
///
/// Errors   of await(): those of data_read() or data_write().
class DataTransfer {
public:
    virtual ~DataTransfer() = default;
    /// What was read; of a write, its bytes.
    virtual Result<DataRead> await() = 0;
};

/// Addresses that device DMA logging watches.
struct DmaRange {
    std::uint64_t iova = 0;
    std::uint64_t size = 0;
    bool operator==(const DmaRange&) const = default;
};

/// One device behind VFIO, with its interrupts, its migration and its own log of DMA.
///
/// Threads  one caller at a time, except that the migration data calls (data_*, precopy_info,
///          stop_copy_size) may come from another thread than all others, and that region accesses
///          may come from several. The implementation locks what that needs.
/// Errors   the device's errno is in os_errno(). Unsupported where the device does not know the
///          call (ENOTTY); TimedOut and Closed from a peer that hangs or went (vfio-user). Messages
///          name the call, not the device: callers add name() as context.
class DeviceBackend {
public:
    virtual ~DeviceBackend() = default;
    /// For messages and events: "0000:3b:00.1", a socket's path.
    virtual const std::string& name() const noexcept = 0;

    virtual Result<DeviceInfo> device_info() = 0;
    virtual Result<RegionInfo> region_info(std::uint32_t index) = 0;
    /// Natural widths pass as they are (1, 2, 4 or 8 bytes in host order); any length within the
    /// region is allowed. A short transfer is an error.
    virtual Result<void> region_read(std::uint32_t index, std::uint64_t offset,
                                     std::span<std::byte> into) = 0;
    virtual Result<void> region_write(std::uint32_t index, std::uint64_t offset,
                                      std::span<const std::byte> from) = 0;
    /// `area` is one of RegionInfo::mappable.
    virtual Result<RegionWindow> region_window(std::uint32_t index, const RegionArea& area) = 0;

    virtual Result<IrqInfo> irq_info(std::uint32_t index) = 0;
    /// The descriptors are borrowed for the call.
    virtual Result<void> set_irqs(const IrqRequest& request) = 0;

    /// Ends in RUNNING, whatever the migration state was; a data stream that was open is closed.
    virtual Result<void> reset() = 0;

    // --- VFIO_DEVICE_FEATURE ---

    /// `verbs` is FeatureFlag::Get, Set or both; false when the device lacks one of them.
    virtual Result<bool> feature_probe(std::uint16_t feature, std::uint32_t verbs) = 0;
    /// Reads exactly `into`. Not for features whose payload holds pointers or descriptors.
    virtual Result<void> feature_get(std::uint16_t feature, std::span<std::byte> into) = 0;
    virtual Result<void> feature_set(std::uint16_t feature, std::span<const std::byte> from) = 0;

    // --- migration, version 2 ---

    /// Bits of MigrationFlag. Unsupported when the device cannot migrate.
    virtual Result<std::uint64_t> migration_flags() = 0;
    virtual Result<MigrationState> migration_state() = 0;
    /// One SET of MIG_DEVICE_STATE. A data stream that this opens is held here until it is closed
    /// by close_data(), by reset() or by leaving the saving group or RESUMING. BadState "data_fd
    /// out of sync" when the device hands out a second one while one is held (it is closed).
    virtual Result<void> set_migration_state(MigrationState state) = 0;
    /// Whether this device's states include the P2P ones: never over vfio-user.
    virtual bool knows_p2p() const noexcept { return true; }
    /// Saving group only. 0 bytes and Later or End are normal answers.
    virtual Result<DataRead> data_read(std::span<std::byte> into) = 0;
    /// RESUMING only; takes all of it.
    virtual Result<void> data_write(std::span<const std::byte> from) = 0;
    /// The same two in two steps, so that the device is busy with one portion while its caller is
    /// with another. Several may be under way, and are awaited in the order of their beginning;
    /// their bytes stay where they are until then. The device may be busy with a portion only
    /// while it is awaited, or begun.
    virtual Result<std::unique_ptr<DataTransfer>> begin_read(std::span<std::byte> into);
    virtual Result<std::unique_ptr<DataTransfer>> begin_write(std::span<const std::byte> from);
    /// Unsupported where the device or transport cannot tell.
    virtual Result<PrecopyInfo> precopy_info() = 0;
    virtual Result<std::uint64_t> stop_copy_size() = 0;
    /// Idempotent.
    virtual void close_data() noexcept = 0;

    // --- device DMA logging ---

    /// How this device's log is to be asked.
    struct LogRules {
        bool available = false;
        /// The log still answers for a range whose mapping has gone (kernel); otherwise it is asked
        /// before the unmap (vfio-user).
        bool survives_unmap = true;
        /// Reports must start where a mapping starts (vfio-user); they may be shorter.
        bool report_from_mapping_start = false;
        /// Reports have to use the page size of the start.
        bool same_page_size = false;
        /// Ranges that one start takes; 0: any number, and none at all means everything mapped.
        std::uint32_t max_ranges = 256;
        /// Bytes of bitmap that one report may carry.
        std::uint64_t max_bitmap_bytes = UINT64_MAX;
    };
    virtual Result<LogRules> log_rules() = 0;
    /// Returns the page size the device chose.
    virtual Result<std::uint64_t> log_start(std::uint64_t page_size,
                                            std::span<const DmaRange> ranges) = 0;
    virtual Result<void> log_stop() = 0;
    /// ORs what was written since the last report into `into`, whose first page is `iova`; clears
    /// the device's record. `into` fixes length and page size. After an error the log is not to be
    /// trusted: treat all of it as dirty.
    virtual Result<void> log_report(std::uint64_t iova, PageBits& into) = 0;
};

}  // namespace godwit::hw::vfio
