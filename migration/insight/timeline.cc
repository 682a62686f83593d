// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/insight/timeline.h"

#include <algorithm>
#include <chrono>

namespace godwit::migration {
namespace {

// Of these there may be any number in one attempt.
bool recurs(TimelineKind kind)
{
    return kind == TimelineKind::Pass || kind == TimelineKind::Sync ||
           kind == TimelineKind::Stall || kind == TimelineKind::Throttle ||
           kind == TimelineKind::Verdict;
}

std::int64_t wall_clock_us()
{
    using namespace std::chrono;
    return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace

Timeline::Timeline(Side side, std::uint64_t number, const Clock& clock, bool kept)
    : side_(side), number_(number), clock_(clock), kept_(kept), start_ns_(clock.now_ns()),
      started_us_(wall_clock_us())
{
    events_.reserve(128);  // not while the guest stands still
}

void Timeline::add(TimelineEvent event)
{
    const std::lock_guard guard(mutex_);
    add_locked(std::move(event));
}

void Timeline::add_locked(TimelineEvent event)
{
    if (!kept_)
        return;
    if (event.name.size() > kMaxTimelineName)
        event.name.resize(kMaxTimelineName);
    if (events_.size() >= kMaxEvents) {
        ++dropped_;
        const auto victim = std::find_if(events_.begin() + kKeptEvents, events_.end(),
                                         [](const TimelineEvent& e) { return recurs(e.kind); });
        if (victim == events_.end())
            return;
        events_.erase(victim);
    }
    events_.push_back(std::move(event));
}

void Timeline::note(TimelineKind kind, std::string name, std::optional<std::int64_t> number)
{
    add({.kind = kind, .name = std::move(name), .start_ns = now_ns(), .number = number});
}

void Timeline::lasted(TimelineKind kind, std::string name, std::int64_t since,
                      std::optional<std::uint64_t> bytes, std::optional<std::int64_t> number)
{
    add({.kind = kind,
         .name = std::move(name),
         .start_ns = since,
         .duration_ns = now_ns() - since,
         .bytes = bytes,
         .number = number});
}

void Timeline::sample(const TimelineSample& sample)
{
    if (!kept_)
        return;
    const std::lock_guard guard(mutex_);
    if (samples_seen_++ % sample_step_ != 0)
        return;
    if (samples_.size() >= kMaxSamples) {
        std::size_t kept = 0;
        for (std::size_t i = 0; i < samples_.size(); i += 2)
            samples_[kept++] = samples_[i];
        samples_.resize(kept);
        sample_step_ *= 2;
    }
    samples_.push_back(sample);
}

void Timeline::set_peer(TimelinePeer peer)
{
    const std::lock_guard guard(mutex_);
    peer_ = std::move(peer);
}

void Timeline::status_changed(Status to)
{
    const std::int64_t now = now_ns();
    const std::lock_guard guard(mutex_);
    status_ = to;
    if (!is_running(to))
        end_ns_ = now;
    add_locked({.kind = TimelineKind::Status, .name = std::string(to_string(to)), .start_ns = now});
}

void Timeline::set_error(std::string text)
{
    const std::int64_t now = now_ns();
    const std::lock_guard guard(mutex_);
    add_locked({.kind = TimelineKind::Error, .name = text, .start_ns = now});
    error_ = std::move(text);
}

void Timeline::set_statistics(std::shared_ptr<const Statistics> statistics)
{
    const std::lock_guard guard(mutex_);
    statistics_ = std::move(statistics);
}

Timeline::Snapshot Timeline::snapshot() const
{
    const std::int64_t now = now_ns();
    Snapshot copy;
    {
        const std::lock_guard guard(mutex_);
        copy = {.status = status_,
                .total_ns = end_ns_.value_or(now) - start_ns_,
                .error = error_,
                .events = events_,
                .dropped = dropped_,
                .samples = samples_,
                .peer = peer_,
                .statistics = statistics_};
    }
    // What lasts is added when it ends.
    std::ranges::stable_sort(copy.events, {}, &TimelineEvent::start_ns);
    return copy;
}

std::shared_ptr<Timeline> Timelines::begin(Side side)
{
    const std::lock_guard guard(mutex_);
    auto timeline = std::make_shared<Timeline>(side, ++count_, clock_, kept_.load());
    timelines_.push_back(timeline);
    if (timelines_.size() > kKept)
        timelines_.pop_front();
    return timeline;
}

std::vector<std::shared_ptr<Timeline>> Timelines::last(std::size_t most) const
{
    const std::lock_guard guard(mutex_);
    const std::size_t count = std::min(most, timelines_.size());
    return {timelines_.rbegin(), timelines_.rbegin() + static_cast<std::ptrdiff_t>(count)};
}

std::shared_ptr<Timeline> Timelines::current(Side side) const
{
    const std::lock_guard guard(mutex_);
    for (auto it = timelines_.rbegin(); it != timelines_.rend(); ++it)
        if ((*it)->side() == side)
            return *it;
    return nullptr;
}

}  // namespace godwit::migration
