// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/qtest/libqtest/qmp_client.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <iterator>

namespace godwit::qtest {

namespace {

/// Our ids are objects, so that they never look like one a test chose.
constexpr const char* kIdMember = "libqtest";

Json request(std::string_view command, const Json& arguments, std::int64_t id, bool oob)
{
    Json out = {{oob ? "exec-oob" : "execute", command}};
    if (!arguments.empty())
        out["arguments"] = arguments;
    out["id"] = {{kIdMember, id}};
    return out;
}

std::optional<std::int64_t> own_id(const Json& message)
{
    const auto id = message.find("id");
    if (id == message.end() || !id->is_object() || !id->contains(kIdMember))
        return std::nullopt;
    return (*id)[kIdMember].get<std::int64_t>();
}

}  // namespace

std::optional<Json> QmpClient::read(const Deadline& deadline)
{
    const auto line = stream_.line(deadline);
    if (!line)
        return std::nullopt;
    auto message = parse_json(*line);
    if (!message) {
        ADD_FAILURE() << "not JSON: " << *line;
        return std::nullopt;
    }
    return std::move(*message);
}

void QmpClient::keep(Json message)
{
    if (message.contains("event"))
        events_.push_back(std::move(message));
    else if (const auto id = own_id(message))
        replies_[*id] = std::move(message);
    else
        others_.push_back(std::move(message));
}

Json QmpClient::read_greeting()
{
    auto greeting = read(Deadline());
    if (!greeting || !greeting->contains("QMP")) {
        ADD_FAILURE() << "no QMP greeting" << story();
        return {};
    }
    return std::move(*greeting);
}

Json QmpClient::handshake(bool oob)
{
    Json greeting = read_greeting();
    if (greeting.is_null())
        return greeting;
    execute("qmp_capabilities", oob ? Json{{"enable", {"oob"}}} : Json::object());
    return greeting;
}

std::int64_t QmpClient::send(std::string_view command, const Json& arguments, bool oob,
                             std::span<const int> fds)
{
    const std::int64_t id = next_id_++;
    const std::string text = dump_json(request(command, arguments, id, oob));
    if (!stream_.send_with_fds(text + "\n", fds))
        ADD_FAILURE() << "cannot send " << command << story();
    return id;
}

Json QmpClient::reply(std::int64_t id)
{
    const Deadline deadline;
    while (!replies_.contains(id)) {
        auto message = read(deadline);
        if (!message) {
            ADD_FAILURE() << "no reply to request " << id << story();
            return {};
        }
        keep(std::move(*message));
    }
    Json out = std::move(replies_[id]);
    replies_.erase(id);
    out.erase("id");
    return out;
}

Json QmpClient::reply_to(std::string_view command, const Json& arguments)
{
    return reply(send(command, arguments));
}

Json QmpClient::execute(std::string_view command, const Json& arguments)
{
    return execute_with_fds(command, arguments, {});
}

Json QmpClient::execute_with_fds(std::string_view command, const Json& arguments,
                                 std::span<const int> fds)
{
    Json out = reply(send(command, arguments, false, fds));
    if (out.contains("return"))
        return out["return"];
    ADD_FAILURE() << command << " " << dump_json(arguments) << ": " << dump_json(out) << story();
    return {};
}

Json QmpClient::execute_oob(std::string_view command, const Json& arguments)
{
    Json out = reply(send(command, arguments, true));
    if (out.contains("return"))
        return out["return"];
    ADD_FAILURE() << command << " (oob): " << dump_json(out) << story();
    return {};
}

std::string QmpClient::error_of(std::string_view command, const Json& arguments)
{
    const Json out = reply_to(command, arguments);
    if (out.contains("error"))
        return out["error"]["desc"].get<std::string>();
    ADD_FAILURE() << command << " " << dump_json(arguments) << " did not fail: " << dump_json(out)
                  << story();
    return {};
}

std::string QmpClient::hmp(std::string_view line)
{
    const Json out = execute("human-monitor-command", {{"command-line", line}});
    std::string text = out.is_string() ? out.get<std::string>() : std::string();
    std::erase(text, '\r');
    return text;
}

Json QmpClient::next_message(const Deadline& deadline)
{
    while (others_.empty()) {
        auto message = read(deadline);
        if (!message) {
            ADD_FAILURE() << "no message came" << story();
            return {};
        }
        keep(std::move(*message));
    }
    Json out = std::move(others_.front());
    others_.pop_front();
    return out;
}

Json QmpClient::wait_event(std::string_view name, const Matches& matches, const Deadline& deadline)
{
    for (std::size_t at = 0;;) {
        for (; at < events_.size(); ++at) {
            const Json& event = events_[at];
            const Json data = event.contains("data") ? event["data"] : Json::object();
            if (event["event"] != name || (matches && !matches(data)))
                continue;
            Json out = event;
            events_.erase(events_.begin() + static_cast<std::ptrdiff_t>(at));
            return out;
        }
        auto message = read(deadline);
        if (!message) {
            ADD_FAILURE() << "the event " << name << " did not come" << story();
            return {};
        }
        keep(std::move(*message));
    }
}

void QmpClient::wait_activity(const Deadline& deadline)
{
    if (auto message = read(deadline))
        keep(std::move(*message));
}

const std::deque<Json>& QmpClient::events()
{
    // Whatever was sent before this command was answered has arrived with its reply.
    if (open())
        execute("query-version");
    return events_;
}

std::optional<Json> QmpClient::take_event(std::string_view name)
{
    events();
    const auto found =
        std::ranges::find_if(events_, [&](const Json& event) { return event["event"] == name; });
    if (found == events_.end())
        return std::nullopt;
    Json out = *found;
    events_.erase(found);
    return out;
}

void QmpClient::clear_events()
{
    events();
    events_.clear();
}

bool QmpClient::wait_end(const Deadline& deadline)
{
    while (auto message = read(deadline))
        keep(std::move(*message));
    return stream_.ended();
}

}  // namespace godwit::qtest
