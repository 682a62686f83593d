// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Fixed parts of messages, taken out of a request and put into a reply.
#pragma once

#include "tests/devices/vfio-user-server/connection.h"
#include "util/error.h"
#include "util/result.h"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace godwit::vfio_user_server {

/// A request that makes no sense: its reply says EINVAL.
inline Error invalid(std::string_view what)
{
    return Error::from_errno(what, EINVAL);
}

/// The fixed part of a request at byte `at` of its body.
template <class T>
Result<T> head_of(const Message& message, std::size_t at = 0)
{
    static_assert(std::is_trivially_copyable_v<T>);
    if (message.body.size() < at || message.body.size() - at < sizeof(T))
        return invalid("the request is too short");
    T value;
    std::memcpy(&value, message.body.data() + at, sizeof value);
    return value;
}

template <class T>
void append(std::vector<std::byte>& bytes, const T& value)
{
    static_assert(std::is_trivially_copyable_v<T>);
    const auto from = std::as_bytes(std::span(&value, 1));
    bytes.insert(bytes.end(), from.begin(), from.end());
}

}  // namespace godwit::vfio_user_server
