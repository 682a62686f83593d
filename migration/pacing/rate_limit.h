// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The bandwidth limit: so many bytes in each window of 100 ms.
#pragma once

#include <cstdint>

namespace godwit::migration {

inline constexpr std::int64_t kWindowNs = 100'000'000;

/// Units    bytes, ns. `bandwidth` is bytes a second, 0 for no limit, and may change from call to
///          call.
/// Threads  the migration thread.
/// Source   QEMU 10.0: a window may send bandwidth / 10 bytes and stops once they are exceeded.
class RateLimit {
public:
    /// A new window begins at `now`, with `position` bytes sent so far.
    void begin(std::int64_t now, std::uint64_t position) noexcept
    {
        start_ = now;
        from_ = position;
    }
    bool exceeded(std::uint64_t position, std::uint64_t bandwidth) const noexcept
    {
        return bandwidth != 0 && position - from_ > bandwidth / 10;
    }
    /// Bytes until it is.
    std::uint64_t room(std::uint64_t position, std::uint64_t bandwidth) const noexcept
    {
        if (bandwidth == 0)
            return ~std::uint64_t{0};
        const std::uint64_t used = position - from_;
        return used > bandwidth / 10 ? 0 : bandwidth / 10 - used + 1;
    }
    std::int64_t end() const noexcept { return start_ + kWindowNs; }
    bool over(std::int64_t now) const noexcept { return now >= end(); }

private:
    std::int64_t start_ = 0;
    std::uint64_t from_ = 0;
};

}  // namespace godwit::migration
