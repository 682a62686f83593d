// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/zero_page.h"

#include <cstring>

namespace godwit::migration {

namespace {

std::uint64_t word_at(const std::byte* data) noexcept
{
    std::uint64_t word;
    std::memcpy(&word, data, sizeof word);
    return word;
}

/// A cache line as four 16-byte lanes; the compiler keeps them in vector registers.
using Lanes = std::uint64_t __attribute__((vector_size(16)));

Lanes lanes_at(const std::byte* data) noexcept
{
    Lanes lanes;
    std::memcpy(&lanes, data, sizeof lanes);
    return lanes;
}

}  // namespace

// A vCPU may write the page while it is read; see the header for why that is harmless.
#if defined(__clang__)
__attribute__((no_sanitize("thread")))
#elif defined(__SANITIZE_THREAD__)
__attribute__((no_sanitize_thread))
#endif
bool is_zero(const std::byte* data, std::size_t bytes) noexcept
{
    if ((word_at(data) | word_at(data + bytes / 2) | word_at(data + bytes - 8)) != 0)
        return false;
    for (const std::byte* end = data + bytes; data != end; data += 64) {
        const Lanes any =
            lanes_at(data) | lanes_at(data + 16) | lanes_at(data + 32) | lanes_at(data + 48);
        if ((any[0] | any[1]) != 0)
            return false;
    }
    return true;
}

}  // namespace godwit::migration
