// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The self-description behind a stream: JSON text, written while the sections are written, byte for
// byte as QEMU formats it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace godwit::migration::stream {

/// Appends JSON in the order of the calls: ": " after a key, ", " between values, integers decimal,
/// strings ASCII with \uXXXX. Keys may repeat, as the format demands for lists.
class DescriptionWriter {
public:
    void begin_object() { open('{'); }
    void begin_object(std::string_view key) { open(key, '{'); }
    void end_object() { close('}'); }
    void begin_array(std::string_view key) { open(key, '['); }
    void end_array() { close(']'); }
    void text(std::string_view key, std::string_view value);
    void number(std::string_view key, std::uint64_t value);

    /// Takes memory for `bytes` more before they come, and makes it resident.
    void reserve(std::size_t bytes)
    {
        const std::size_t had = out_.size();
        out_.resize(had + bytes);
        out_.resize(had);
    }
    const std::string& str() const noexcept { return out_; }
    std::string take() { return std::exchange(out_, {}); }

private:
    void separate();
    void put_key(std::string_view key);
    void put_string(std::string_view value);
    void open(char bracket);
    void open(std::string_view key, char bracket);
    void close(char bracket);

    std::string out_;
    bool first_ = true;  // nothing yet inside the innermost bracket
};

}  // namespace godwit::migration::stream
