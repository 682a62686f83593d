// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Damages a text the same way in every run with the same seed.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace godwit::test {

/// One to four small changes a text: bytes flipped, cut out, doubled, put in, replaced by words
/// that parsers stumble over.
class Mutator {
public:
    explicit Mutator(std::uint32_t seed) : random_(seed) {}

    std::string damage(std::string_view text);
    std::size_t below(std::size_t n) { return n ? random_() % n : 0; }

private:
    void change(std::string& text);
    std::mt19937 random_;
};

}  // namespace godwit::test
