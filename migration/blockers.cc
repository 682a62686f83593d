// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/blockers.h"

namespace godwit::migration {

Result<Registration> Blockers::add(std::string reason, bool running)
{
    if (only_migratable_)
        return Error(Errc::PermissionDenied,
                     "disallowing migration blocker (--only-migratable) for: " + reason);
    if (running)
        return Error(Errc::BadState,
                     "disallowing migration blocker (migration/snapshot in progress) for: " +
                         reason);
    const auto at = reasons_->insert(reasons_->begin(), std::move(reason));
    return Registration([list = reasons_, at]() noexcept { list->erase(at); });
}

std::vector<std::string> Blockers::reasons() const
{
    return {reasons_->begin(), reasons_->end()};
}

Result<void> Blockers::check() const
{
    if (reasons_->empty())
        return ok();
    return Error(Errc::BadState, reasons_->front());
}

}  // namespace godwit::migration
