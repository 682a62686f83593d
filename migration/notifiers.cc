// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/notifier.h"

#include <algorithm>

namespace godwit::migration {

std::string_view to_string(Moment moment) noexcept
{
    switch (moment) {
    case Moment::Setup:
        return "setup";
    case Moment::InCompletion:
        return "in-completion";
    case Moment::Completed:
        return "completed";
    case Moment::Failed:
        return "failed";
    }
    return "?";
}

Registration Notifiers::add(Notifier notifier)
{
    const auto at = std::ranges::upper_bound(*list_, notifier.priority, {},
                                             [](const auto& n) { return n->priority; });
    const auto placed = *list_->insert(at, std::make_shared<const Notifier>(std::move(notifier)));
    return Registration([list = list_, placed]() noexcept { std::erase(*list, placed); });
}

Result<void> Notifiers::ask(Moment moment) const
{
    const auto list = *list_;
    for (const auto& notifier : list)
        GW_TRY(with_context(notifier->notify(moment), notifier->name));
    return ok();
}

std::vector<Error> Notifiers::tell(Moment moment) const
{
    std::vector<Error> complaints;
    auto list = *list_;
    std::ranges::reverse(list);
    for (const auto& notifier : list)
        if (auto told = with_context(notifier->notify(moment), notifier->name); !told)
            complaints.push_back(std::move(told).error());
    return complaints;
}

}  // namespace godwit::migration
