// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/synth/permutation.h"

#include <cassert>
#include <cmath>

namespace godwit::accel::synth {
namespace {

constexpr unsigned kSteps = 4;

/// A hash of (key, step, x) below `below`, which is less than 2^32.
std::uint64_t draw(std::uint64_t key, unsigned step, std::uint64_t x, std::uint64_t below) noexcept
{
    return ((mix64(key + step * 0xd1342543de82ef95 + x) >> 32) * below) >> 32;
}

}  // namespace

Permutation::Permutation(std::uint64_t n) noexcept : n_(n)
{
    assert(n >= 1 && n <= std::uint64_t{1} << 40);
    rows_ = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(n)));
    if (rows_ == 0)
        rows_ = 1;
    columns_ = (n + rows_ - 1) / rows_;
}

std::uint64_t Permutation::forward(std::uint64_t key, std::uint64_t x) const noexcept
{
    do {
        std::uint64_t high = x / columns_;
        std::uint64_t low = x % columns_;
        for (unsigned step = 0; step < kSteps; step += 2) {
            high += draw(key, step, low, rows_);
            high -= high >= rows_ ? rows_ : 0;
            low += draw(key, step + 1, high, columns_);
            low -= low >= columns_ ? columns_ : 0;
        }
        x = high * columns_ + low;
    } while (x >= n_);
    return x;
}

std::uint64_t Permutation::inverse(std::uint64_t key, std::uint64_t y) const noexcept
{
    do {
        std::uint64_t high = y / columns_;
        std::uint64_t low = y % columns_;
        for (unsigned step = kSteps; step > 0; step -= 2) {
            low += columns_ - draw(key, step - 1, high, columns_);
            low -= low >= columns_ ? columns_ : 0;
            high += rows_ - draw(key, step - 2, low, rows_);
            high -= high >= rows_ ? rows_ : 0;
        }
        y = high * columns_ + low;
    } while (y >= n_);
    return y;
}

}  // namespace godwit::accel::synth
