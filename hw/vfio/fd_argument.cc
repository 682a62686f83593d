// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/fd_argument.h"

#include "system/vm.h"

#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>

namespace godwit::hw::vfio {

Result<UniqueFd> fd_argument(system::Vm& vm, const std::string& text)
{
    if (system::fdset_of_path(text)) {
        system::OpenedFile opened = GW_TRY(vm.fds().open(text, O_RDWR));
        return std::move(opened.fd);
    }
    int number = -1;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, number);
    if (parsed.ec == std::errc() && parsed.ptr == end && number >= 0)
        if (auto copy = UniqueFd::dup_of(number))
            return copy;
    return Error(Errc::InvalidArgument, fmt::format("fd: '{}' is no open descriptor", text));
}

}  // namespace godwit::hw::vfio
