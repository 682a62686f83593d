// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A QMP client for tests: requests with ids, a queue of events, descriptors, out-of-band commands.
#pragma once

#include "tests/qtest/libqtest/stream.h"
#include "util/json.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace godwit::qtest {

/// One connection.
///
/// Events    are kept in order until somebody waits for them; waiting for one leaves the others
///           that stand before it in the queue.
/// Failures  a call that cannot get its answer fails the test and returns null.
/// Threads   one.
class QmpClient {
public:
    using Matches = std::function<bool(const Json& data)>;

    QmpClient() = default;
    explicit QmpClient(UniqueFd fd) : stream_(std::move(fd)) {}

    /// Reads the greeting and ends the negotiation.
    Json handshake(bool oob = false);
    Json read_greeting();

    /// The `return` of a command that must succeed.
    Json execute(std::string_view command, const Json& arguments = Json::object());
    /// The same with descriptors beside it.
    Json execute_with_fds(std::string_view command, const Json& arguments,
                          std::span<const int> fds);
    Json execute_oob(std::string_view command, const Json& arguments = Json::object());
    /// The `desc` of a command that must fail.
    std::string error_of(std::string_view command, const Json& arguments = Json::object());
    /// The whole reply, {"return": ...} or {"error": ...}.
    Json reply_to(std::string_view command, const Json& arguments = Json::object());
    /// `human-monitor-command`: its text, without carriage returns.
    std::string hmp(std::string_view line);

    /// Sends a request without waiting; its id, for reply().
    std::int64_t send(std::string_view command, const Json& arguments = Json::object(),
                      bool oob = false, std::span<const int> fds = {});
    Json reply(std::int64_t id);
    /// Any text; the next message that is no event and carries no id of ours.
    bool send_raw(std::string_view text) { return stream_.send(text); }
    Json next_message(const Deadline& deadline = Deadline());

    /// Waits for an event; its whole object.
    Json wait_event(std::string_view name, const Matches& matches = {},
                    const Deadline& deadline = Deadline());
    /// Takes an event that has come already, after reading what is there.
    std::optional<Json> take_event(std::string_view name);
    /// Waits until anything arrives.
    void wait_activity(const Deadline& deadline);
    const std::deque<Json>& events();
    void clear_events();

    bool open() const noexcept { return stream_.open() && !stream_.ended(); }
    /// Reads until the program closes the connection; false when the deadline passed.
    bool wait_end(const Deadline& deadline = Deadline());
    void close() { stream_.close(); }
    /// Called before every failure is reported: what the program wrote to stderr.
    void set_story(std::function<std::string()> story) { story_ = std::move(story); }

private:
    std::optional<Json> read(const Deadline& deadline);
    void keep(Json message);
    std::string story() const { return story_ ? story_() : std::string(); }

    Stream stream_;
    std::int64_t next_id_ = 1;
    std::map<std::int64_t, Json> replies_;
    std::deque<Json> others_;
    std::deque<Json> events_;
    std::function<std::string()> story_;
};

}  // namespace godwit::qtest
