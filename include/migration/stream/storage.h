// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a member is made of: element type, number of elements, type name on the wire. Small traits
// for field.h; nobody else needs them.
#pragma once

#include "util/unique_fd.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <vector>

namespace godwit::migration::stream {

/// A timer in a device's state: when it fires, in ns on its own clock. On the wire a 64-bit value,
/// all ones when not armed.
struct TimerState {
    std::int64_t expiry_ns = -1;

    bool armed() const noexcept { return expiry_ns != -1; }
    bool operator==(const TimerState&) const = default;
};

/// An open file in a device's state. Copies share it.
struct FdState {
    std::shared_ptr<const UniqueFd> file;

    int fd() const noexcept { return file ? file->get() : -1; }
};

/// The owner of a member pointer.
template <class M>
struct MemberOf;
template <class M, class Owner>
struct MemberOf<M Owner::*> {
    using owner = Owner;
    using type = M;
};

template <auto First, auto... Rest>
struct PathOf {
    using owner = typename MemberOf<decltype(First)>::owner;
    using type = typename PathOf<Rest...>::type;
};
template <auto Only>
struct PathOf<Only> : MemberOf<decltype(Only)> {};

/// object.*First.*Rest...
template <auto First, auto... Rest, class Object>
constexpr auto& follow(Object& object)
{
    if constexpr (sizeof...(Rest) == 0)
        return object.*First;
    else
        return follow<Rest...>(object.*First);
}

/// Arrays, nested ones too, are so many elements one behind the other.
template <class M>
struct Storage {
    using element = M;
    static constexpr std::uint32_t count = 1;
    static constexpr bool dynamic = false;
};
template <class E, std::size_t N>
struct Storage<std::array<E, N>> {
    using element = typename Storage<E>::element;
    static constexpr std::uint32_t count = N * Storage<E>::count;
    static constexpr bool dynamic = false;
};
template <class E, std::size_t N>
struct Storage<E[N]> : Storage<std::array<E, N>> {};
template <class E>
struct Storage<std::vector<E>> {
    using element = E;
    static constexpr std::uint32_t count = 0;
    static constexpr bool dynamic = true;
};

template <class E, bool IsEnum = std::is_enum_v<E>>
struct Plain {
    using type = E;
};
template <class E>
struct Plain<E, true> {
    using type = std::underlying_type_t<E>;
};
template <>
struct Plain<TimerState, false> {
    using type = std::int64_t;
};

constexpr std::string_view integer_type_name(bool is_signed, unsigned width)
{
    constexpr std::string_view names[2][4] = {{"uint8", "uint16", "uint32", "uint64"},
                                              {"int8", "int16", "int32", "int64"}};
    return names[is_signed][width == 1 ? 0 : width == 2 ? 1 : width == 4 ? 2 : 3];
}

/// The 64-bit "equal" type is an unsigned one with a historical name.
constexpr std::string_view check_type_name(bool equal, bool is_signed, unsigned width)
{
    if (!equal)
        return "int32 le";
    if (width == 8)
        return "int64 equal";
    if (width == 1)
        return "uint8 equal";
    if (width == 2)
        return "uint16 equal";
    return is_signed ? "int32 equal" : "uint32 equal";
}

template <class E>
constexpr std::string_view scalar_type_name()
{
    if constexpr (std::is_same_v<E, TimerState>)
        return "timer";
    else if constexpr (std::is_same_v<E, bool>)
        return "bool";
    else if constexpr (std::is_same_v<E, double>)
        return "CPU_Double_U";
    else if constexpr (std::is_same_v<E, std::byte>)
        return "uint8";
    else
        return integer_type_name(std::is_signed_v<typename Plain<E>::type>,
                                 sizeof(typename Plain<E>::type));
}

}  // namespace godwit::migration::stream
