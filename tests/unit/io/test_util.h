// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the channel tests share.
#pragma once

#include "io/channel.h"
#include "io/memory_channel.h"
#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <gtest/gtest.h>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::io::test {

/// The value, or a failed test and an abort of it.
template <class T>
T must(Result<T> result)
{
    if (!result)
        throw std::runtime_error(result.error().message());
    if constexpr (!std::is_void_v<T>)
        return std::move(*result);
}

inline std::span<const std::byte> bytes_of(std::string_view text)
{
    return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string text_of(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// `size` bytes that differ from place to place.
std::vector<std::byte> pattern(std::size_t size, unsigned seed = 1);

/// Reads exactly `size` bytes.
std::string read_text(Channel& channel, std::size_t size);

/// A directory of its own, removed at the end.
class TempDir {
public:
    TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    ~TempDir();
    std::string path(std::string_view name) const { return path_ + "/" + std::string(name); }

private:
    std::string path_;
};

/// Long enough for a loaded machine; nobody waits for it to pass.
inline Deadline soon()
{
    return deadline_in(std::chrono::seconds(30));
}

}  // namespace godwit::io::test
