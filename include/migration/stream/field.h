// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One declared field of a device's state: what it is called, where it lies in the object, how it
// looks on the wire, which values are legal. A Field knows no C++ type; FieldOf<T> builds it from
// member pointers and keeps the owner's type until vmstate<T>() has checked it.
// How to use it: docs/migration/vmstate.md.
#pragma once

#include "migration/stream/storage.h"
#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace godwit::migration::stream {

class StreamReader;
class StreamWriter;
struct VMState;

/// A version of a section, a subsection or a structure.
using Version = std::uint32_t;

enum class FieldKind : std::uint8_t {
    Integer,     ///< integers, booleans, timers: `width` bytes, big-endian
    Buffer,      ///< raw bytes
    Bitmap,      ///< `count` bits in 64-bit words
    Unused,      ///< `count` zero bytes, ignored on load
    Struct,      ///< nested description, inline
    VStruct,     ///< nested description at a stated version
    List,        ///< 0x01 before each element, 0x00 behind the last
    Tree,        ///< a count, 0x01 before each key and value in the keys' order, 0x00 at the end
    Descriptor,  ///< 0x20, with an open file beside it
    Nullable,    ///< elements that may be absent: 0x30 in their place
    Tmp,         ///< nested description of a value computed for the occasion
    Validate,    ///< no bytes: a predicate that must hold
    Custom,      ///< the device's own code writes and reads the bytes
    Subsection,  ///< not a field: an optional part behind all fields
};

enum class Check : std::uint8_t {
    None,
    Equal,        ///< must arrive equal to the local value
    AtMostLocal,  ///< must arrive between 0 and the local value
};

/// Elements of a sequence whose number is not fixed by its type.
struct SequenceOps {
    std::size_t (*size)(const void* sequence);
    void (*resize)(void* sequence, std::size_t count);
    void* (*at)(void* sequence, std::size_t index);
    void* (*append)(void* sequence);
};

/// A sorted map. A key without a description is an integer and comes and goes as 64 bits.
struct TreeOps {
    using Node = Result<void> (*)(void* context, void* key, void* value);
    std::size_t (*size)(const void* tree);
    void (*clear)(void* tree);
    Result<void> (*each)(void* tree, Node visit, void* context);
    /// Makes a node, lets `fill` read it and puts it in; false if its key is there already, or is
    /// more than the map's own key type holds.
    Result<bool> (*add)(void* tree, Node fill, void* context);
};

/// What runs for a Tmp field: makes the temporary from `object` (saving) or default (loading), lets
/// `body` write or read it, and hands it back to `object` (loading).
using TmpBody = Result<void> (*)(void* context, void* temporary);
using TmpRun = Result<void> (*)(void* object, bool loading, TmpBody body, void* context);

/// A field without its C++ type. Filled by FieldOf<T>, read by the engine in vmstate.cc.
struct Field {
    std::string_view name;
    std::string_view type;  ///< as the self-description names it
    FieldKind kind = FieldKind::Integer;
    Check check = Check::None;
    std::uint8_t width = 0;  ///< bytes of one integer, on the wire and in memory
    bool is_signed = false;
    bool is_bool = false;
    bool ranged = false;
    std::uint32_t count = 1;     ///< elements, bytes (Buffer, Unused) or bits (Bitmap)
    std::uint32_t capacity = 0;  ///< elements that fit
    std::uint32_t first = 0;     ///< elements skipped at the front
    std::uint32_t stride = 0;    ///< bytes from one element to the next, in memory
    Version since = 0;           ///< exists from this version of the description on
    Version nested_version = 0;  ///< VStruct: the stated version. List, Tree: that of an element
    std::uint64_t low = 0;       ///< legal range, as the bits of the field's own type
    std::uint64_t high = 0;
    void* (*address)(void* object) = nullptr;  ///< the first element, or the sequence itself
    std::uint64_t (*counter)(const void* object) = nullptr;
    bool (*exists)(const void* object, Version version) = nullptr;
    const VMState* nested = nullptr;
    const SequenceOps* sequence = nullptr;
    const TreeOps* tree = nullptr;
    const VMState* key = nullptr;  ///< Tree: how a key is described; null for an integer
    bool growing = false;  ///< has a sequence; told apart here because g++ 12 with UBSan cannot
                           ///< compare addresses in a constant expression
    void* (*present)(void* element) = nullptr;  ///< Nullable: the value inside, or nullptr
    TmpRun tmp = nullptr;
    void (*custom_save)(StreamWriter& out, void* object) = nullptr;
    Result<void> (*custom_load)(StreamReader& in, void* object, Version version) = nullptr;
};

