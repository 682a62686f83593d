// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Lists, optional members and enums for decode() and encode(). Generated code includes it, and so
// does whoever converts a list of schema types by hand; it brings the JSON library along.
#pragma once

#include "qapi/codec.h"
#include "util/json.h"

#include <utility>

namespace godwit::qapi {

template <SchemaEnum E>
Json encode(E value)
{
    return Json(std::string(to_string(value)));
}

template <class T>
Result<void> decode(const Json& value, const Path& path, std::vector<T>& out)
{
    const auto* items = value.template get_ptr<const Json::array_t*>();
    if (!items)
        return std::unexpected<Error>(wrong_type(path, "array"));
    // Made at full length and filled in place: growing costs more code than all else here.
    std::vector<T> fresh(items->size());
    for (std::size_t i = 0; i < items->size(); ++i) {
        if (auto done = decode((*items)[i], Path(path, i), fresh[i]); !done)
            return done;
    }
    out = std::move(fresh);
    return {};
}

template <class T>
Json encode(const std::vector<T>& values)
{
    Json out = Json::array();
    for (const T& value : values)
        out.push_back(encode(value));
    return out;
}

/// A mandatory member.
template <class T>
Result<void> decode_member(ObjectDecoder& in, std::string_view name, T& out)
{
    const Path path(in.path(), name);
    const Json* value = in.find(name);
    if (!value)
        return std::unexpected<Error>(missing(path));
    return decode(*value, path, out);
}

/// An optional member.
template <class T>
Result<void> decode_member(ObjectDecoder& in, std::string_view name, std::optional<T>& out)
{
    const Json* value = in.find(name);
    if (!value) {
        out.reset();
        return {};
    }
    return decode(*value, Path(in.path(), name), out.emplace());
}

template <class T>
void encode_member(Json& out, const char* name, const T& value)
{
    out[name] = encode(value);
}

template <class T>
void encode_member(Json& out, const char* name, const std::optional<T>& value)
{
    if (value)
        out[name] = encode(*value);
}

/// The reply of a command.
template <class T>
Result<Json> encode_reply(const Result<T>& result)
{
    if (!result)
        return std::unexpected<Error>(result.error());
    return encode(*result);
}

inline Result<Json> encode_reply(const Result<void>& result)
{
    if (!result)
        return std::unexpected<Error>(result.error());
    return Json::object();
}

inline Result<Json> encode_reply(Result<Json> result)
{
    return result;
}

/// For a command without arguments.
Result<void> decode_nothing(const Json& arguments);

}  // namespace godwit::qapi
