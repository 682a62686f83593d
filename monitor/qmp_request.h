// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The envelope of QMP: what a message must look like to be a request, and what answers look like.
#pragma once

#include "util/error.h"
#include "util/json.h"
#include "util/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace godwit::monitor {

/// One message of a client. Where `error` is set, it is no request and that is the answer.
struct QmpRequest {
    std::string command;
    Json arguments = Json::object();
    std::optional<Json> id;
    bool out_of_band = false;  ///< came as exec-oob
    std::optional<Error> error;
};

/// Looks at one message.
///
/// @param oob_enabled  exec-oob is a known member
/// Errors   in the result, with the id if there was one: "QMP input must be a JSON object",
///          "QMP input lacks member 'execute'", "QMP input member 'X' is unexpected", ...
QmpRequest read_request(Result<Json> message, bool oob_enabled);

/// Texts that go out, each with the CR LF at its end.
std::string success_text(const Json& value, const std::optional<Json>& id, bool pretty);
std::string error_text(const Error& error, const std::optional<Json>& id, bool pretty);
std::string greeting_text(const Json& version, bool pretty);

/// @param unix_us  microseconds since 1970
std::string event_text(std::string_view event, const Json& data, std::int64_t unix_us, bool pretty);

}  // namespace godwit::monitor
