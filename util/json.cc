// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A JSON reader of our own: nlohmann's throws, knows no single quotes and words its errors
// otherwise than QEMU's clients expect.
#include "util/json.h"

#include "util/json_stream.h"

#include <optional>
#include <utility>

namespace godwit {

static_assert(kMaxJsonDepth == JsonLimits{}.depth);

Result<Json> parse_json(std::string_view text)
{
    std::optional<Result<Json>> first;
    bool more = false;
    const auto take = [&](Result<Json> value) {
        // After an error only what it left behind comes.
        if (!first)
            first = std::move(value);
        else
            more = true;
    };
    JsonStream stream;
    stream.feed(text, take);
    stream.finish(take);
    if (!first)
        return Error(Errc::BadFormat, "Expecting a JSON value");
    if (more && *first)
        return Error(Errc::BadFormat, "Expecting at most one JSON value");
    return *std::move(first);
}

std::string dump_json(const Json& value)
{
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string dump_json_pretty(const Json& value)
{
    return value.dump(4, ' ', false, Json::error_handler_t::replace);
}

}  // namespace godwit
