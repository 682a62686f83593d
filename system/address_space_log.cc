// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/address_space_private.h"

namespace godwit::system {

Result<void> AddressSpace::log_global_start()
{
    if (impl_->log_users != 0) {
        ++impl_->log_users;
        return {};
    }
    const auto& listeners = impl_->listeners;
    for (std::size_t i = 0; i < listeners.size(); ++i) {
        auto started = listeners[i]->log_global_start();
        if (started)
            continue;
        for (std::size_t undo = i; undo-- > 0;)
            listeners[undo]->log_global_stop();
        return with_context(std::move(started), listeners[i]->name());
    }
    impl_->log_users = 1;
    return {};
}

void AddressSpace::log_global_stop() noexcept
{
    if (impl_->log_users == 0 || --impl_->log_users != 0)
        return;
    for (auto listener = impl_->listeners.rbegin(); listener != impl_->listeners.rend(); ++listener)
        (*listener)->log_global_stop();
}

bool AddressSpace::log_global() const noexcept
{
    return impl_->log_users != 0;
}

}  // namespace godwit::system
