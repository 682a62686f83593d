// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A keyed shuffle of 0..n-1 that can be computed, and undone, one element at a time.
#pragma once

#include <cstdint>

namespace godwit::accel::synth {

/// A hash of 64 bits to 64 bits in which every input bit matters.
constexpr std::uint64_t mix64(std::uint64_t x) noexcept
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

/// The numbers 0..n-1 in an order that looks random.
///
/// Shape    a number is a pair (high, low) with high < rows and low < columns, and rows * columns
///          just above n. Each step adds a hash of one half to the other, which the inverse takes
///          off again; a result of n or more is permuted once more until it is below n.
/// Units    n in 1..2^40.
/// Threads  a value.
/// Source   Black and Rogaway, "Ciphers with Arbitrary Finite Domains" (generalized Feistel).
class Permutation {
public:
    explicit Permutation(std::uint64_t n) noexcept;

    std::uint64_t size() const noexcept { return n_; }
    /// Where `x` goes under `key`.
    std::uint64_t forward(std::uint64_t key, std::uint64_t x) const noexcept;
    /// Where `y` came from: inverse(key, forward(key, x)) == x.
    std::uint64_t inverse(std::uint64_t key, std::uint64_t y) const noexcept;

private:
    std::uint64_t n_;
    std::uint64_t rows_;
    std::uint64_t columns_;
};

}  // namespace godwit::accel::synth