/// A Field of a T, with what can be said about it. Every method returns the changed field, so that
/// a declaration reads as one line. T is void for fields that are in no object (unused()).
template <class T>
struct FieldOf : Field {
    /// In the stream from this version of the description on.
    constexpr FieldOf since(Version version) const
    {
        FieldOf f = *this;
        f.Field::since = version;
        return f;
    }
    /// In the stream when the predicate holds; the version then plays no part. `predicate` is a
    /// captureless lambda (const T&) or (const T&, Version). On load it sees the fields before it.
    template <class F>
    constexpr FieldOf when(F) const
    {
        FieldOf f = *this;
        f.exists = [](const void* object, Version version) -> bool {
            const T& state = *static_cast<const T*>(object);
            if constexpr (requires { F{}(state, version); })
                return F{}(state, version);
            else
                return F{}(state);
        };
        return f;
    }
    /// Only low..high, both included, may arrive. For integers and arrays of them.
    template <class Low, class High>
    constexpr FieldOf in_range(Low lowest, High highest) const
    {
        FieldOf f = *this;
        f.ranged = true;
        f.low = static_cast<std::uint64_t>(lowest);
        f.high = static_cast<std::uint64_t>(highest);
        return f;
    }
    /// Must arrive equal to what the destination has.
    constexpr FieldOf equal() const { return checked(Check::Equal); }
    /// Must arrive between 0 and what the destination has.
    constexpr FieldOf at_most_local() const { return checked(Check::AtMostLocal); }
    /// The number of elements (or bytes, or bits) is the value of an integer member that is loaded
    /// earlier; it is bounded by the room there is, or by at_most() for a vector.
    template <auto... Path>
    constexpr FieldOf counted_by() const
    {
        FieldOf f = *this;
        f.counter = [](const void* object) -> std::uint64_t {
            return static_cast<std::uint64_t>(follow<Path...>(*static_cast<const T*>(object)));
        };
        return f;
    }
    /// The same with a captureless lambda (const T&) -> count.
    template <class F>
    constexpr FieldOf counted(F) const
    {
        FieldOf f = *this;
        f.counter = [](const void* object) -> std::uint64_t {
            return static_cast<std::uint64_t>(F{}(*static_cast<const T*>(object)));
        };
        return f;
    }
    /// Never more elements than this; required for vectors and lists.
    constexpr FieldOf at_most(std::uint32_t elements) const
    {
        FieldOf f = *this;
        f.capacity = elements;
        return f;
    }
    /// Only `n` elements from number `from` on.
    constexpr FieldOf elements(std::uint32_t from, std::uint32_t n) const
    {
        FieldOf f = *this;
        f.first = from;
        f.count = n;
        return f;
    }
    constexpr FieldOf element(std::uint32_t index) const { return elements(index, 1); }
    /// The type name in the self-description, where QEMU's differs from ours.
    constexpr FieldOf described_as(std::string_view type_name) const
    {
        FieldOf f = *this;
        f.type = type_name;
        return f;
    }

private:
    constexpr FieldOf checked(Check how) const
    {
        FieldOf f = *this;
        f.check = how;
        f.type = check_type_name(how == Check::Equal, is_signed, width);
        return f;
    }
};

}  // namespace godwit::migration::stream
