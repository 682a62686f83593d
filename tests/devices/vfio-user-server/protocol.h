// SPDX-License-Identifier: LGPL-2.1-or-later
//
// vfio-user on the wire: numbers and layouts, nothing else. Host byte order throughout.
// Source: vfio-user protocol specification 0.9.2 (QEMU, docs/interop/vfio-user.rst) and the ioctl
// structures of linux/vfio.h that it carries.
#pragma once

#include <cstdint>
#include <string_view>

namespace godwit::vfio_user_server {

enum class Command : std::uint16_t {
    Version = 1,
    DmaMap = 2,
    DmaUnmap = 3,
    DeviceGetInfo = 4,
    DeviceGetRegionInfo = 5,
    DeviceGetRegionIoFds = 6,
    DeviceGetIrqInfo = 7,
    DeviceSetIrqs = 8,
    RegionRead = 9,
    RegionWrite = 10,
    DmaRead = 11,
    DmaWrite = 12,
    DeviceReset = 13,
    DirtyPages = 14,
    RegionWriteMulti = 15,
    DeviceFeature = 16,
    MigDataRead = 17,
    MigDataWrite = 18,
};
inline constexpr std::uint16_t kLastCommand = 18;
/// "MIG_DATA_READ"; "?" for a number that is none.
std::string_view command_name(std::uint16_t command) noexcept;

struct Header {
    std::uint16_t id = 0;
    std::uint16_t command = 0;
    std::uint32_t size = 0;  ///< with the header
    std::uint32_t flags = 0;
    std::uint32_t error = 0;  ///< errno of a reply with kError
};
static_assert(sizeof(Header) == 16);
inline constexpr std::uint32_t kTypeMask = 0xf;
inline constexpr std::uint32_t kReply = 1;
inline constexpr std::uint32_t kNoReply = 0x10;
inline constexpr std::uint32_t kError = 0x20;

inline constexpr std::uint16_t kMajor = 0;
inline constexpr std::uint16_t kMinor = 2;
struct VersionHead {
    std::uint16_t major = kMajor;
    std::uint16_t minor = kMinor;
};

struct DmaMapRequest {
    std::uint32_t argsz = 0;
    std::uint32_t flags = 0;
    std::uint64_t offset = 0;
    std::uint64_t address = 0;
    std::uint64_t size = 0;
};
inline constexpr std::uint32_t kDmaRead = 1;
inline constexpr std::uint32_t kDmaWrite = 2;

struct DmaUnmapRequest {
    std::uint32_t argsz = 0;
    std::uint32_t flags = 0;
    std::uint64_t address = 0;
    std::uint64_t size = 0;
};
inline constexpr std::uint32_t kUnmapAll = 2;

struct DeviceInfo {
    std::uint32_t argsz = 0;
    std::uint32_t flags = 0;
    std::uint32_t regions = 0;
    std::uint32_t irqs = 0;
};
inline constexpr std::uint32_t kDeviceReset = 1;
inline constexpr std::uint32_t kDevicePci = 2;

struct RegionInfo {
    std::uint32_t argsz = 0;
    std::uint32_t flags = 0;
    std::uint32_t index = 0;
    std::uint32_t cap_offset = 0;
    std::uint64_t size = 0;
    std::uint64_t offset = 0;
};
inline constexpr std::uint32_t kRegionReadable = 1;
inline constexpr std::uint32_t kRegionWritable = 2;
inline constexpr std::uint32_t kRegionMmap = 4;
inline constexpr std::uint32_t kRegionCaps = 8;
inline constexpr std::uint16_t kCapSparseMmap = 1;
struct SparseCap {
    std::uint16_t id = kCapSparseMmap;
    std::uint16_t version = 1;
    std::uint32_t next = 0;
    std::uint32_t areas = 0;
    std::uint32_t reserved = 0;
};
struct SparseArea {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
};

struct IrqInfo {
    std::uint32_t argsz = 0;
    std::uint32_t flags = 0;
    std::uint32_t index = 0;
    std::uint32_t count = 0;
};
inline constexpr std::uint32_t kIrqEventfd = 1;
inline constexpr std::uint32_t kIrqMaskable = 2;
inline constexpr std::uint32_t kIrqAutomasked = 4;
inline constexpr std::uint32_t kIrqNoResize = 8;

struct IrqSet {
    std::uint32_t argsz = 0;
    std::uint32_t flags = 0;
    std::uint32_t index = 0;
    std::uint32_t start = 0;
    std::uint32_t count = 0;
};
inline constexpr std::uint32_t kIrqDataNone = 1;
inline constexpr std::uint32_t kIrqDataBool = 2;
inline constexpr std::uint32_t kIrqDataEventfd = 4;
inline constexpr std::uint32_t kIrqMask = 8;
inline constexpr std::uint32_t kIrqUnmask = 16;
inline constexpr std::uint32_t kIrqTrigger = 32;
inline constexpr std::uint32_t kIrqDataKinds = 7;
inline constexpr std::uint32_t kIrqActions = 56;

struct RegionAccess {
    std::uint64_t offset = 0;
    std::uint32_t region = 0;
    std::uint32_t count = 0;
};
struct RegionWriteOne {
    std::uint64_t offset = 0;
    std::uint32_t region = 0;
    std::uint32_t count = 0;
    std::uint64_t data = 0;
};

struct IoFdsRequest {
    std::uint32_t argsz = 0;
    std::uint32_t flags = 0;
    std::uint32_t index = 0;
    std::uint32_t count = 0;
};

struct FeatureHead {
    std::uint32_t argsz = 0;
    std::uint32_t flags = 0;
};
inline constexpr std::uint32_t kFeatureMask = 0xffff;
inline constexpr std::uint32_t kFeatureGet = 1u << 16;
inline constexpr std::uint32_t kFeatureSet = 1u << 17;
inline constexpr std::uint32_t kFeatureProbe = 1u << 18;

enum Feature : std::uint32_t {
    kFeatureMigration = 1,
    kFeatureMigState = 2,
    kFeatureLogStart = 6,
    kFeatureLogStop = 7,
    kFeatureLogReport = 8,
    kFeatureDataSize = 9,
    /// Not in the specification: {initial_bytes u64, dirty_bytes u64}, where the version reply has
    /// the capability "precopy_info". Asked in PRE_COPY and PRE_COPY_P2P.
    kFeaturePrecopyInfo = 0xff01,
};
inline constexpr std::uint64_t kMigStopCopy = 1;
inline constexpr std::uint64_t kMigP2p = 2;
inline constexpr std::uint64_t kMigPreCopy = 4;

struct MigState {
    std::uint32_t state = 0;
    std::int32_t data_fd = -1;
};
struct PrecopyInfo {
    std::uint64_t initial_bytes = 0;
    std::uint64_t dirty_bytes = 0;
};
struct LogStart {
    std::uint64_t page_size = 0;
    std::uint32_t num_ranges = 0;
    std::uint32_t reserved = 0;
};
struct LogRange {
    std::uint64_t iova = 0;
    std::uint64_t length = 0;
};
struct LogReport {
    std::uint64_t iova = 0;
    std::uint64_t length = 0;
    std::uint64_t page_size = 0;
};

struct MigData {
    std::uint32_t argsz = 0;
    std::uint32_t size = 0;
};

/// Regions and interrupts of a PCI device, by VFIO's numbers.
enum Region : std::uint32_t { kBar0 = 0, kRom = 6, kConfig = 7, kVga = 8, kRegions = 9 };
enum Irq : std::uint32_t { kIntx = 0, kMsi = 1, kMsix = 2, kErr = 3, kReq = 4, kIrqs = 5 };

}  // namespace godwit::vfio_user_server
