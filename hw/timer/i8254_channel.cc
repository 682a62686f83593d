// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a counter shows at a time, by mode. Everything follows from when it was loaded.
#include "hw/core/muldiv.h"
#include "hw/timer/i8254.h"

#include <algorithm>

namespace godwit::hw {

std::int64_t PitChannel::ticks(std::int64_t now) const
{
    return std::max<std::int64_t>(muldiv(now - count_load_time, kPitHz, kNsPerSec), 0);
}

std::uint16_t PitChannel::value(std::int64_t now) const
{
    const std::int64_t d = ticks(now);
    switch (mode) {
    case 0:
    case 1:
    case 4:
    case 5:
        return static_cast<std::uint16_t>(count - d);
    case 3:  // counts by two
        return static_cast<std::uint16_t>(count - (2 * d) % count);
    default:
        return static_cast<std::uint16_t>(count - d % count);
    }
}

bool PitChannel::out(std::int64_t now) const
{
    const std::int64_t d = ticks(now);
    switch (mode) {
    case 0:
        return d >= count;
    case 1:
        return d < count;
    case 2:
        return d != 0 && d % count == 0;
    case 3:
        return d % count < (count + 1) / 2;
    default:
        return d == count;
    }
}

std::int64_t PitChannel::next_transition(std::int64_t now) const
{
    const std::int64_t d = ticks(now);
    const std::int64_t base = d / count * count;
    std::int64_t next = 0;
    switch (mode) {
    case 2:
        next = d == base && d != 0 ? d + 1 : base + count;
        break;
    case 3: {
        const std::int64_t half = (count + 1) / 2;
        next = d - base < half ? base + half : base + count;
        break;
    }
    case 0:
    case 1:
        if (d >= count)
            return -1;
        next = count;
        break;
    default:
        if (d > count)
            return -1;
        next = d < count ? count : count + 1;
        break;
    }
    const std::int64_t at = count_load_time + muldiv(next, kNsPerSec, kPitHz);
    return std::max(at, now + 1);  // rounding must not make time stand still
}

}  // namespace godwit::hw
