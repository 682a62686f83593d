// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The one way to fail: Result<T>, and GW_TRY to hand a failure to our caller.
#pragma once

#include "util/error.h"

#include <expected>
#include <utility>

namespace godwit {

template <class T>
using Result = std::expected<T, Error>;

/// The value of a Result<void> that succeeded.
inline Result<void> ok() noexcept
{
    return {};
}

/// Adds `where` to the error of `result`, if it has one.
template <class T>
[[nodiscard]] Result<T> with_context(Result<T> result, std::string_view where)
{
    if (!result)
        result = std::unexpected<Error>(std::move(result).error().context(where));
    return result;
}

}  // namespace godwit

/// The value of a Result; on error, returns the error from the enclosing function.
#define GW_TRY(...)                                                                     \
    ({                                                                                  \
        auto gw_result_ = (__VA_ARGS__);                                                \
        if (!gw_result_) [[unlikely]]                                                   \
            return ::std::unexpected<::godwit::Error>(::std::move(gw_result_).error()); \
        ::std::move(gw_result_).value();                                                \
    })
