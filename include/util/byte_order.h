// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Integers in a given byte order, at any alignment.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace godwit {

/// What has a byte order: integers, enums, bool and floating point of 1, 2, 4 or 8 bytes.
template <class T>
concept Scalar = (std::is_arithmetic_v<T> || std::is_enum_v<T>) &&
                 (sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);

namespace detail {

template <std::size_t Size>
struct UintOf;
template <>
struct UintOf<1> {
    using Type = std::uint8_t;
};
template <>
struct UintOf<2> {
    using Type = std::uint16_t;
};
template <>
struct UintOf<4> {
    using Type = std::uint32_t;
};
template <>
struct UintOf<8> {
    using Type = std::uint64_t;
};
template <Scalar T>
using RawOf = typename UintOf<sizeof(T)>::Type;

template <Scalar T>
T load(const void* from, std::endian order) noexcept
{
    RawOf<T> raw;
    std::memcpy(&raw, from, sizeof raw);
    if (order != std::endian::native)
        raw = std::byteswap(raw);
    if constexpr (std::is_same_v<T, bool>)
        return raw != 0;  // any other pattern than 0 and 1 would not be a bool
    else
        return std::bit_cast<T>(raw);
}

template <Scalar T>
void store(void* to, T value, std::endian order) noexcept
{
    auto raw = std::bit_cast<RawOf<T>>(value);
    if (order != std::endian::native)
        raw = std::byteswap(raw);
    std::memcpy(to, &raw, sizeof raw);
}

}  // namespace detail

/// The big-endian T at `from`, of which sizeof(T) bytes must be readable.
template <Scalar T>
T load_be(const void* from) noexcept
{
    return detail::load<T>(from, std::endian::big);
}

template <Scalar T>
T load_le(const void* from) noexcept
{
    return detail::load<T>(from, std::endian::little);
}

/// Writes sizeof(T) bytes to `to`. Name T where the width matters: store_be<std::uint16_t>(p, x).
template <Scalar T>
void store_be(void* to, std::type_identity_t<T> value) noexcept
{
    detail::store<T>(to, value, std::endian::big);
}

template <Scalar T>
void store_le(void* to, std::type_identity_t<T> value) noexcept
{
    detail::store<T>(to, value, std::endian::little);
}

/// `from`, item by item, into 'to' as big-endian bytes; `to` holds from.size() * sizeof(T) bytes.
template <Scalar T>
void encode_be(std::span<const T> from, std::span<std::byte> to) noexcept
{
    for (std::size_t i = 0; i < from.size() && (i + 1) * sizeof(T) <= to.size(); ++i)
        store_be<T>(to.data() + i * sizeof(T), from[i]);
}

/// The reverse of encode_be().
template <Scalar T>
void decode_be(std::span<const std::byte> from, std::span<T> to) noexcept
{
    for (std::size_t i = 0; i < to.size() && (i + 1) * sizeof(T) <= from.size(); ++i)
        to[i] = load_be<T>(from.data() + i * sizeof(T));
}

}  // namespace godwit
