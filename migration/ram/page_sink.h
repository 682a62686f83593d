// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where pages go. Adding a way for pages to travel adds a sink, not a branch in the pass loop.
#pragma once

#include "migration/ram/dirty_tracker.h"
#include "util/result.h"

namespace godwit::migration {

/// Threads  the migration thread.
/// Errors   end the migration.
class PageSink {
public:
    virtual ~PageSink() = default;
    /// Sends the pages as they are now; `last` in the final pass, with the guest stopped.
    virtual Result<void> send(const BlockRun& run, bool last) = 0;
    /// Bytes that send() has taken and flush() would write; part of what the rate limit counts.
    virtual std::uint64_t pending() const noexcept = 0;
    /// Everything sent so far is on its way when this returns.
    virtual Result<void> flush() = 0;
    /// A new pass over memory begins: the dirty log was synced for the `pass`th time.
    virtual void pass_begins(std::uint64_t pass) {}
};

}  // namespace godwit::migration
