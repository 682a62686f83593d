// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/yank.h"

#include <algorithm>
#include <utility>

namespace godwit::system {

Registration YankRegistry::add(YankInstance instance, Breaker breaker)
{
    auto kept = std::make_shared<Breaker>(std::move(breaker));
    const std::lock_guard guard(state_->mutex);
    state_->entries.push_back({std::move(instance), kept});
    return Registration([state = state_, kept = std::move(kept)]() noexcept {
        const std::lock_guard removing(state->mutex);
        std::erase_if(state->entries, [&](const Entry& e) { return e.breaker == kept; });
    });
}

std::vector<YankInstance> YankRegistry::list() const
{
    std::vector<YankInstance> all;
    const std::lock_guard guard(state_->mutex);
    for (const Entry& entry : state_->entries)
        if (std::ranges::find(all, entry.instance) == all.end())
            all.push_back(entry.instance);
    return all;
}

Result<void> YankRegistry::yank(std::span<const YankInstance> instances)
{
    const std::lock_guard guard(state_->mutex);
    for (const YankInstance& wanted : instances)
        if (std::ranges::find(state_->entries, wanted, &Entry::instance) == state_->entries.end())
            return Error(Errc::DeviceNotFound, "Instance not found");
    for (const Entry& entry : state_->entries)
        if (*entry.breaker && std::ranges::find(instances, entry.instance) != instances.end())
            (*entry.breaker)();
    return ok();
}

}  // namespace godwit::system
