// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Helpers of this room's tests.
#pragma once

#include "migration/stream/description.h"
#include "migration/stream/reader.h"
#include "migration/stream/vmstate.h"
#include "migration/stream/writer.h"

#include "util/hex.h"

#include <gtest/gtest.h>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::migration::stream {

using Bytes = std::vector<std::byte>;

/// "0a 0B": spaces are ignored.
inline Bytes from_hex(std::string text)
{
    std::erase_if(text, [](char c) { return c == ' ' || c == '\n'; });
    return godwit::from_hex(text).value();
}

inline std::string hex(std::span<const std::byte> bytes)
{
    return godwit::to_hex(bytes);
}

/// The body of `state`.
inline Bytes saved(const VMState& how, void* state)
{
    StreamWriter out;
    const auto result = save_state(out, how, state);
    EXPECT_TRUE(result) << result.error().message();
    return out.take();
}

/// The description of `state`'s section.
inline std::string described(const VMState& how, void* state)
{
    StreamWriter out;
    DescriptionWriter text;
    text.begin_object();
    const auto result = save_state(out, how, state, &text);
    EXPECT_TRUE(result) << result.error().message();
    text.end_object();
    return text.take();
}

/// Loads `bytes`; all of them must be taken. The error's message, or "".
inline std::string load_error(const VMState& how, void* state, const Bytes& bytes, Version version)
{
    StreamReader in{std::span<const std::byte>(bytes)};
    const auto result = load_state(in, how, state, version);
    if (!result)
        return result.error().message();
    EXPECT_EQ(in.position(), bytes.size()) << "bytes left over";
    return {};
}

}  // namespace godwit::migration::stream
