// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The fixed parts of vfio-user messages as bytes.
#pragma once

#include <cstddef>
#include <span>
#include <sys/uio.h>
#include <type_traits>

namespace godwit::hw::vfio::user {

/// `value` as the place where an answer is put.
template <class T>
    requires std::is_trivially_copyable_v<T>
std::span<std::byte> bytes_of(T& value)
{
    return std::as_writable_bytes(std::span(&value, 1));
}

/// `value` as a piece of a message; it must live until the message is sent, and is not written.
template <class T>
    requires std::is_trivially_copyable_v<T>
iovec piece_of(const T& value)
{
    return {const_cast<T*>(&value), sizeof value};
}

}  // namespace godwit::hw::vfio::user
