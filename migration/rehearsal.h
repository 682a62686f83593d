// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The device part of the stream, written for nobody while the guest runs: what it takes and how
// large it is, part by part.
#pragma once

#include "migration/environment.h"
#include "migration/statistics.h"
#include "migration/stream/registry.h"

#include <cstdint>
#include <vector>

namespace godwit::migration {

/// Units    ns, bytes.
/// Threads  the migration thread; run() with the machine lock.
/// Errors   none: a device that cannot be saved now is not foretold. It says so at the switchover.
class Rehearsal {
public:
    /// Saves every device that declares its state once, into memory that is thrown away. Their
    /// pre-save hooks do not run: these may count on a guest that stands still.
    void run(const stream::StateRegistry& registry, const Clock& clock);

    bool done() const noexcept { return done_; }
    /// All devices together; 0 before run().
    std::int64_t ns() const noexcept { return ns_; }
    std::uint64_t bytes() const noexcept { return bytes_; }
    /// Of their part of the self-description.
    std::uint64_t description_bytes() const noexcept { return description_bytes_; }
    /// As they will be in Statistics.
    const std::vector<SwitchoverPart>& parts() const noexcept { return parts_; }

private:
    bool done_ = false;
    std::int64_t ns_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint64_t description_bytes_ = 0;
    std::vector<SwitchoverPart> parts_;
};

}  // namespace godwit::migration
