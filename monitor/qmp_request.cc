// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/qmp_request.h"

#include "monitor/json_writer.h"

#include <fmt/format.h>
#include <utility>

namespace godwit::monitor {

namespace {

Error bad_input(std::string what)
{
    return Error(Errc::InvalidArgument, "QMP input " + std::move(what));
}

Error bad_member(std::string_view name, std::string_view what)
{
    return bad_input(fmt::format("member '{}' {}", name, what));
}

/// Only four errors have a class of their own.
std::string_view class_of(Errc code)
{
    switch (code) {
    case Errc::CommandNotFound:
        return "CommandNotFound";
    case Errc::DeviceNotFound:
        return "DeviceNotFound";
    case Errc::DeviceNotActive:
        return "DeviceNotActive";
    default:
        return "GenericError";
    }
}

/// Reads one member into `request`.
Result<void> take_member(const std::string& name, Json& value, QmpRequest& request,
                         bool oob_enabled)
{
    const bool oob = name == "exec-oob" && oob_enabled;
    if (oob || name == "execute") {
        auto* text = value.get_ptr<Json::string_t*>();
        if (!text)
            return bad_member(name, "must be a string");
        if (!request.command.empty())
            return bad_member("execute", "clashes with 'exec-oob'");
        request.command = std::move(*text);
        request.out_of_band = oob;
    } else if (name == "arguments") {
        if (!value.is_object())
            return bad_member(name, "must be an object");
        request.arguments = std::move(value);
    } else if (name != "id") {
        return bad_member(name, "is unexpected");
    }
    return {};
}

void append_id(std::string& out, const std::optional<Json>& id, bool pretty)
{
    if (!id)
        return;
    out += pretty ? ",\n    \"id\": " : ", \"id\": ";
    write_json(out, *id, false);
}

std::string finish(std::string out)
{
    // A monitor's lines end in CR LF; a pretty text has several.
    std::string wire;
    wire.reserve(out.size() + 16);
    for (const char c : out) {
        if (c == '\n')
            wire += '\r';
        wire += c;
    }
    wire += "\r\n";
    return wire;
}

}  // namespace

QmpRequest read_request(Result<Json> message, bool oob_enabled)
{
    QmpRequest request;
    if (!message) {
        request.error = std::move(message).error();
        return request;
    }
    auto* members = message->get_ptr<Json::object_t*>();
    if (!members) {
        request.error = bad_input("must be a JSON object");
        return request;
    }
    // The id first: an error about another member carries it.
    for (auto& [name, value] : *members)
        if (name == "id")
            request.id = value;
    bool has_command = false;
    for (auto& [name, value] : *members) {
        if (auto taken = take_member(name, value, request, oob_enabled); !taken) {
            request.error = std::move(taken).error();
            return request;
        }
        has_command = has_command || name == "execute" || name == "exec-oob";
    }
    if (!has_command)
        request.error = bad_input("lacks member 'execute'");
    return request;
}

std::string success_text(const Json& value, const std::optional<Json>& id, bool pretty)
{
    if (pretty) {
        Json all = {{"return", value}};
        if (id)
            all["id"] = *id;
        std::string out;
        write_json(out, all, true);
        return finish(std::move(out));
    }
    std::string out = "{\"return\": ";
    write_json(out, value, false);
    append_id(out, id, false);
    out += "}\r\n";
    return out;
}

std::string error_text(const Error& error, const std::optional<Json>& id, bool pretty)
{
    Json all = Json::object();
    if (id)
        all["id"] = *id;
    all["error"] = {{"class", class_of(error.code())}, {"desc", error.message()}};
    std::string out;
    write_json(out, all, pretty);
    return finish(std::move(out));
}

std::string greeting_text(const Json& version, bool pretty)
{
    std::string out;
    write_json(out, {{"QMP", {{"version", version}, {"capabilities", {"oob"}}}}}, pretty);
    return finish(std::move(out));
}

std::string event_text(std::string_view event, const Json& data, std::int64_t unix_us, bool pretty)
{
    Json all = {
        {"timestamp", {{"seconds", unix_us / 1'000'000}, {"microseconds", unix_us % 1'000'000}}},
        {"event", event}};
    if (!data.empty())
        all["data"] = data;
    std::string out;
    write_json(out, all, pretty);
    return finish(std::move(out));
}

}  // namespace godwit::monitor
