// SPDX-License-Identifier: LGPL-2.1-or-later
#include "qapi/codec.h"

#include "qapi/codec_templates.h"
#include "util/json.h"

#include <fmt/format.h>
#include <limits>

namespace godwit::qapi {

std::string Path::full() const
{
    std::string out;
    append_to(out);
    return out.empty() ? "<anonymous>" : out;
}

void Path::append_to(std::string& out) const
{
    if (parent_)
        parent_->append_to(out);
    if (index_) {
        out += fmt::format("[{}]", *index_);
    } else if (!name_.empty()) {
        if (!out.empty())
            out += '.';
        out += name_;
    }
}

std::string Path::last() const
{
    return index_ || name_.empty() ? full() : std::string(name_);
}

Error wrong_type(const Path& path, std::string_view expected)
{
    return Error(Errc::InvalidArgument, fmt::format("Invalid parameter type for '{}', expected: {}",
                                                    path.full(), expected));
}

Error missing(const Path& path)
{
    return Error(Errc::InvalidArgument, fmt::format("Parameter '{}' is missing", path.full()));
}

Result<ObjectDecoder> ObjectDecoder::open(const Json& value, const Path& path)
{
    if (!value.is_object())
        return wrong_type(path, "object");
    return ObjectDecoder(value, path);
}

ObjectDecoder::ObjectDecoder(const Json& object, const Path& path)
    : object_(&object), path_(&path), known_(object.size())
{}

const Json* ObjectDecoder::find(std::string_view member)
{
    std::size_t index = 0;
    for (const auto& [name, value] : object_->get_ref<const Json::object_t&>()) {
        if (name == member) {
            known_[index] = true;
            return &value;
        }
        ++index;
    }
    return nullptr;
}

Result<void> ObjectDecoder::finish() const
{
    std::size_t index = 0;
    for (const auto& [name, value] : object_->get_ref<const Json::object_t&>()) {
        if (!known_[index])
            return Error(Errc::InvalidArgument,
                         fmt::format("Parameter '{}' is unexpected", Path(*path_, name).full()));
        ++index;
    }
    return {};
}

Result<void> decode(const Json& value, const Path& path, std::string& out)
{
    if (!value.is_string())
        return wrong_type(path, "string");
    out = value.get_ref<const std::string&>();
    return {};
}

Result<void> decode(const Json& value, const Path& path, bool& out)
{
    if (!value.is_boolean())
        return wrong_type(path, "boolean");
    out = *value.get_ptr<const bool*>();
    return {};
}

Result<void> decode(const Json& value, const Path& path, double& out)
{
    if (const auto* real = value.get_ptr<const double*>())
        out = *real;
    else if (const auto* natural = value.get_ptr<const std::uint64_t*>())
        out = static_cast<double>(*natural);
    else if (const auto* integer = value.get_ptr<const std::int64_t*>())
        out = static_cast<double>(*integer);
    else
        return wrong_type(path, "number");
    return {};
}

Result<void> decode(const Json& value, const Path& path, std::int64_t& out)
{
    // A non-negative number answers to both; asking for the unsigned one first tells its range.
    if (const auto* natural = value.get_ptr<const std::uint64_t*>()) {
        if (*natural > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
            return wrong_type(path, "integer");
        out = static_cast<std::int64_t>(*natural);
        return {};
    }
    const auto* integer = value.get_ptr<const std::int64_t*>();
    if (!integer)
        return wrong_type(path, "integer");
    out = *integer;
    return {};
}

Result<void> decode(const Json& value, const Path& path, std::uint64_t& out)
{
    if (const auto* natural = value.get_ptr<const std::uint64_t*>())
        out = *natural;
    else if (const auto* integer = value.get_ptr<const std::int64_t*>())
        out = static_cast<std::uint64_t>(*integer);
    else
        return Error(Errc::InvalidArgument,
                     fmt::format("Parameter '{}' expects uint64", path.full()));
    return {};
}

namespace {

/// A narrow integer: read wide, then checked against its range; the text names the C type.
template <class Wide, class Narrow>
Result<void> decode_narrow(const Json& value, const Path& path, Narrow& out,
                           std::string_view type_name)
{
    Wide wide = 0;
    if (auto done = decode(value, path, wide); !done)
        return done;
    if (wide < std::numeric_limits<Narrow>::min() || wide > std::numeric_limits<Narrow>::max())
        return Error(Errc::InvalidArgument,
                     fmt::format("Parameter '{}' expects {}", path.last(), type_name));
    out = static_cast<Narrow>(wide);
    return {};
}

}  // namespace

Result<void> decode(const Json& value, const Path& path, std::int8_t& out)
{
    return decode_narrow<std::int64_t>(value, path, out, "int8_t");
}

Result<void> decode(const Json& value, const Path& path, std::int16_t& out)
{
    return decode_narrow<std::int64_t>(value, path, out, "int16_t");
}

Result<void> decode(const Json& value, const Path& path, std::int32_t& out)
{
    return decode_narrow<std::int64_t>(value, path, out, "int32_t");
}

Result<void> decode(const Json& value, const Path& path, std::uint8_t& out)
{
    return decode_narrow<std::uint64_t>(value, path, out, "uint8_t");
}

Result<void> decode(const Json& value, const Path& path, std::uint16_t& out)
{
    return decode_narrow<std::uint64_t>(value, path, out, "uint16_t");
}

Result<void> decode(const Json& value, const Path& path, std::uint32_t& out)
{
    return decode_narrow<std::uint64_t>(value, path, out, "uint32_t");
}

Result<void> decode(const Json& value, const Path& path, std::monostate&)
{
    if (!value.is_null())
        return wrong_type(path, "null");
    return {};
}

Result<void> decode(const Json& value, const Path&, Any& out)
{
    out = Any(value);
    return {};
}

Result<std::size_t> decode_enum(const Json& value, const Path& path,
                                std::span<const std::string_view> names)
{
    std::string name;
    if (auto done = decode(value, path, name); !done)
        return std::unexpected<Error>(std::move(done).error());
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] == name)
            return i;
    }
    return Error(Errc::InvalidArgument,
                 fmt::format("Parameter '{}' does not accept value '{}'", path.last(), name));
}

Result<void> decode_nothing(const Json& arguments)
{
    const Path path;
    auto in = ObjectDecoder::open(arguments, path);
    if (!in)
        return std::unexpected<Error>(std::move(in).error());
    return in->finish();
}

Json encode(const std::string& value)
{
    return Json(value);
}

Json encode(bool value)
{
    return Json(value);
}

Json encode(double value)
{
    return Json(value);
}

Json encode(std::int8_t value)
{
    return Json(value);
}

Json encode(std::int16_t value)
{
    return Json(value);
}

Json encode(std::int32_t value)
{
    return Json(value);
}

Json encode(std::int64_t value)
{
    return Json(value);
}

Json encode(std::uint8_t value)
{
    return Json(value);
}

Json encode(std::uint16_t value)
{
    return Json(value);
}

Json encode(std::uint32_t value)
{
    return Json(value);
}

Json encode(std::uint64_t value)
{
    return Json(value);
}

Json encode(std::monostate)
{
    return Json(nullptr);
}

Json encode(const Any& value)
{
    return value.json();
}

}  // namespace godwit::qapi
