// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/status.h"

#include <algorithm>
#include <array>
#include <string>

namespace godwit::migration {
namespace {

using enum Status;

constexpr auto kStatusNames = std::to_array<std::string_view>(
    {"none", "setup", "cancelling", "cancelled", "active", "postcopy-active", "postcopy-paused",
     "postcopy-recover-setup", "postcopy-recover", "completed", "failed", "colo", "pre-switchover",
     "device", "wait-unplug"});
static_assert(kStatusNames.size() == kStatusCount);

constexpr auto kEventNames = std::to_array<std::string_view>(
    {"start", "setup-done", "pause", "switchover", "finish", "fail", "cancel", "drained",
     "postcopy-begin", "postcopy-pause", "postcopy-retry", "postcopy-connect", "postcopy-go-on"});
static_assert(kEventNames.size() == kEventCount);

// Cancel has no row in a postcopy status: the destination runs the guest.
constexpr auto kSource = std::to_array<Transition>({
    {None, Event::Start, Setup},
    {Completed, Event::Start, Setup},
    {Failed, Event::Start, Setup},
    {Cancelled, Event::Start, Setup},

    {Setup, Event::SetupDone, Active},
    {Setup, Event::Fail, Failed},
    {Setup, Event::Cancel, Cancelling},

    {Active, Event::Pause, PreSwitchover},
    {Active, Event::Switchover, Device},
    {Active, Event::Fail, Failed},
    {Active, Event::Cancel, Cancelling},

    {PreSwitchover, Event::Switchover, Device},
    {PreSwitchover, Event::Fail, Failed},
    {PreSwitchover, Event::Cancel, Cancelling},

    {Device, Event::Finish, Completed},
    {Device, Event::Fail, Failed},
    {Device, Event::Cancel, Cancelling},
    {Device, Event::PostcopyBegin, PostcopyActive},

    {Cancelling, Event::Drained, Cancelled},

    {PostcopyActive, Event::Finish, Completed},
    {PostcopyActive, Event::Fail, Failed},
    {PostcopyActive, Event::PostcopyPause, PostcopyPaused},
    {PostcopyPaused, Event::PostcopyRetry, PostcopyRecoverSetup},
    {PostcopyRecoverSetup, Event::PostcopyConnect, PostcopyRecover},
    {PostcopyRecoverSetup, Event::PostcopyPause, PostcopyPaused},
    {PostcopyRecover, Event::PostcopyGoOn, PostcopyActive},
    {PostcopyRecover, Event::PostcopyPause, PostcopyPaused},
});

constexpr auto kDestination = std::to_array<Transition>({
    {None, Event::Start, Setup},
    {Failed, Event::Start, Setup},
    {Setup, Event::SetupDone, Active},
    {Setup, Event::Fail, Failed},
    {Active, Event::Finish, Completed},
    {Active, Event::Fail, Failed},
    {Active, Event::PostcopyBegin, PostcopyActive},
    {PostcopyActive, Event::Finish, Completed},
    {PostcopyActive, Event::Fail, Failed},
    {PostcopyActive, Event::PostcopyPause, PostcopyPaused},
    {PostcopyPaused, Event::PostcopyConnect, PostcopyRecover},
    {PostcopyRecover, Event::PostcopyGoOn, PostcopyActive},
    {PostcopyRecover, Event::PostcopyPause, PostcopyPaused},
});

constexpr bool deterministic(std::span<const Transition> table)
{
    for (std::size_t i = 0; i < table.size(); ++i)
        for (std::size_t j = i + 1; j < table.size(); ++j)
            if (table[i].from == table[j].from && table[i].on == table[j].on)
                return false;
    return true;
}
static_assert(deterministic(kSource) && deterministic(kDestination));

}  // namespace

std::string_view to_string(Status status) noexcept
{
    return kStatusNames[static_cast<std::size_t>(status)];
}

std::string_view to_string(Event event) noexcept
{
    return kEventNames[static_cast<std::size_t>(event)];
}

std::span<const Transition> transitions(Side side) noexcept
{
    if (side == Side::Source)
        return kSource;
    return kDestination;
}

std::optional<Status> next_status(Side side, Status from, Event on) noexcept
{
    for (const Transition& row : transitions(side))
        if (row.from == from && row.on == on)
            return row.to;
    return std::nullopt;
}

bool is_running(Status status) noexcept
{
    switch (status) {
    case None:
    case Cancelled:
    case Completed:
    case Failed:
        return false;
    default:
        return true;
    }
}

Status StatusTracker::status() const
{
    const std::lock_guard guard(mutex_);
    return status_;
}

Result<void> StatusTracker::apply(Event event)
{
    const std::lock_guard in_order(observers_->order);
    Status from{};
    Status to{};
    {
        const std::lock_guard guard(mutex_);
        from = status_;
        const auto next = next_status(side_, from, event);
        if (!next)
            return Error(Errc::BadState, "migration: no " + std::string(to_string(event)) +
                                             " in status " + std::string(to_string(from)));
        to = status_ = *next;
    }
    for (const Observer& observer : observers_->list)
        observer(from, to);
    return ok();
}

Registration StatusTracker::observe(Observer observer)
{
    const std::lock_guard guard(observers_->order);
    const auto at = observers_->list.insert(observers_->list.end(), std::move(observer));
    return Registration([observers = observers_, at]() noexcept {
        const std::lock_guard until_none_runs(observers->order);
        observers->list.erase(at);
    });
}

}  // namespace godwit::migration
