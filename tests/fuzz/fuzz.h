// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the fuzz targets share.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace godwit::fuzz {

/// Ends the run with the input saved; for what must hold whatever comes in.
inline void require(bool holds, const char* what)
{
    if (holds)
        return;
    std::fprintf(stderr, "does not hold: %s\n", what);
    std::abort();
}

/// An error is one line that says something.
inline void require_one_line(const Error& error)
{
    require(!error.message().empty(), "an error has a message");
    require(error.message().find('\n') == std::string::npos, "an error is one line");
}

inline std::string_view as_text(const std::uint8_t* data, std::size_t size)
{
    return {reinterpret_cast<const char*>(data), size};
}

}  // namespace godwit::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
