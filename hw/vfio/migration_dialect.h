// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How a device is spoken to about its migration. Two dialects: version 2 (device features and a
// stream of bytes) and version 1 (a region with a header and records). Whoever holds a dialect does
// not know which one it is.
#pragma once

#include "hw/vfio/device_backend.h"
#include "hw/vfio/migration_states.h"
#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace godwit::hw::vfio {

/// Takes one piece of device state: first its length, then that many bytes in any portions.
class ChunkSink {
public:
    virtual ~ChunkSink() = default;
    virtual Result<void> begin(std::uint64_t length) = 0;
    virtual Result<void> bytes(std::span<const std::byte> part) = 0;
};

/// What a device says it still has.
struct Remaining {
    std::uint64_t initial = 0;          ///< of PRE_COPY: worth sending before the stop
    std::uint64_t dirty = 0;            ///< of PRE_COPY: changed since it was read
    std::optional<std::uint64_t> stop;  ///< if it stopped now; nothing: it cannot tell
    bool tells_initial = false;         ///< `initial` and `dirty` come from the device
};

/// Order    one step at a time, as next() says; read_chunk() in the saving states, the load calls
///          in RESUMING.
/// Threads  one caller at a time.
/// Errors   those of the back end, without the device's name.
class MigrationDialect {
public:
    virtual ~MigrationDialect() = default;

    virtual StateSet states() const noexcept = 0;
    virtual std::optional<MigrationState> next(MigrationState from,
                                               MigrationState to) const noexcept = 0;
    /// Where the device is, by its own account.
    virtual Result<MigrationState> state() = 0;
    /// One step.
    virtual Result<void> enter(MigrationState from, MigrationState to) = 0;

    /// A chunk comes in one part, which lies in the buffer that read_chunk() was given.
    virtual bool whole_chunks() const noexcept = 0;
    /// At most one chunk, nothing when there is none now. `buffer` is for its use.
    virtual Result<DataRead> read_chunk(ChunkSink& sink, std::span<std::byte> buffer) = 0;
    /// read_chunk() and load_bytes() in two steps, as DeviceBackend::begin_read() and
    /// begin_write(), where chunks are portions of a stream: of whole chunks only.
    virtual Result<std::unique_ptr<DataTransfer>> begin_read(std::span<std::byte> buffer);
    virtual Result<std::unique_ptr<DataTransfer>> begin_load(std::span<const std::byte> part);
    virtual Result<Remaining> remaining(MigrationState now) = 0;

    /// A chunk of the stream: begin, its bytes in any portions, end.
    virtual Result<void> load_begin(std::uint64_t length) = 0;
    virtual Result<void> load_bytes(std::span<const std::byte> part) = 0;
    virtual Result<void> load_end() = 0;

    /// Whatever is held for a transfer goes. Idempotent.
    virtual void close() noexcept = 0;
};

/// The dialect `device` speaks: version 2 if it has the feature, else version 1 if it has the
/// region. Errors   Unsupported: neither. BadFormat: flags or a region that make no sense.
Result<std::unique_ptr<MigrationDialect>> make_dialect(DeviceBackend& device);

Result<std::unique_ptr<MigrationDialect>> make_dialect_v2(DeviceBackend& device,
                                                          std::uint64_t flags);
/// `region` has the type and subtype of the migration region.
Result<std::unique_ptr<MigrationDialect>> make_dialect_v1(DeviceBackend& device,
                                                          const RegionInfo& region);

}  // namespace godwit::hw::vfio
