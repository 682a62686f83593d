// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Between JSON and the types of the schema. The generated qapi/<module>_codec.h declare decode()
// and encode() for their types; this file has the built-in ones and what generated code is made of.
// The error texts are those of QEMU 10.0, as its clients compare them.
#pragma once

#include "qapi/any.h"
#include "qapi/enum.h"
#include "util/json_fwd.h"
#include "util/result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace godwit::qapi {

/// Where in the arguments a value stands, for error texts: "capabilities[0].state".
///
/// A chain on the stack: each part refers to the one above, which must outlive it.
class Path {
public:
    /// The top; a value that is not part of anything may have a name.
    explicit Path(std::string_view name = {}) noexcept : name_(name) {}
    Path(const Path& parent, std::string_view member) noexcept : parent_(&parent), name_(member) {}
    Path(const Path& parent, std::size_t index) noexcept : parent_(&parent), index_(index) {}

    std::string full() const;
    /// The last part alone, which is how QEMU names a member whose enum value or range is bad; an
    /// element of a list, which has no name there, with its whole path.
    std::string last() const;

private:
    void append_to(std::string& out) const;

    const Path* parent_ = nullptr;
    std::string_view name_;
    std::optional<std::size_t> index_;
};

/// "Invalid parameter type for 'PATH', expected: WHAT".
Error wrong_type(const Path& path, std::string_view expected);
/// "Parameter 'MEMBER' is missing".
Error missing(const Path& path);

/// Reads the members of one object and, at the end, refuses those nobody asked for.
///
/// The members of a union and of its branch are read through one decoder.
class ObjectDecoder {
public:
    /// Errors  `value` is not an object.
    static Result<ObjectDecoder> open(const Json& value, const Path& path);

    const Path& path() const noexcept { return *path_; }
    /// Null if absent. Marks the member as known.
    const Json* find(std::string_view member);
    /// Errors  "Parameter 'X' is unexpected".
    Result<void> finish() const;

private:
    ObjectDecoder(const Json& object, const Path& path);

    const Json* object_;
    const Path* path_;
    std::vector<bool> known_;
};

// Built-in types. Unsigned 64-bit ones take negative numbers modulo 2^64, as QEMU does.
Result<void> decode(const Json& value, const Path& path, std::string& out);
Result<void> decode(const Json& value, const Path& path, bool& out);
Result<void> decode(const Json& value, const Path& path, double& out);
Result<void> decode(const Json& value, const Path& path, std::int8_t& out);
Result<void> decode(const Json& value, const Path& path, std::int16_t& out);
Result<void> decode(const Json& value, const Path& path, std::int32_t& out);
Result<void> decode(const Json& value, const Path& path, std::int64_t& out);
Result<void> decode(const Json& value, const Path& path, std::uint8_t& out);
Result<void> decode(const Json& value, const Path& path, std::uint16_t& out);
Result<void> decode(const Json& value, const Path& path, std::uint32_t& out);
Result<void> decode(const Json& value, const Path& path, std::uint64_t& out);
Result<void> decode(const Json& value, const Path& path, std::monostate& out);
Result<void> decode(const Json& value, const Path& path, Any& out);

Json encode(const std::string& value);
Json encode(bool value);
Json encode(double value);
Json encode(std::int8_t value);
Json encode(std::int16_t value);
Json encode(std::int32_t value);
Json encode(std::int64_t value);
Json encode(std::uint8_t value);
Json encode(std::uint16_t value);
Json encode(std::uint32_t value);
Json encode(std::uint64_t value);
Json encode(std::monostate value);
Json encode(const Any& value);

/// The index of the name that `value` is.
Result<std::size_t> decode_enum(const Json& value, const Path& path,
                                std::span<const std::string_view> names);

template <SchemaEnum E>
Result<void> decode(const Json& value, const Path& path, E& out)
{
    auto index = decode_enum(value, path, enum_names<E>());
    if (!index)
        return std::unexpected<Error>(std::move(index).error());
    out = static_cast<E>(*index);
    return {};
}

/// Reads a type of the schema. `name` is what error texts call the value.
template <class T>
Result<T> from_json(const Json& value, std::string_view name = {})
{
    T out{};
    if (auto done = decode(value, Path(name), out); !done)
        return std::unexpected<Error>(std::move(done).error());
    return out;
}

}  // namespace godwit::qapi
