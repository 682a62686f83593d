// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where in a migration stream what stands, and how to damage it so that most of it stays valid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::test {

/// A place in a stream that means something.
struct StreamMark {
    enum class Kind : std::uint8_t {
        Type,     ///< what kind of element follows
        Number,   ///< an id, a version, a length or a count of the framing
        Name,     ///< text whose length stands before it
        RamWord,  ///< an offset and flags
        Value,    ///< a field of a device
        Element,  ///< a whole section
    };
    Kind kind;
    std::size_t at;
    std::size_t size;
};

/// Reads as much as is well formed and stops at the first byte that is not.
std::vector<StreamMark> map_stream(std::string_view stream);

/// One to four changes of lengths, counts, names, flags and values; sections doubled, dropped,
/// swapped.
class StreamMutator {
public:
    explicit StreamMutator(std::uint32_t seed) : random_(seed) {}
    /// `marks` belong to `stream`.
    std::string damage(std::string stream, const std::vector<StreamMark>& marks);

private:
    void change(std::string& stream, const StreamMark& mark);
    void change_number(std::string& stream, std::size_t at, std::size_t size);
    std::size_t below(std::size_t n) { return n ? random_() % n : 0; }
    std::mt19937 random_;
};

}  // namespace godwit::test
