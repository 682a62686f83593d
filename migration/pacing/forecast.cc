// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/forecast.h"

namespace godwit::migration {

std::string_view to_string(Verdict verdict) noexcept
{
    switch (verdict) {
    case Verdict::Converges:
        return "converges";
    case Verdict::AboveDowntime:
        return "above-downtime";
    case Verdict::Never:
        return "never";
    }
    return "";
}

}  // namespace godwit::migration
