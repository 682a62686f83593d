// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Numbers and structures of Linux' VFIO and iommufd interfaces that this folder uses. Kept here
// because the headers of the machine that builds may be older than the kernel that runs.
// Source   Linux, include/uapi/linux/vfio.h and iommufd.h; vfio-user uses the same structures.
#pragma once

#include <cstdint>

namespace godwit::hw::vfio {

// --- ioctl requests: type ';', no direction, no size ---

namespace request {
inline constexpr unsigned long kGetApiVersion = 0x3b64;
inline constexpr unsigned long kCheckExtension = 0x3b65;
inline constexpr unsigned long kSetIommu = 0x3b66;
inline constexpr unsigned long kGroupGetStatus = 0x3b67;
inline constexpr unsigned long kGroupSetContainer = 0x3b68;
inline constexpr unsigned long kGroupUnsetContainer = 0x3b69;
inline constexpr unsigned long kGroupGetDeviceFd = 0x3b6a;
inline constexpr unsigned long kDeviceGetInfo = 0x3b6b;
inline constexpr unsigned long kDeviceGetRegionInfo = 0x3b6c;
inline constexpr unsigned long kDeviceGetIrqInfo = 0x3b6d;
inline constexpr unsigned long kDeviceSetIrqs = 0x3b6e;
inline constexpr unsigned long kDeviceReset = 0x3b6f;
inline constexpr unsigned long kIommuGetInfo = 0x3b70;  // on a container
inline constexpr unsigned long kIommuMapDma = 0x3b71;
inline constexpr unsigned long kIommuUnmapDma = 0x3b72;
inline constexpr unsigned long kDeviceFeature = 0x3b75;    // on a device
inline constexpr unsigned long kIommuDirtyPages = 0x3b75;  // on a container
inline constexpr unsigned long kDeviceBindIommufd = 0x3b76;
inline constexpr unsigned long kDeviceAttachPt = 0x3b77;
inline constexpr unsigned long kDeviceDetachPt = 0x3b78;
inline constexpr unsigned long kMigGetPrecopyInfo = 0x3b79;  // on a data_fd
inline constexpr unsigned long kIommufdDestroy = 0x3b80;
inline constexpr unsigned long kIommufdIoasAlloc = 0x3b81;
inline constexpr unsigned long kIommufdIovaRanges = 0x3b84;
inline constexpr unsigned long kIommufdMap = 0x3b85;
inline constexpr unsigned long kIommufdUnmap = 0x3b86;
inline constexpr unsigned long kIommufdHwptAlloc = 0x3b89;
inline constexpr unsigned long kIommufdGetHwInfo = 0x3b8a;
inline constexpr unsigned long kHwptSetDirtyTracking = 0x3b8b;
inline constexpr unsigned long kHwptGetDirtyBitmap = 0x3b8c;
}  // namespace request

// --- indexes of PCI devices ---

inline constexpr std::uint32_t kBar0Region = 0;  // to 5
inline constexpr std::uint32_t kRomRegion = 6;
inline constexpr std::uint32_t kConfigRegion = 7;
inline constexpr std::uint32_t kVgaRegion = 8;
inline constexpr std::uint32_t kFirstSpecialRegion = 9;
inline constexpr std::uint32_t kMaxRegions = 256;  // our bound

inline constexpr std::uint32_t kIntxIrq = 0;
inline constexpr std::uint32_t kMsiIrq = 1;
inline constexpr std::uint32_t kMsixIrq = 2;
inline constexpr std::uint32_t kErrIrq = 3;
inline constexpr std::uint32_t kReqIrq = 4;
inline constexpr std::uint32_t kMaxIrqIndexes = 64;  // our bound
inline constexpr std::uint32_t kMaxVectors = 2048;

// --- device ---

struct AbiDeviceInfo {
    std::uint32_t argsz = sizeof(AbiDeviceInfo);
    std::uint32_t flags = 0;  // bit 0 reset, bit 1 PCI
    std::uint32_t num_regions = 0;
    std::uint32_t num_irqs = 0;
    std::uint32_t cap_offset = 0;
    std::uint32_t pad = 0;
};
inline constexpr std::uint32_t kDeviceCanReset = 1U << 0;
inline constexpr std::uint32_t kDeviceIsPci = 1U << 1;

struct AbiRegionInfo {
    std::uint32_t argsz = sizeof(AbiRegionInfo);
    std::uint32_t flags = 0;
    std::uint32_t index = 0;
    std::uint32_t cap_offset = 0;
    std::uint64_t size = 0;
    std::uint64_t offset = 0;
};
static_assert(sizeof(AbiRegionInfo) == 32);
inline constexpr std::uint32_t kRegionRead = 1U << 0;
inline constexpr std::uint32_t kRegionWrite = 1U << 1;
inline constexpr std::uint32_t kRegionMmap = 1U << 2;
inline constexpr std::uint32_t kRegionCaps = 1U << 3;

struct AbiCapHeader {
    std::uint16_t id = 0;
    std::uint16_t version = 0;
    std::uint32_t next = 0;  // from the start of the info structure, 0: last
};
inline constexpr std::uint16_t kRegionCapSparse = 1;
inline constexpr std::uint16_t kRegionCapType = 2;
inline constexpr std::uint16_t kRegionCapMsixMappable = 3;
/// The region of migration version 1: type and subtype.
inline constexpr std::uint32_t kMigrationRegionType = 3;
inline constexpr std::uint32_t kMigrationRegionSubtype = 1;

struct AbiIrqInfo {
    std::uint32_t argsz = sizeof(AbiIrqInfo);
    std::uint32_t flags = 0;
    std::uint32_t index = 0;
    std::uint32_t count = 0;
};
inline constexpr std::uint32_t kIrqEventfd = 1U << 0;
inline constexpr std::uint32_t kIrqMaskable = 1U << 1;
inline constexpr std::uint32_t kIrqAutomasked = 1U << 2;
inline constexpr std::uint32_t kIrqNoResize = 1U << 3;

struct AbiIrqSet {  // data follows: bytes or descriptors
    std::uint32_t argsz = sizeof(AbiIrqSet);
    std::uint32_t flags = 0;
    std::uint32_t index = 0;
    std::uint32_t start = 0;
    std::uint32_t count = 0;
};
static_assert(sizeof(AbiIrqSet) == 20);
inline constexpr std::uint32_t kIrqSetNone = 1U << 0;
inline constexpr std::uint32_t kIrqSetBool = 1U << 1;
inline constexpr std::uint32_t kIrqSetEventfd = 1U << 2;
inline constexpr std::uint32_t kIrqSetMask = 1U << 3;
inline constexpr std::uint32_t kIrqSetUnmask = 1U << 4;
inline constexpr std::uint32_t kIrqSetTrigger = 1U << 5;

// --- device features ---

struct AbiFeature {  // payload follows
    std::uint32_t argsz = sizeof(AbiFeature);
    std::uint32_t flags = 0;
};
inline constexpr std::uint32_t kFeatureMask = 0xffff;
inline constexpr std::uint32_t kFeatureGet = 1U << 16;
inline constexpr std::uint32_t kFeatureSet = 1U << 17;
inline constexpr std::uint32_t kFeatureProbe = 1U << 18;

inline constexpr std::uint16_t kFeatureVfToken = 0;
inline constexpr std::uint16_t kFeatureMigration = 1;
inline constexpr std::uint16_t kFeatureMigDeviceState = 2;
inline constexpr std::uint16_t kFeatureDmaLoggingStart = 6;
inline constexpr std::uint16_t kFeatureDmaLoggingStop = 7;
inline constexpr std::uint16_t kFeatureDmaLoggingReport = 8;
inline constexpr std::uint16_t kFeatureMigDataSize = 9;

inline constexpr std::uint64_t kMigrationStopCopy = 1U << 0;
inline constexpr std::uint64_t kMigrationP2p = 1U << 1;
inline constexpr std::uint64_t kMigrationPreCopy = 1U << 2;

/// Device states of migration version 2, with the interface's numbers.
enum class MigrationState : std::uint32_t {
    Error = 0,
    Stop = 1,
    Running = 2,
    StopCopy = 3,
    Resuming = 4,
    RunningP2p = 5,
    PreCopy = 6,
    PreCopyP2p = 7,
};

struct AbiMigDeviceState {
    std::uint32_t device_state = 0;
    std::int32_t data_fd = -1;
};
struct AbiPrecopyInfo {
    std::uint32_t argsz = sizeof(AbiPrecopyInfo);
    std::uint32_t flags = 0;
    std::uint64_t initial_bytes = 0;
    std::uint64_t dirty_bytes = 0;
};
static_assert(sizeof(AbiPrecopyInfo) == 24);

struct AbiLoggingStart {  // ranges: a pointer here, inline in vfio-user
    std::uint64_t page_size = 0;
    std::uint32_t num_ranges = 0;
    std::uint32_t reserved = 0;
    std::uint64_t ranges = 0;
};
struct AbiLoggingRange {
    std::uint64_t iova = 0;
    std::uint64_t length = 0;
};
struct AbiLoggingReport {
    std::uint64_t iova = 0;
    std::uint64_t length = 0;
    std::uint64_t page_size = 0;
    std::uint64_t bitmap = 0;
};
static_assert(sizeof(AbiLoggingStart) == 24 && sizeof(AbiLoggingReport) == 32);

// --- migration version 1: the region's header ---

namespace v1 {
inline constexpr std::uint64_t kDeviceState = 0;
inline constexpr std::uint64_t kPendingBytes = 8;
inline constexpr std::uint64_t kDataOffset = 16;
inline constexpr std::uint64_t kDataSize = 24;
inline constexpr std::uint64_t kHeaderSize = 32;
inline constexpr std::uint32_t kRunning = 1U << 0;
inline constexpr std::uint32_t kSaving = 1U << 1;
inline constexpr std::uint32_t kResuming = 1U << 2;
inline constexpr std::uint32_t kStateMask = 7;
inline constexpr std::uint32_t kErrorState = kSaving | kResuming;
}  // namespace v1

// --- type1 container ---

inline constexpr unsigned long kType1Iommu = 1;
inline constexpr unsigned long kType1v2Iommu = 3;

struct AbiGroupStatus {
    std::uint32_t argsz = sizeof(AbiGroupStatus);
    std::uint32_t flags = 0;  // bit 0 viable, bit 1 container set
};
inline constexpr std::uint32_t kGroupViable = 1U << 0;
inline constexpr std::uint32_t kGroupContainerSet = 1U << 1;

struct AbiIommuInfo {  // capabilities follow
    std::uint32_t argsz = sizeof(AbiIommuInfo);
    std::uint32_t flags = 0;  // bit 0 page sizes, bit 1 capabilities
    std::uint64_t iova_pgsizes = 0;
    std::uint32_t cap_offset = 0;
    std::uint32_t pad = 0;
};
inline constexpr std::uint32_t kIommuInfoPgsizes = 1U << 0;
inline constexpr std::uint32_t kIommuInfoCaps = 1U << 1;
inline constexpr std::uint16_t kIommuCapRanges = 1;
inline constexpr std::uint16_t kIommuCapMigration = 2;
inline constexpr std::uint16_t kIommuCapDmaAvail = 3;

struct AbiDmaMap {
    std::uint32_t argsz = sizeof(AbiDmaMap);
    std::uint32_t flags = 0;  // bit 0 device reads, bit 1 device writes
    std::uint64_t vaddr = 0;
    std::uint64_t iova = 0;
    std::uint64_t size = 0;
};
inline constexpr std::uint32_t kDmaMapRead = 1U << 0;
inline constexpr std::uint32_t kDmaMapWrite = 1U << 1;

struct AbiDmaUnmap {  // a bitmap follows with kDmaUnmapGetDirty
    std::uint32_t argsz = sizeof(AbiDmaUnmap);
    std::uint32_t flags = 0;
    std::uint64_t iova = 0;
    std::uint64_t size = 0;
};
inline constexpr std::uint32_t kDmaUnmapGetDirty = 1U << 0;
inline constexpr std::uint32_t kDmaUnmapAll = 1U << 1;

struct AbiBitmap {
    std::uint64_t pgsize = 0;
    std::uint64_t size = 0;  // bytes
    std::uint64_t data = 0;  // pointer
};
struct AbiDirtyBitmap {  // the header alone for start and stop
    std::uint32_t argsz = 8;
    std::uint32_t flags = 0;
    std::uint64_t iova = 0;
    std::uint64_t size = 0;
    AbiBitmap bitmap;
};
static_assert(sizeof(AbiDirtyBitmap) == 48);
inline constexpr std::uint32_t kDirtyPagesStart = 1U << 0;
inline constexpr std::uint32_t kDirtyPagesStop = 1U << 1;
inline constexpr std::uint32_t kDirtyPagesGet = 1U << 2;

// --- iommufd ---

struct AbiBindIommufd {
    std::uint32_t argsz = sizeof(AbiBindIommufd);
    std::uint32_t flags = 0;
    std::int32_t iommufd = -1;
    std::uint32_t out_devid = 0;
};
struct AbiAttachPt {
    std::uint32_t argsz = sizeof(AbiAttachPt);
    std::uint32_t flags = 0;
    std::uint32_t pt_id = 0;
};
struct AbiDetachPt {
    std::uint32_t argsz = sizeof(AbiDetachPt);
    std::uint32_t flags = 0;
};
struct AbiIommufdDestroy {
    std::uint32_t size = sizeof(AbiIommufdDestroy);
    std::uint32_t id = 0;
};
struct AbiIoasAlloc {
    std::uint32_t size = sizeof(AbiIoasAlloc);
    std::uint32_t flags = 0;
    std::uint32_t out_ioas_id = 0;
};
struct AbiIovaRange {
    std::uint64_t start = 0;
    std::uint64_t last = 0;
};
struct AbiIoasIovaRanges {
    std::uint32_t size = sizeof(AbiIoasIovaRanges);
    std::uint32_t ioas_id = 0;
    std::uint32_t num_iovas = 0;
    std::uint32_t reserved = 0;
    std::uint64_t allowed_iovas = 0;  // pointer
    std::uint64_t out_iova_alignment = 0;
};
struct AbiIoasMap {
    std::uint32_t size = sizeof(AbiIoasMap);
    std::uint32_t flags = 0;
    std::uint32_t ioas_id = 0;
    std::uint32_t reserved = 0;
    std::uint64_t user_va = 0;
    std::uint64_t length = 0;
    std::uint64_t iova = 0;
};
inline constexpr std::uint32_t kIoasMapFixed = 1U << 0;
inline constexpr std::uint32_t kIoasMapWriteable = 1U << 1;
inline constexpr std::uint32_t kIoasMapReadable = 1U << 2;
struct AbiIoasUnmap {
    std::uint32_t size = sizeof(AbiIoasUnmap);
    std::uint32_t ioas_id = 0;
    std::uint64_t iova = 0;
    std::uint64_t length = 0;
};
struct AbiHwptAlloc {
    std::uint32_t size = sizeof(AbiHwptAlloc);
    std::uint32_t flags = 0;
    std::uint32_t dev_id = 0;
    std::uint32_t pt_id = 0;
    std::uint32_t out_hwpt_id = 0;
    std::uint32_t reserved = 0;
    std::uint32_t data_type = 0;
    std::uint32_t data_len = 0;
    std::uint64_t data_uptr = 0;
    std::uint32_t fault_id = 0;
    std::uint32_t reserved2 = 0;
};
inline constexpr std::uint32_t kHwptAllocDirtyTracking = 1U << 1;
struct AbiHwInfo {
    std::uint32_t size = sizeof(AbiHwInfo);
    std::uint32_t flags = 0;
    std::uint32_t dev_id = 0;
    std::uint32_t data_len = 0;
    std::uint64_t data_uptr = 0;
    std::uint32_t out_data_type = 0;
    std::uint32_t reserved = 0;
    std::uint64_t out_capabilities = 0;
};
inline constexpr std::uint64_t kHwCapDirtyTracking = 1U << 0;
struct AbiSetDirtyTracking {
    std::uint32_t size = sizeof(AbiSetDirtyTracking);
    std::uint32_t flags = 0;  // bit 0 enable
    std::uint32_t hwpt_id = 0;
    std::uint32_t reserved = 0;
};
struct AbiGetDirtyBitmap {
    std::uint32_t size = sizeof(AbiGetDirtyBitmap);
    std::uint32_t hwpt_id = 0;
    std::uint32_t flags = 0;  // bit 0: leave the bits set
    std::uint32_t reserved = 0;
    std::uint64_t iova = 0;
    std::uint64_t length = 0;
    std::uint64_t page_size = 0;
    std::uint64_t data = 0;  // pointer
};
static_assert(sizeof(AbiGetDirtyBitmap) == 48 && sizeof(AbiSetDirtyTracking) == 16);
inline constexpr std::uint32_t kDirtyBitmapNoClear = 1U << 0;

}  // namespace godwit::hw::vfio
