// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Built with optimization even in a debug build (meson.build): a guest does not slow down because
// its monitor is being debugged.
#include "accel/synth/page_content.h"

#include <atomic>
#include <cstring>
#include <emmintrin.h>

#if defined(__clang__)
#define GW_GUEST_MEMORY __attribute__((no_sanitize("thread", "address", "undefined")))
#else
#define GW_GUEST_MEMORY __attribute__((no_sanitize("thread")))
#endif

namespace godwit::accel::synth {
namespace {

/// Four pairs of neighbouring words, the unit in which pages are written and compared.
struct Words {
    __m128i a, b, c, d;
};

GW_GUEST_MEMORY inline __m128i pair_of(std::uint64_t low, std::uint64_t high) noexcept
{
    return _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
}

GW_GUEST_MEMORY inline Words first_words(std::uint64_t base, std::uint64_t step) noexcept
{
    return {pair_of(base, base + step), pair_of(base + 2 * step, base + 3 * step),
            pair_of(base + 4 * step, base + 5 * step), pair_of(base + 6 * step, base + 7 * step)};
}

GW_GUEST_MEMORY inline void advance(Words& w, __m128i by) noexcept
{
    w.a = _mm_add_epi64(w.a, by);
    w.b = _mm_add_epi64(w.b, by);
    w.c = _mm_add_epi64(w.c, by);
    w.d = _mm_add_epi64(w.d, by);
}

GW_GUEST_MEMORY std::optional<std::size_t>
first_difference(const std::byte* page, std::uint64_t base, std::uint64_t step) noexcept
{
    Words want = first_words(base, step);
    const __m128i by = pair_of(8 * step, 8 * step);
    for (std::size_t line = 0; line < kPageBytes; line += 64) {
        const auto* from = reinterpret_cast<const __m128i*>(page + line);
        const __m128i wrong =
            _mm_or_si128(_mm_or_si128(_mm_xor_si128(_mm_load_si128(from), want.a),
                                      _mm_xor_si128(_mm_load_si128(from + 1), want.b)),
                         _mm_or_si128(_mm_xor_si128(_mm_load_si128(from + 2), want.c),
                                      _mm_xor_si128(_mm_load_si128(from + 3), want.d)));
        if (_mm_movemask_epi8(_mm_cmpeq_epi8(wrong, _mm_setzero_si128())) != 0xffff) [[unlikely]] {
            for (std::size_t word = line / 8; word < line / 8 + 8; ++word) {
                std::uint64_t found;
                __builtin_memcpy(&found, page + word * 8, 8);
                if (found != base + word * step)
                    return word;
            }
        }
        advance(want, by);
    }
    return std::nullopt;
}

}  // namespace

GW_GUEST_MEMORY void fill_page(std::byte* page, std::uint64_t base) noexcept
{
    Words w = first_words(base, kWordStep);
    const __m128i by = pair_of(8 * kWordStep, 8 * kWordStep);
    // Streaming stores do not fetch the old line first and leave the caches to others.
    for (std::size_t line = 0; line < kPageBytes; line += 64) {
        auto* to = reinterpret_cast<__m128i*>(page + line);
        _mm_stream_si128(to, w.a);
        _mm_stream_si128(to + 1, w.b);
        _mm_stream_si128(to + 2, w.c);
        _mm_stream_si128(to + 3, w.d);
        advance(w, by);
    }
    _mm_mfence();  // before the mark, and before the mark asks whether anybody wants it
}

std::optional<std::size_t> first_wrong_word(const std::byte* page, std::uint64_t base) noexcept
{
    return first_difference(page, base, kWordStep);
}

std::optional<std::size_t> first_nonzero_word(const std::byte* page) noexcept
{
    return first_difference(page, 0, 0);
}

}  // namespace godwit::accel::synth
