// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The value of a Result in a test.
#pragma once

#include "util/result.h"

#include <stdexcept>
#include <utility>

namespace godwit::test {

/// The value; an exception, which fails the test with its text, if there is none.
template <class T>
T must(Result<T> result)
{
    if (!result)
        throw std::runtime_error(result.error().message());
    if constexpr (!std::is_void_v<T>)
        return std::move(*result);
}

}  // namespace godwit::test
