// SPDX-License-Identifier: LGPL-2.1-or-later
#include "qapi/command_context.h"

#include <fmt/format.h>

namespace godwit::qapi {

Result<UniqueFd> CommandContext::take_received_fd()
{
    return Error(Errc::NotFound, "No file descriptor supplied via SCM_RIGHTS");
}

Result<UniqueFd> CommandContext::take_named_fd(std::string_view name)
{
    return Error(Errc::NotFound,
                 fmt::format("File descriptor named '{}' has not been found", name));
}

}  // namespace godwit::qapi
