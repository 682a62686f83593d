// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/event_limiter.h"

#include <algorithm>
#include <array>

namespace godwit::monitor {

namespace {

struct Limited {
    std::string_view name;
    std::string_view member;  // tells events of one kind apart; "" = they are all alike
};

constexpr auto kLimited = std::to_array<Limited>({
    {"BALLOON_CHANGE", ""},
    {"BLOCK_IO_ERROR", "qom-path"},
    {"HV_BALLOON_STATUS_REPORT", ""},
    {"MEMORY_DEVICE_SIZE_CHANGE", "qom-path"},
    {"QUORUM_FAILURE", ""},
    {"QUORUM_REPORT_BAD", "node-name"},
    {"RTC_CHANGE", ""},
    {"VSERPORT_CHANGE", "id"},
    {"WATCHDOG", ""},
});

std::string telling_value(const Limited& limit, const Json& data)
{
    if (limit.member.empty() || !data.is_object())
        return {};
    const auto found = data.find(std::string(limit.member));
    const auto* text = found == data.end() ? nullptr : found->get_ptr<const Json::string_t*>();
    return text ? *text : std::string();
}

}  // namespace

std::optional<QueuedEvent> EventLimiter::offer(QueuedEvent event, std::int64_t now_ms)
{
    const auto limit = std::ranges::find(kLimited, event.name, &Limited::name);
    if (limit == kLimited.end())
        return event;
    Slot& slot = slots_[{event.name, telling_value(*limit, event.data)}];
    if (now_ms < slot.until_ms) {
        slot.waiting = std::move(event);
        return std::nullopt;
    }
    slot.until_ms = now_ms + kPeriodMs;
    slot.waiting.reset();
    return event;
}

std::vector<QueuedEvent> EventLimiter::due(std::int64_t now_ms)
{
    std::vector<QueuedEvent> out;
    for (auto it = slots_.begin(); it != slots_.end();) {
        Slot& slot = it->second;
        if (now_ms < slot.until_ms) {
            ++it;
        } else if (!slot.waiting) {
            it = slots_.erase(it);
        } else {
            out.push_back(std::move(*slot.waiting));
            slot = {.until_ms = now_ms + kPeriodMs, .waiting = {}};
            ++it;
        }
    }
    std::ranges::sort(out, {}, &QueuedEvent::unix_us);
    return out;
}

std::optional<std::int64_t> EventLimiter::next_ms() const
{
    std::optional<std::int64_t> next;
    for (const auto& [key, slot] : slots_)
        next = std::min(next.value_or(slot.until_ms), slot.until_ms);
    return next;
}

}  // namespace godwit::monitor
