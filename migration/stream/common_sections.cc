// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/stream/common_sections.h"

#include <algorithm>
#include <cassert>

namespace godwit::migration::stream {

static_assert(kTimerSection.well_formed());
static_assert(kGlobalStateSection.well_formed());

void GlobalStateSection::set(std::string_view name)
{
    assert(name.size() < runstate.size());
    runstate.fill('\0');
    std::ranges::copy(name, runstate.begin());
    size = static_cast<std::uint32_t>(name.size() + 1);
}

std::string_view GlobalStateSection::name() const
{
    const auto end = std::ranges::find(runstate, '\0');
    return end == runstate.end()
               ? std::string_view()
               : std::string_view(runstate.data(),
                                  static_cast<std::size_t>(end - runstate.begin()));
}

}  // namespace godwit::migration::stream
