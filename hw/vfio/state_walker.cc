// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/state_walker.h"

#include <fmt/format.h>

namespace godwit::hw::vfio {

Result<std::unique_ptr<StateWalker>> StateWalker::create(DeviceBackend& device)
{
    auto dialect = GW_TRY(make_dialect(device));
    const MigrationState now = GW_TRY(dialect->state());
    return std::make_unique<StateWalker>(std::move(dialect), now);
}

Result<void> StateWalker::walk(MigrationState to)
{
    while (state_ != to) {
        const MigrationState from = state_;
        const auto hop = dialect_->next(from, to);
        if (!hop)
            return Error(Errc::BadState, fmt::format("no way leads from device state {} to {}",
                                                     to_string(from), to_string(to)));
        auto stepped = dialect_->enter(from, *hop);
        if (!stepped) {
            if (const auto now = dialect_->state())
                state_ = *now;
            const std::string way =
                *hop == to ? std::string{} : fmt::format(" (on the way to {})", to_string(to));
            return std::move(stepped).error().context(
                fmt::format("device state {} -> {}{}", to_string(from), to_string(*hop), way));
        }
        state_ = *hop;
    }
    return ok();
}

Result<void> StateWalker::resync()
{
    state_ = GW_TRY(with_context(dialect_->state(), "asking for the device state"));
    return ok();
}

void StateWalker::was_reset() noexcept
{
    dialect_->close();
    state_ = MigrationState::Running;
}

}  // namespace godwit::hw::vfio
