// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The words of a declaration: field, buffer, structure, list, ... Each makes a FieldOf<T> from
// member pointers, so that owner, type and width come from the member itself. Included by
// vmstate.h.
#pragma once

#include "migration/stream/vmstate.h"

#include <bit>
#include <iterator>
#include <optional>

namespace godwit::migration::stream {

/// Reached from outside: the object and a path of member pointers, &Outer::inner, &Inner::member.
template <auto... Path>
constexpr auto member_field(std::string_view name)
{
    using T = typename PathOf<Path...>::owner;
    using M = typename PathOf<Path...>::type;
    using S = Storage<M>;
    FieldOf<T> f;
    f.name = name;
    f.count = S::count;
    f.capacity = S::count;
    f.stride = sizeof(typename S::element);
    f.address = [](void* object) -> void* {
        return std::addressof(follow<Path...>(*static_cast<T*>(object)));
    };
    return f;
}

template <class C>
inline constexpr SequenceOps kSequenceOps{
    .size = [](const void* s) -> std::size_t { return static_cast<const C*>(s)->size(); },
    .resize = [](void* s, std::size_t count) { static_cast<C*>(s)->resize(count); },
    .at = [](void* s, std::size_t index) -> void* {
        return std::addressof(*std::next(static_cast<C*>(s)->begin(), static_cast<long>(index)));
    },
    .append = [](void* s) -> void* { return std::addressof(static_cast<C*>(s)->emplace_back()); },
};

/// Integers, enums, booleans, doubles and TimerState, alone, in (nested) arrays or, with
/// counted_by() and at_most(), in a std::vector.
template <auto... Path>
constexpr auto field(std::string_view name)
{
    using M = typename PathOf<Path...>::type;
    using E = typename Storage<M>::element;
    using P = typename Plain<E>::type;
    static_assert(std::is_integral_v<P> || std::is_same_v<P, double> ||
                      std::is_same_v<P, std::byte>,
                  "a structure? declare it with structure<...>()");
    static_assert(!std::is_same_v<E, bool> || sizeof(bool) == 1);
    auto f = member_field<Path...>(name);
    f.kind = FieldKind::Integer;
    f.type = scalar_type_name<E>();
    f.width = sizeof(P);
    f.is_signed = std::is_signed_v<P>;
    f.is_bool = std::is_same_v<E, bool>;
    if constexpr (Storage<M>::dynamic)
        f.sequence = &kSequenceOps<M>;
    f.growing = true;
    return f;
}

/// Raw bytes: an array of bytes, of chars, or a counted vector of them.
template <auto... Path>
constexpr auto buffer(std::string_view name)
{
    using M = typename PathOf<Path...>::type;
    static_assert(sizeof(typename Storage<M>::element) == 1, "a buffer has elements of one byte");
    auto f = member_field<Path...>(name);
    f.kind = FieldKind::Buffer;
    f.type = "buffer";
    if constexpr (Storage<M>::dynamic)
        f.sequence = &kSequenceOps<M>;
    f.growing = true;
    return f;
}

/// `bits` bits in 64-bit words (array or vector); bit 0 is the least significant of word 0.
template <auto... Path>
constexpr auto bitmap(std::string_view name, std::uint32_t bits = 0)
{
    using M = typename PathOf<Path...>::type;
    static_assert(std::is_same_v<typename Storage<M>::element, std::uint64_t>);
    auto f = member_field<Path...>(name);
    f.kind = FieldKind::Bitmap;
    f.type = "bitmap";
    f.capacity = Storage<M>::count * 64;
    f.count = bits == 0 ? f.capacity : bits;
    if constexpr (Storage<M>::dynamic)
        f.sequence = &kSequenceOps<M>;
    f.growing = true;
    return f;
}

/// `bytes` zero bytes that a reader ignores: room for what older versions had there.
template <class T = void>
constexpr FieldOf<T> unused(std::uint32_t bytes, std::string_view name = "unused")
{
    FieldOf<T> f;
    f.name = name;
    f.type = "unused_buffer";
    f.kind = FieldKind::Unused;
    f.count = bytes;
    return f;
}

/// A nested structure, an array of them, or a counted vector of them.
template <auto... Path, class E>
constexpr auto structure(std::string_view name, const VMStateOf<E>& how)
{
    using M = typename PathOf<Path...>::type;
    static_assert(std::is_same_v<typename Storage<M>::element, E>, "described as another type");
    auto f = member_field<Path...>(name);
    f.kind = FieldKind::Struct;
    f.type = "struct";
    f.nested = &how;
    if constexpr (Storage<M>::dynamic)
        f.sequence = &kSequenceOps<M>;
    f.growing = true;
    return f;
}

/// A nested structure written and read as its version `version`, whatever its current one is.
template <auto... Path, class E>
constexpr auto versioned_structure(std::string_view name, const VMStateOf<E>& how, Version version)
{
    auto f = structure<Path...>(name, how);
    f.kind = FieldKind::VStruct;
    f.type = "vstruct";
    f.nested_version = version;
    return f;
}

/// Any number (up to at_most()) of structures in a std::vector, list or deque. `type` is "qtailq"
/// or "qlist", a difference that only the self-description sees.
template <auto... Path, class E>
constexpr auto list(std::string_view name, const VMStateOf<E>& how,
                    std::string_view type = "qtailq")
{
    using M = typename PathOf<Path...>::type;
    auto f = member_field<Path...>(name);
    static_assert(std::is_same_v<typename M::value_type, E>, "described as another type");
    f.kind = FieldKind::List;
    f.type = type;
    f.nested = &how;
    f.nested_version = how.current;
    f.count = 1;
    f.capacity = 65536;
    f.sequence = &kSequenceOps<M>;
    f.growing = true;
    return f;
}

template <class M, bool Described>
struct TreeAccess {
    using Key = typename M::key_type;
    static Result<void> each(void* tree, TreeOps::Node visit, void* context)
    {
        for (auto& [key, value] : *static_cast<M*>(tree)) {
            if constexpr (Described) {
                Key copy = key;
                GW_TRY(visit(context, &copy, &value));
            } else {
                auto number = static_cast<std::uint64_t>(key);
                GW_TRY(visit(context, &number, &value));
            }
        }
        return ok();
    }
    static Result<bool> add(void* tree, TreeOps::Node fill, void* context)
    {
        typename M::mapped_type value{};
        Key key{};
        if constexpr (Described) {
            GW_TRY(fill(context, &key, &value));
        } else {
            std::uint64_t number = 0;
            GW_TRY(fill(context, &number, &value));
            key = static_cast<Key>(number);
            if (static_cast<std::uint64_t>(key) != number)
                return false;
        }
        return static_cast<M*>(tree)->emplace(std::move(key), std::move(value)).second;
    }
};

template <class M, bool Described>
inline constexpr TreeOps kTreeOps{
    .size = [](const void* tree) -> std::size_t { return static_cast<const M*>(tree)->size(); },
    .clear = [](void* tree) { static_cast<M*>(tree)->clear(); },
    .each = &TreeAccess<M, Described>::each,
    .add = &TreeAccess<M, Described>::add,
};

template <bool Described, auto... Path>
constexpr auto tree_field(std::string_view name, const VMState& value)
{
    using M = typename PathOf<Path...>::type;
    auto f = member_field<Path...>(name);
    f.kind = FieldKind::Tree;
    f.type = "gtree";
    f.nested = &value;
    f.nested_version = value.current;
    f.count = 1;
    f.capacity = 65536;
    f.tree = &kTreeOps<M, Described>;
    return f;
}

/// Up to at_most() pairs in a std::map, in the order of their keys, which are integers of up to 64
/// bits.
template <auto... Path, class E>
constexpr auto tree(std::string_view name, const VMStateOf<E>& value)
{
    using M = typename PathOf<Path...>::type;
    static_assert(std::is_same_v<typename M::mapped_type, E>, "described as another type");
    return tree_field<false, Path...>(name, value);
}

/// The same with structures for keys. Key and value have one version, as in QEMU.
template <auto... Path, class K, class E>
constexpr auto tree(std::string_view name, const VMStateOf<K>& key, const VMStateOf<E>& value)
{
    using M = typename PathOf<Path...>::type;
    static_assert(std::is_same_v<typename M::key_type, K>, "described as another type");
    static_assert(std::is_same_v<typename M::mapped_type, E>, "described as another type");
    auto f = tree_field<true, Path...>(name, value);
    f.key = &key;
    return f;
}

/// An open file (FdState) that goes beside the bytes, where the channel can carry it.
template <auto... Path>
constexpr auto descriptor(std::string_view name)
{
    static_assert(std::is_same_v<typename PathOf<Path...>::type, FdState>);
    auto f = member_field<Path...>(name);
    f.kind = FieldKind::Descriptor;
    f.type = "fd";
    return f;
}

/// An array of std::optional structures: who is present is the destination's own configuration.
template <auto... Path, class E>
constexpr auto nullable(std::string_view name, const VMStateOf<E>& how)
{
    using M = typename PathOf<Path...>::type;
    using O = typename Storage<M>::element;
    static_assert(std::is_same_v<O, std::optional<E>>, "an array of std::optional<E>");
    auto f = member_field<Path...>(name);
    f.kind = FieldKind::Nullable;
    f.type = "struct";
    f.nested = &how;
    f.present = [](void* element) -> void* {
        O& slot = *static_cast<O*>(element);
        return slot ? std::addressof(*slot) : nullptr;
    };
    return f;
}

/// A value that exists only in the stream: `make` computes it from the state, (const T&) -> E;
/// `take` hands it back, (T&, const E&) -> Result<void>. Both are captureless lambdas.
template <class T, class E, class Make, class Take>
constexpr auto temporary(std::string_view name, const VMStateOf<E>& how, Make, Take)
{
    FieldOf<T> f;
    f.name = name;
    f.type = "tmp";
    f.kind = FieldKind::Tmp;
    f.nested = &how;
    f.tmp = [](void* object, bool loading, TmpBody body, void* context) -> Result<void> {
        T& state = *static_cast<T*>(object);
        E value = loading ? E{} : Make{}(static_cast<const T&>(state));
        GW_TRY(body(context, &value));
        return loading ? Take{}(state, static_cast<const E&>(value)) : ok();
    };
    return f;
}

/// No bytes. `predicate`, a captureless lambda (const T&) -> bool, must hold here, on both sides.
template <class T, class F>
constexpr auto validated(std::string_view what, F)
{
    FieldOf<T> f;
    f.name = what;
    f.kind = FieldKind::Validate;
    f.counter = [](const void* object) -> std::uint64_t {
        return F{}(*static_cast<const T*>(object)) ? 1 : 0;
    };
    return f;
}

/// Bytes written by `save`, (StreamWriter&, T&), and read by `load`, (StreamReader&, T&, Version)
/// -> Result<void>: captureless lambdas. `type` is the name in the self-description.
template <class T, class Save, class Load>
constexpr auto custom(std::string_view name, std::string_view type, Save, Load)
{
    FieldOf<T> f;
    f.name = name;
    f.type = type;
    f.kind = FieldKind::Custom;
    f.custom_save = [](StreamWriter& out, void* object) { Save{}(out, *static_cast<T*>(object)); };
    f.custom_load = [](StreamReader& in, void* object, Version version) -> Result<void> {
        return Load{}(in, *static_cast<T*>(object), version);
    };
    return f;
}

/// An optional part behind all fields, sent when its `needed` holds. Its name is "parent/part".
template <class T>
constexpr auto subsection(const VMStateOf<T>& part)
{
    FieldOf<T> f;
    f.name = part.name;
    f.kind = FieldKind::Subsection;
    f.nested = &part;
    return f;
}

}  // namespace godwit::migration::stream
