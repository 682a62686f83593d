// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Messages of the vfio-user protocol as they lie on the socket. Host byte order.
// Source   vfio-user specification 0.9.2; numbers of the older commands from 0.9.1.
#pragma once

#include <cstdint>
#include <string_view>

namespace godwit::hw::vfio::user {

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
    DmaRead = 11,   ///< server to client
    DmaWrite = 12,  ///< server to client
    DeviceReset = 13,
    DeviceFeature = 16,
    MigDataRead = 17,
    MigDataWrite = 18,
};
std::string_view to_string(Command command) noexcept;

struct Header {
    std::uint16_t id = 0;  ///< the sender's choice; the reply has the same
    std::uint16_t command = 0;
    std::uint32_t size = 0;  ///< of the whole message
    std::uint32_t flags = 0;
    std::uint32_t error = 0;  ///< errno, with kError
};
static_assert(sizeof(Header) == 16);
inline constexpr std::uint32_t kTypeMask = 0xf;
inline constexpr std::uint32_t kTypeCommand = 0;
inline constexpr std::uint32_t kTypeReply = 1;
inline constexpr std::uint32_t kNoReply = 1U << 4;
inline constexpr std::uint32_t kError = 1U << 5;

inline constexpr std::uint16_t kMajor = 0;
inline constexpr std::uint16_t kMinor = 2;

struct Version {  // JSON text and a zero byte follow
    std::uint16_t major = kMajor;
    std::uint16_t minor = kMinor;
};

struct DmaMap {
    std::uint32_t argsz = sizeof(DmaMap);
    std::uint32_t flags = 0;  // bit 0 the device reads, bit 1 it writes
    std::uint64_t offset = 0;
    std::uint64_t address = 0;
    std::uint64_t size = 0;
};
struct DmaUnmap {
    std::uint32_t argsz = sizeof(DmaUnmap);
    std::uint32_t flags = 0;
    std::uint64_t address = 0;
    std::uint64_t size = 0;
};
struct DeviceInfo {
    std::uint32_t argsz = sizeof(DeviceInfo);
    std::uint32_t flags = 0;
    std::uint32_t num_regions = 0;
    std::uint32_t num_irqs = 0;
};
struct RegionAccess {  // data follows in a write, and in the answer to a read
    std::uint64_t offset = 0;
    std::uint32_t region = 0;
    std::uint32_t count = 0;
};
struct DmaAccess {  // likewise
    std::uint64_t address = 0;
    std::uint64_t count = 0;
};
struct MigData {  // likewise
    std::uint32_t argsz = 0;
    std::uint32_t size = 0;
};
struct LoggingStart {  // ranges follow; none: everything mapped
    std::uint64_t page_size = 0;
    std::uint32_t num_ranges = 0;
    std::uint32_t reserved = 0;
};
struct LoggingReport {  // the bitmap follows in the answer
    std::uint64_t iova = 0;
    std::uint64_t length = 0;
    std::uint64_t page_size = 0;
};
static_assert(sizeof(DmaMap) == 32 && sizeof(DmaUnmap) == 24 && sizeof(DeviceInfo) == 16 &&
              sizeof(RegionAccess) == 16 && sizeof(DmaAccess) == 16 && sizeof(MigData) == 8 &&
              sizeof(LoggingStart) == 16 && sizeof(LoggingReport) == 24);

/// Not in the specification, which has no word for VFIO_MIG_GET_PRECOPY_INFO: a feature that can be
/// got, {initial_bytes u64, dirty_bytes u64}. A server that does not know it refuses the probe.
inline constexpr std::uint16_t kFeaturePrecopyInfo = 0xff01;

}  // namespace godwit::hw::vfio::user
