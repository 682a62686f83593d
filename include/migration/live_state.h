// SPDX-License-Identifier: LGPL-2.1-or-later
//
// State that keeps changing while it is sent: RAM, dirty block maps, VFIO devices. A device that
// only has registers declares a VMState instead (stream/vmstate.h).
#pragma once

#include "migration/capabilities.h"
#include "migration/stream/reader.h"
#include "migration/stream/registry.h"
#include "migration/stream/sections.h"
#include "migration/stream/writer.h"
#include "util/result.h"

#include <cstdint>
#include <functional>

namespace godwit::migration {

using stream::StreamReader;
using stream::StreamWriter;
using stream::Version;

/// Bytes still to send.
struct Pending {
    std::uint64_t must_precopy = 0;  ///< only before the destination runs
    std::uint64_t can_postcopy = 0;  ///< may also follow later
    std::uint64_t total() const noexcept { return must_precopy + can_postcopy; }
    Pending& operator+=(const Pending& other) noexcept
    {
        must_precopy += other.must_precopy;
        can_postcopy += other.can_postcopy;
        return *this;
    }
};

enum class Progress : std::uint8_t { More, Done };

/// How much one turn may send.
class Budget {
public:
    virtual ~Budget() = default;
    /// True once the turn should end: rate limit, time, cancel. `position` is the writer's.
    virtual bool spent(std::uint64_t position) = 0;
    /// Bytes that may be sent before spent() would say so for the rate limit's sake.
    virtual std::uint64_t room(std::uint64_t position) const = 0;
};

/// What a handler may know about the attempt it takes part in.
struct SourceContext {
    const Capabilities& capabilities;
};
struct DestinationContext {
    const Capabilities& capabilities;
};

/// Order    source: setup, then pending and iterate in turn, then complete_*, then cleanup; between
///          handlers by priority, then registration. Destination: load_setup, load for each section
///          in the stream's order, load_cleanup.
/// Cleanup  cleanup() and load_cleanup() exactly once on the side that began, after success,
///          failure and cancel alike, also when setup itself failed.
/// Threads  the migration thread, machine lock not held; a handler that needs it takes it.
///          complete_precopy() runs with the vCPUs stopped and after the last dirty sync.
/// Errors   any error ends this migration; until switchover the source guest then runs on.
/// Source   the order of calls is QEMU's; the stream shows it as START, PART, END.
class LiveStateHandler : public stream::LiveHandler {
public:
    virtual Result<void> setup(StreamWriter& out, const SourceContext& context) = 0;
    /// Cheap, asked before every turn.
    virtual Result<Pending> pending_estimate() = 0;
    /// May be expensive: asked when the estimate says that the end is near.
    virtual Result<Pending> pending_exact() = 0;
    virtual Result<Progress> iterate(StreamWriter& out, Budget& budget) = 0;
    virtual Result<void> complete_precopy(StreamWriter& out) = 0;
    virtual Result<void> complete_postcopy(StreamWriter& out) = 0;
    virtual void cleanup() noexcept = 0;

    virtual Result<void> load_setup(const DestinationContext& context) = 0;
    /// One section's body, as far as it goes.
    virtual Result<void> load(StreamReader& in, stream::SectionType type, Version version) = 0;
    virtual void load_cleanup() noexcept = 0;
};

/// A handler that is not always in use.
class MaybeActive {
public:
    virtual ~MaybeActive() = default;
    virtual bool is_active() const = 0;
};

/// A handler whose data may follow after the destination runs.
class PostcopyCapable {
public:
    virtual ~PostcopyCapable() = default;
    virtual bool has_postcopy() const = 0;
};

/// A destination handler that must agree before the source stops its guest.
class SwitchoverAcker {
public:
    virtual ~SwitchoverAcker() = default;
    /// Asked after load_setup(); true if this one will call `approve` later, once.
    virtual bool switchover_ack_needed() const = 0;
    virtual void on_approval(std::function<void()> approve) = 0;
};

/// A handler that can go on after a broken connection.
class Resumable {
public:
    virtual ~Resumable() = default;
    virtual Result<void> resume_prepare() = 0;
};

/// A handler of a device that lives outside this program (VFIO): query-migrate counts its bytes as
/// "vfio".
class ExternalDevice {
public:
    virtual ~ExternalDevice() = default;
    /// Bytes of device state sent in the attempt under way, or in the last one. Any thread.
    virtual std::uint64_t transferred() const noexcept = 0;
};

/// A live handler that also has a FULL section among the devices (VFIO's configuration).
///
/// Threads  as a device's state: machine lock held, vCPUs stopped; load() is then called with the
///          section type Full, and without the lock.
class FinalState {
public:
    virtual ~FinalState() = default;
    virtual Result<void> save_final(StreamWriter& out) = 0;
};

}  // namespace godwit::migration
