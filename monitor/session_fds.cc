// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/session_fds.h"

#include <fmt/format.h>
#include <utility>

namespace godwit::monitor {

void SessionFds::receive(std::vector<UniqueFd> fds)
{
    const std::lock_guard guard(mutex_);
    for (UniqueFd& fd : fds)
        received_.push_back(std::move(fd));
    while (received_.size() > kMaxReceived)
        received_.pop_front();
}

void SessionFds::drop_received()
{
    const std::lock_guard guard(mutex_);
    received_.clear();
}

Result<UniqueFd> SessionFds::take_received()
{
    const std::lock_guard guard(mutex_);
    if (received_.empty())
        return Error(Errc::NotFound, "No file descriptor supplied via SCM_RIGHTS");
    UniqueFd fd = std::move(received_.front());
    received_.pop_front();
    return fd;
}

Result<void> SessionFds::name_received(const std::string& name)
{
    UniqueFd fd = GW_TRY(take_received());
    if (name.empty() || (name[0] >= '0' && name[0] <= '9'))
        return Error(Errc::InvalidArgument,
                     "Parameter 'fdname' expects a name not starting with a digit");
    const std::lock_guard guard(mutex_);
    if (named_.size() >= kMaxNamed && !named_.contains(name))
        return Error(Errc::Busy, fmt::format("More than {} named file descriptors", kMaxNamed));
    named_.insert_or_assign(name, std::move(fd));
    return {};
}

Result<void> SessionFds::close_named(std::string_view name)
{
    const std::lock_guard guard(mutex_);
    const auto found = named_.find(name);
    if (found == named_.end())
        return Error(Errc::NotFound, fmt::format("File descriptor named '{}' not found", name));
    named_.erase(found);
    return {};
}

Result<UniqueFd> SessionFds::take_named(std::string_view name)
{
    const std::lock_guard guard(mutex_);
    const auto found = named_.find(name);
    if (found == named_.end())
        return Error(Errc::NotFound,
                     fmt::format("File descriptor named '{}' has not been found", name));
    UniqueFd fd = std::move(found->second);
    named_.erase(found);
    return fd;
}

}  // namespace godwit::monitor
