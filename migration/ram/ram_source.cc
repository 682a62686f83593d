// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/ram_source.h"

#include "migration/ram/ram_format.h"
#include "system/main_loop.h"

#include <algorithm>

namespace godwit::migration {

using system::kPageSize;

namespace {

// Pages between two looks at the budget: small enough for the rate limit, large enough for one
// write.
constexpr std::uint64_t kPagesAtOnce = 512;

}  // namespace

RamSource::RamSource(Environment& env, Statistics& statistics, RamObserver& observer,
                     Options options)
    : env_(env), statistics_(statistics), observer_(observer), options_(options), tracker_(env)
{}

Result<void> RamSource::setup(StreamWriter& out)
{
    GW_TRY(tracker_.start());
    auto sink = std::make_unique<MainStreamSink>(out, statistics_, options_);
    GW_TRY(sink->open());
    sink_ = std::move(sink);
    sync(false);
    std::uint64_t total = 0;
    for (const system::RamBlock* block : tracker_.blocks())
        total += block->used_length();
    statistics_.total = total;
    statistics_.skipped_pages = tracker_.skipped_pages();
    out.put_be64(total | kRamMemSize);
    for (const system::RamBlock* block : tracker_.blocks()) {
        if (block->id().size() > 255)
            return Error(Errc::InvalidArgument, "RAM block name '" + block->id() + "' is too long");
        out.put_str8(block->id());
        out.put_be64(block->used_length());
    }
    out.put_be64(kRamEos);
    return out.flush();
}

void RamSource::sync(bool last)
{
    const std::int64_t since = env_.clock.now_ns();
    const std::uint64_t fresh = tracker_.sync(last);
    if (++syncs_ > 1) {
        const std::uint64_t spared = statistics_.spared_bytes;
        cost_.pass_ended(pass_pages_, spared - spared_then_);
        spared_then_ = spared;
        pass_pages_ = 0;
    }
    statistics_.dirty_sync_count = syncs_;
    count_remaining();
    sink_->pass_begins(syncs_);
    observer_.synced(syncs_, fresh, since);
}

void RamSource::count_remaining()
{
    statistics_.remaining = tracker_.dirty_pages() * kPageSize;
}

Pending RamSource::pending_estimate() const
{
    return {.must_precopy = cost_.bytes(tracker_.dirty_pages())};
}

Result<Pending> RamSource::pending_exact()
{
    sync(false);
    return pending_estimate();
}

Result<void> RamSource::send(const BlockRun& run, bool last)
{
    pass_pages_ += run.pages.count;
    return sink_->send(run, last);
}

Result<Progress> RamSource::iterate(StreamWriter& out, Budget& budget)
{
    BlockRun run;
    for (;;) {
        const std::uint64_t position = out.position() + sink_->pending();
        if (budget.spent(position))
            break;
        const std::uint64_t pages = budget.room(position) / kPageSize + 1;
        if (!tracker_.take_next(std::min(pages, kPagesAtOnce), run))
            break;
        GW_TRY(send(run, false));
    }
    GW_TRY(sink_->flush());
    count_remaining();
    out.put_be64(kRamEos);
    return tracker_.dirty_pages() == 0 ? Progress::Done : Progress::More;
}

void RamSource::final_sync()
{
    sync(true);
}

Result<void> RamSource::complete(StreamWriter& out)
{
    BlockRun run;
    while (tracker_.take_next(kPagesAtOnce, run))
        GW_TRY(send(run, true));
    GW_TRY(sink_->flush());
    count_remaining();
    out.put_be64(kRamEos);
    return ok();
}

}  // namespace godwit::migration
