// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Guest memory on the source: what one outgoing attempt does for the `ram` section.
#pragma once

#include "migration/live_state.h"
#include "migration/pacing/page_cost.h"
#include "migration/ram/dirty_tracker.h"
#include "migration/ram/main_stream_sink.h"
#include "migration/ram/page_sink.h"
#include "migration/statistics.h"

#include <functional>
#include <memory>

namespace godwit::migration {

/// What the pass loop tells others.
class RamObserver {
public:
    virtual ~RamObserver() = default;
    /// The dirty log was synced for the `count`th time; so many pages became dirty.
    /// It began at `since_ns`.
    virtual void synced(std::uint64_t count, std::uint64_t fresh_pages, std::int64_t since_ns) = 0;
};

/// Threads  the migration thread.
class RamSource {
public:
    using Options = MainStreamSink::Options;
    RamSource(Environment& env, Statistics& statistics, RamObserver& observer, Options options);

    Result<void> setup(StreamWriter& out);
    /// Bytes on the wire, as far as it is known what dirty pages take there.
    Pending pending_estimate() const;
    Result<Pending> pending_exact();
    Result<Progress> iterate(StreamWriter& out, Budget& budget);
    /// The last dirty sync; its own step, because every listener and not only RAM needs it.
    void final_sync();
    Result<void> complete(StreamWriter& out);

private:
    void sync(bool last);
    void count_remaining();
    Result<void> send(const BlockRun& run, bool last);

    Environment& env_;
    Statistics& statistics_;
    RamObserver& observer_;
    Options options_;
    DirtyTracker tracker_;
    std::unique_ptr<PageSink> sink_;
    std::uint64_t syncs_ = 0;
    PageCost cost_;
    std::uint64_t pass_pages_ = 0;   // sent since the last sync
    std::uint64_t spared_then_ = 0;  // at the last sync
};

}  // namespace godwit::migration
