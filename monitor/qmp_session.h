// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One QMP monitor: a chardev, who is connected to it, and what waits in either direction.
#pragma once

#include "monitor/connection.h"
#include "monitor/event_limiter.h"
#include "monitor/qmp_request.h"
#include "system/chardev.h"
#include "util/json_stream.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace godwit::qapi {
class CommandTable;
}

namespace godwit::system {
class MachineLock;
class MainLoop;
}  // namespace godwit::system

namespace godwit::monitor {

/// Serves requests in order, one at a time, each answered before the next is looked at.
///
/// Out of band  a connection that enabled `oob` is read in a thread of its own (if its chardev can
///              move), so that exec-oob runs while the main loop is blocked in a command or on a
///              page of guest memory that is still on the other host.
/// Flow         a client that does not read its answers is not read from either; events are
///              dropped once a lot is queued for it.
/// Events       one that happens between connecting and the first negotiation is kept until then.
/// Threads      queue_event() from any thread; commands run in the main loop with the machine lock,
///              out-of-band ones in the reading thread without it. Lock order: machine lock, lock
///              of the reading loop, mutex_.
class QmpSession : public std::enable_shared_from_this<QmpSession> {
public:
    struct Services {
        const qapi::CommandTable& commands;
        system::MainLoop& loop;
        /// The loop that reads connections with `oob`; null if there is none.
        std::function<system::MainLoop*()> oob_loop;
    };

    QmpSession(system::Chardev& chardev, Services services, bool pretty);
    ~QmpSession();
    /// Attaches to the chardev and greets who is already there.
    Result<void> start();
    /// Sends what is queued, for a moment, and lets go of the chardev.
    void stop();

    bool negotiated() const noexcept { return negotiated_; }
    void queue_event(std::shared_ptr<const QueuedEvent> event);

private:
    class Context;

    void on_event(system::Chardev::FrontEnd::Event event);
    void opened();
    void closed();
    std::size_t can_receive();
    void receive(std::span<const std::byte> bytes);
    void take_message(Result<Json> message);
    void pump();
    void schedule_pump();
    void resume_input();
    bool output_blocked() const;
    void wait_for_output();

    struct Reply {
        std::string text;
        std::uint64_t connection = 0;  // whose request it answers
    };

    void run(const QmpRequest& request);
    void send_reply();
    void run_out_of_band(const QmpRequest& request);
    std::string answer(const QmpRequest& request, Context& context);
    void after_negotiation();
    void deliver_events();
    void drain_events();
    void write(std::string_view text);
    /// The lock that the chardev's callbacks run under.
    system::MachineLock& io_lock() const noexcept;

    system::Chardev& chardev_;
    Services services_;
    const bool pretty_;
    JsonStream stream_;  // in the reading thread
    SessionFds fds_;
    std::unique_ptr<Context> in_band_;
    std::unique_ptr<Context> out_of_band_;
    std::atomic<system::MainLoop*> io_loop_;  // whose callbacks read; changes under both locks
    std::atomic<bool> attached_{false};
    bool running_ = false;  // a command is being run or its reply is owed: main loop only
    std::optional<Reply> reply_;
    std::string greeting_;
    std::atomic<bool> open_{false};
    std::atomic<bool> negotiated_{false};
    std::atomic<bool> oob_{false};

    std::mutex mutex_;  // guards all below
    std::deque<QmpRequest> requests_;
    std::uint64_t connection_ = 0;  // counts clients, so that no answer reaches the next one
    bool input_held_ = false;
    bool pump_posted_ = false;
    bool waits_for_output_ = false;
    bool greeted_before_ = false;
    std::deque<std::shared_ptr<const QueuedEvent>> events_;
};

}  // namespace godwit::monitor
