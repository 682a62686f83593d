// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Enumerations of the schema and their names on the wire.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace godwit::qapi {

/// Specialised by generated headers: `names`, an array of the wire names, indexed by value.
template <class E>
struct EnumInfo;

template <class E>
concept SchemaEnum = requires { EnumInfo<E>::names; };

/// The wire names in the schema's order; the index is the value.
template <SchemaEnum E>
constexpr std::span<const std::string_view> enum_names() noexcept
{
    return EnumInfo<E>::names;
}

/// How many values there are; they count from 0.
template <SchemaEnum E>
inline constexpr std::size_t kEnumCount = EnumInfo<E>::names.size();

/// "finish-migrate" for RunState::FinishMigrate.
template <SchemaEnum E>
constexpr std::string_view to_string(E value) noexcept
{
    return EnumInfo<E>::names[static_cast<std::size_t>(value)];
}

/// The value of a wire name; none if there is no such value.
template <SchemaEnum E>
constexpr std::optional<E> from_string(std::string_view name) noexcept
{
    const auto& names = EnumInfo<E>::names;
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
        return std::nullopt;
    return static_cast<E>(found - names.begin());
}

}  // namespace godwit::qapi
