// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Makers of typed properties. The member pointer fixes the owner's class and the type:
//
//     property<&Uart::iobase_>("iobase", 0x3f8, "first port")
//
// A default is set when TypeRegistry::create() makes the object, so it is said once.
#pragma once

#include "system/object.h"

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace godwit::system {

/// Nothing, or what a property is before anybody sets it.
using PropertyDefault =
    std::variant<std::monostate, bool, std::int64_t, std::uint64_t, std::string>;

namespace detail {

enum class PropertyKind : std::uint8_t { Bool, U8, U16, U32, U64, I8, I16, I32, I64, Size, Str };

template <class T>
consteval PropertyKind kind_of()
{
    if constexpr (std::same_as<T, bool>)
        return PropertyKind::Bool;
    else if constexpr (std::same_as<T, std::string>)
        return PropertyKind::Str;
    else {
        static_assert(std::integral<T>, "use enum_property or link_property");
        constexpr int log2 = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3;
        constexpr auto first = std::is_signed_v<T> ? PropertyKind::I8 : PropertyKind::U8;
        return static_cast<PropertyKind>(static_cast<int>(first) + log2);
    }
}

template <class M>
struct MemberOf;
template <class C, class T>
struct MemberOf<T C::*> {
    using Class = C;
    using Type = T;
};

template <class T>
PropertyDefault default_of(const T& value)
{
    if constexpr (std::same_as<T, bool>)
        return value;
    else if constexpr (std::unsigned_integral<T>)
        return std::uint64_t{value};
    else if constexpr (std::integral<T>)
        return std::int64_t{value};
    else
        return std::string(value);
}

/// `member` finds the value in the object; its type is what `kind` says.
Property make_property(std::string name, PropertyKind kind, void* (*member)(Object&),
                       PropertyDefault preset, std::string description);
/// `names` outlives the property; get and set deal in indices into it.
Property make_enum_property(std::string name, std::string type,
                            std::span<const std::string_view> names,
                            std::size_t (*get)(const Object&), void (*set)(Object&, std::size_t),
                            PropertyDefault preset, std::string description);
/// `set` answers false when the object is of another type.
Property make_link_property(std::string name, std::string type, Object* (*get)(const Object&),
                            bool (*set)(Object&, Object*), std::string description);

template <auto Member>
void* member_of(Object& object)
{
    return &(static_cast<typename MemberOf<decltype(Member)>::Class&>(object).*Member);
}

}  // namespace detail

/// bool, the integers, std::string. Without a default the member keeps its initialiser.
template <auto Member>
Property property(std::string name)
{
    using T = typename detail::MemberOf<decltype(Member)>::Type;
    return detail::make_property(std::move(name), detail::kind_of<T>(), detail::member_of<Member>,
                                 {}, {});
}
template <auto Member, class D>
Property property(std::string name, const D& preset, std::string description = {})
{
    using T = typename detail::MemberOf<decltype(Member)>::Type;
    return detail::make_property(std::move(name), detail::kind_of<T>(), detail::member_of<Member>,
                                 detail::default_of(static_cast<T>(preset)),
                                 std::move(description));
}

/// A std::uint64_t of bytes: text may carry K, M, G, T.
template <auto Member>
Property size_property(std::string name, PropertyDefault preset = {}, std::string description = {})
{
    static_assert(std::same_as<typename detail::MemberOf<decltype(Member)>::Type, std::uint64_t>);
    return detail::make_property(std::move(name), detail::PropertyKind::Size,
                                 detail::member_of<Member>, std::move(preset),
                                 std::move(description));
}

/// An enum whose values count from 0; `names` are its words in that order and live forever.
/// `type` is the enum's name in qom-list ("OnOffAuto"); `preset` a word or nothing.
template <auto Member>
Property enum_property(std::string name, std::string type, std::span<const std::string_view> names,
                       PropertyDefault preset = {}, std::string description = {})
{
    using M = detail::MemberOf<decltype(Member)>;
    return detail::make_enum_property(
        std::move(name), std::move(type), names,
        [](const Object& object) {
            return static_cast<std::size_t>(static_cast<const typename M::Class&>(object).*Member);
        },
        [](Object& object, std::size_t index) {
            static_cast<typename M::Class&>(object).*Member = static_cast<typename M::Type>(index);
        },
        std::move(preset), std::move(description));
}

/// A pointer to another object, set by its id or path; `target` is its type's name.
template <auto Member>
Property link_property(std::string name, std::string_view target, std::string description = {})
{
    using M = detail::MemberOf<decltype(Member)>;
    using Target = std::remove_pointer_t<typename M::Type>;
    return detail::make_link_property(
        std::move(name), "link<" + std::string(target) + ">",
        [](const Object& object) -> Object* {
            return static_cast<const typename M::Class&>(object).*Member;
        },
        [](Object& object, Object* to) {
            auto* typed = dynamic_cast<Target*>(to);
            if (to && !typed)
                return false;
            static_cast<typename M::Class&>(object).*Member = typed;
            return true;
        },
        std::move(description));
}

/// A property that may also be set while the device is realized.
inline Property settable_any_time(Property property)
{
    property.settable_when_realized = true;
    return property;
}

/// A property that qom-get shows and nobody sets.
Property readonly_property(std::string name, std::string type,
                           std::function<Result<Json>(const Object&)> get,
                           std::string description = {});

/// "on", "off", "auto": QEMU's OnOffAuto.
enum class OnOffAuto { Auto, On, Off };
inline constexpr std::string_view kOnOffAutoNames[] = {"auto", "on", "off"};

}  // namespace godwit::system
