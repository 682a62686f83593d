// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The commands of the control socket: docs/vfio-user-server.md lists them.
#include "tests/devices/vfio-user-server/server.h"

#include <cstdio>
#include <fmt/format.h>

namespace godwit::vfio_user_server {
namespace {

std::uint64_t number(const Json& request, std::string_view key, std::uint64_t otherwise = 0)
{
    const auto found = request.find(std::string(key));
    return found != request.end() && found->is_number_unsigned() ? found->get<std::uint64_t>()
                                                                 : otherwise;
}

std::string text(const Json& request, std::string_view key)
{
    const auto found = request.find(std::string(key));
    return found != request.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Json report_of(const RingReport& report)
{
    return {{"checked", report.checked},     {"lost", report.lost},
            {"torn", report.torn},           {"alien", report.alien},
            {"reachable", report.reachable}, {"right", report.right()}};
}

}  // namespace

Json Server::status() const
{
    const DeviceState& state = device_->state();
    Json json{{"state", to_string(migration_.state())},
              {"connected", session_ != nullptr},
              {"hung", session_ && session_->hung()},
              {"session-end", session_end_},
              {"device", state.engine.device},
              {"engine", state.engine.enabled != 0},
              {"next", state.engine.next},
              {"missed", state.engine.missed},
              {"interrupts", state.interrupts},
              {"doorbells", state.doorbells},
              {"churned", state.churned},
              {"windows", device_->memory().windows()},
              {"logging", device_->memory().log().on()},
              {"connections", counters_.connections},
              {"messages", counters_.messages},
              {"refused", counters_.refused},
              {"resets", counters_.resets},
              {"faults", faults_.fired()},
              {"steps", migration_.history().size()},
              {"bytes-read", migration_.bytes_read()},
              {"bytes-written", migration_.bytes_written()},
              {"loads", migration_.loads()},
              {"load-error", migration_.load_error()}};
    if (migration_.arrival()) {
        json["arrived-at"] = migration_.arrived_at();
        json["arrival"] = report_of(*migration_.arrival());
    }
    return json;
}

Json Server::history() const
{
    Json list = Json::array();
    for (const Step& step : migration_.history())
        list.push_back(
            {{"ns", step.time_ns}, {"from", to_string(step.from)}, {"to", to_string(step.to)}});
    return list;
}

Json Server::ring() const
{
    return report_of(check_ring(device_->state().engine, device_->memory()));
}

Json Server::start_engine(const Json& request)
{
    const std::uint64_t slots = number(request, "slots", 64);
    const std::uint64_t rate = number(request, "rate", 1000);
    if (slots == 0 || slots > UINT32_MAX || rate > UINT32_MAX)
        return refused("slots and rate are numbers from 1 to 2^32 - 1");
    device_->set_engine(number(request, "ring"), static_cast<std::uint32_t>(slots),
                        static_cast<std::uint32_t>(rate));
    device_->restart_time(now_ns());
    return returned(Json::object());
}

Json Server::inject(const Json& request)
{
    auto fault = Fault::from_json(request);
    if (!fault)
        return refused(fault.error().message());
    faults_.add(std::move(*fault));
    return returned(Json::object());
}

/// {"command": "wait", "for": COUNTER, "at-least": N} or {"command": "wait", "state": STATE}.
std::optional<Json> Server::wait(const Json& request)
{
    const Json now = status();
    if (const std::string state = text(request, "state"); !state.empty()) {
        if (!state_named(state))
            return refused(fmt::format("state {} is not known", state));
        if (now["state"] != state)
            return std::nullopt;
        return returned(now);
    }
    const std::string counter = text(request, "for");
    const auto found = now.find(counter);
    if (counter.empty() || (found == now.end() && counter != "arrived-at"))
        return refused(fmt::format("counter '{}' is not known", counter));
    const std::uint64_t least = number(request, "at-least", 1);
    if (found == now.end())
        return std::nullopt;
    if (found->is_boolean() ? found->get<bool>() != (least != 0)
                            : !found->is_number() || found->get<std::uint64_t>() < least)
        return std::nullopt;
    return returned(now);
}

std::optional<Json> Server::execute(const Json& request)
{
    const std::string command = text(request, "command");
    if (command == "wait")
        return wait(request);
    if (command == "status")
        return returned(status());
    if (command == "history")
        return returned(history());
    if (command == "check-ring")
        return returned(ring());
    if (command == "start")
        return start_engine(request);
    if (command == "stop") {
        device_->set_engine_on(false);
        return returned(status());
    }
    if (command == "churn") {
        device_->set_churn(static_cast<std::uint32_t>(number(request, "pages")));
        return returned(Json::object());
    }
    if (command == "inject")
        return inject(request);
    if (command == "clear-faults") {
        faults_.clear();
        return returned(Json::object());
    }
    if (command == "reset") {
        migration_.reset(now_ns());
        return returned(Json::object());
    }
    if (command == "unhang") {
        if (session_)
            if (auto done = session_->unhang(); !done)
                end_session(done.error());
        return returned(Json::object());
    }
    if (command == "disconnect") {
        if (session_)
            end_session(Error(Errc::Closed, "closed, as the control asked"));
        return returned(Json::object());
    }
    if (command == "quit") {
        quit_ = true;
        return returned(Json::object());
    }
    return refused(fmt::format("command '{}' is not known", command));
}

}  // namespace godwit::vfio_user_server
