// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/qmp_session.h"

#include "qapi/command_table.h"
#include "system/main_loop.h"
#include "util/json.h"

#include <fmt/format.h>
#include <utility>

namespace godwit::monitor {

namespace {

constexpr std::size_t kReadBytes = 64 << 10;
constexpr std::size_t kMaxRequests = 8;                // as QEMU: more is not read
constexpr std::size_t kMaxOutput = 1 << 20;            // answers queued before we stop reading
constexpr std::size_t kMaxOutputForEvents = 16 << 20;  // queued before events are dropped
constexpr std::size_t kMaxEarlyEvents = 256;
constexpr unsigned kFlushMs = 500;

std::string_view as_text(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

class QmpSession::Context : public Connection {
public:
    Context(QmpSession& session, bool oob) : Connection(session.fds_), session_(session), oob_(oob)
    {}
    bool out_of_band() const noexcept override { return oob_; }
    Result<void> negotiate(bool enable_oob) override
    {
        session_.oob_ = enable_oob;
        session_.negotiated_ = true;
        return {};
    }

private:
    QmpSession& session_;
    bool oob_;
};

QmpSession::QmpSession(system::Chardev& chardev, Services services, bool pretty)
    : chardev_(chardev), services_(std::move(services)), pretty_(pretty),
      in_band_(std::make_unique<Context>(*this, false)),
      out_of_band_(std::make_unique<Context>(*this, true)), io_loop_(&services_.loop)
{}

QmpSession::~QmpSession()
{
    stop();
}

Result<void> QmpSession::start()
{
    auto version = services_.commands.dispatch("query-version", Json::object(), *in_band_);
    greeting_ = greeting_text(version ? *version : Json::object(), pretty_);
    GW_TRY(chardev_.attach({
        .can_receive = [this] { return can_receive(); },
        .receive = [this](std::span<const std::byte> bytes) { receive(bytes); },
        .event = [this](auto event) { on_event(event); },
    }));
    attached_ = true;
    if (chardev_.connected() && !open_)
        opened();
    return {};
}

void QmpSession::stop()
{
    if (!attached_.exchange(false))
        return;
    system::MachineGuardIfNeeded main(services_.loop.lock());
    send_reply();  // to `quit`
    system::MachineGuardIfNeeded guard(io_lock());
    if (open_)
        chardev_.flush(kFlushMs);
    chardev_.detach();
    open_ = negotiated_ = false;
    // The other loop may end before the chardev does.
    if (io_loop_ != &services_.loop)
        (void)chardev_.move_to(services_.loop);
}

void QmpSession::on_event(system::Chardev::FrontEnd::Event event)
{
    using Event = system::Chardev::FrontEnd::Event;
    if (event == Event::Opened && !open_)
        opened();
    else if (event == Event::Closed && open_)
        closed();
}

void QmpSession::opened()
{
    open_ = true;
    stream_.reset();
    chardev_.write(greeting_);
}

void QmpSession::closed()
{
    open_ = negotiated_ = oob_ = false;
    stream_.reset();
    fds_.drop_received();
    const std::lock_guard guard(mutex_);
    ++connection_;
    requests_.clear();
    events_.clear();
    waits_for_output_ = false;
}

std::size_t QmpSession::can_receive()
{
    const bool blocked = output_blocked();
    const std::lock_guard guard(mutex_);
    input_held_ = blocked || requests_.size() >= kMaxRequests;
    return input_held_ ? 0 : kReadBytes;
}

void QmpSession::receive(std::span<const std::byte> bytes)
{
    if (auto fds = chardev_.take_fds(); !fds.empty())
        fds_.receive(std::move(fds));
    stream_.feed(as_text(bytes),
                 [this](Result<Json> message) { take_message(std::move(message)); });
    if (io_loop_ == &services_.loop)
        pump();
    else
        schedule_pump();
}

void QmpSession::take_message(Result<Json> message)
{
    QmpRequest request = read_request(std::move(message), oob_);
    if (request.out_of_band && !request.error)
        return run_out_of_band(request);
    const std::lock_guard guard(mutex_);
    requests_.push_back(std::move(request));
}

bool QmpSession::output_blocked() const
{
    return chardev_.queued() > kMaxOutput;
}

/// Serves the next request: in the main loop. One at a time, and a turn of the loop each, so that a
/// client with many does not keep others waiting.
void QmpSession::pump()
{
    if (running_)
        return;
    bool blocked = false;
    {
        system::MachineGuardIfNeeded guard(io_lock());
        blocked = output_blocked();
        if (blocked)
            wait_for_output();
    }
    std::optional<QmpRequest> request;
    if (!blocked) {
        const std::lock_guard guard(mutex_);
        if (!requests_.empty()) {
            request = std::move(requests_.front());
            requests_.pop_front();
        }
    }
    if (request)
        run(*request);
    resume_input();
}

void QmpSession::schedule_pump()
{
    {
        const std::lock_guard guard(mutex_);
        if (requests_.empty() || std::exchange(pump_posted_, true))
            return;
    }
    services_.loop.post([weak = weak_from_this()] {
        auto self = weak.lock();
        if (!self)
            return;
        {
            const std::lock_guard guard(self->mutex_);
            self->pump_posted_ = false;
        }
        self->pump();
    });
}

/// Tells the chardev to read again if it was held off and now need not be.
void QmpSession::resume_input()
{
    {
        const std::lock_guard guard(mutex_);
        if (!input_held_ || requests_.size() >= kMaxRequests)
            return;
    }
    system::MachineGuardIfNeeded guard(io_lock());
    if (output_blocked())
        return wait_for_output();
    if (attached_)
        chardev_.accept_input();
}

/// Goes on when the client has read some of its answers. With the lock of the reading loop.
void QmpSession::wait_for_output()
{
    {
        const std::lock_guard guard(mutex_);
        if (std::exchange(waits_for_output_, true))
            return;
    }
    chardev_.on_writable([weak = weak_from_this(), &loop = services_.loop] {
        loop.post([weak] {
            auto self = weak.lock();
            if (!self)
                return;
            {
                const std::lock_guard guard(self->mutex_);
                self->waits_for_output_ = false;
            }
            self->pump();
        });
    });
}

std::string QmpSession::answer(const QmpRequest& request, Context& context)
{
    static constexpr std::string_view kNegotiate = "qmp_capabilities";
    const auto refuse = [&](Errc code, std::string text) {
        return error_text(Error(code, std::move(text)), request.id, pretty_);
    };
    if (request.error)
        return error_text(*request.error, request.id, pretty_);
    if (!negotiated_ && request.command != kNegotiate)
        return refuse(Errc::CommandNotFound,
                      "Expecting capabilities negotiation with 'qmp_capabilities'");
    const qapi::CommandInfo* info = services_.commands.find(request.command);
    if (!info)
        return refuse(Errc::CommandNotFound,
                      fmt::format("The command {} has not been found", request.command));
    if (context.out_of_band() && !info->allow_oob)
        return refuse(Errc::InvalidArgument,
                      fmt::format("The command {} does not support OOB", request.command));
    if (negotiated_ && request.command == kNegotiate)
        return refuse(Errc::CommandNotFound,
                      "Capabilities negotiation is already complete, command ignored");
    auto done = services_.commands.dispatch(request.command, request.arguments, context);
    return done ? success_text(*done, request.id, pretty_)
                : error_text(done.error(), request.id, pretty_);
}

/// As in QEMU the answer comes after what the command asked the main loop to do: RESET, then the
/// return of system_reset.
void QmpSession::run(const QmpRequest& request)
{
    running_ = true;
    const bool was_negotiated = negotiated_;
    Reply reply;
    {
        const std::lock_guard guard(mutex_);
        reply.connection = connection_;
    }
    reply.text = answer(request, *in_band_);
    reply_ = std::move(reply);
    if (!was_negotiated && negotiated_) {
        send_reply();  // before any event
        after_negotiation();
    }
    services_.loop.post([weak = weak_from_this()] {
        if (auto self = weak.lock()) {
            self->send_reply();
            self->running_ = false;
            self->pump();
        }
    });
}

void QmpSession::send_reply()
{
    const auto reply = std::exchange(reply_, std::nullopt);
    if (!reply)
        return;
    {
        system::MachineGuardIfNeeded guard(io_lock());
        const std::lock_guard state(mutex_);
        if (reply->connection != connection_)
            return;  // whoever asked is gone
    }
    write(reply->text);
}

/// In the reading thread; its lock is dropped, as the main loop may want it to write.
void QmpSession::run_out_of_band(const QmpRequest& request)
{
    if (io_loop_ == &services_.loop) {
        write(answer(request, *out_of_band_));
        return;
    }
    const auto self = shared_from_this();  // stop() may come while the lock is dropped
    std::string text;
    {
        system::MachineUnlock unlocked(io_lock());
        text = answer(request, *out_of_band_);
    }
    if (attached_)
        write(text);
}

void QmpSession::after_negotiation()
{
    {
        const std::lock_guard guard(mutex_);
        greeted_before_ = true;
    }
    drain_events();
    if (!oob_ || io_loop_ != &services_.loop)
        return;
    // Not here: this is a callback of the chardev that is about to move.
    services_.loop.post([weak = weak_from_this()] {
        auto self = weak.lock();
        if (!self || !self->attached_)
            return;
        system::MainLoop* loop = self->services_.oob_loop();
        if (!loop)
            return;
        system::MachineGuardIfNeeded guard(loop->lock());
        if (self->chardev_.move_to(*loop))
            self->io_loop_ = loop;
    });
}

void QmpSession::queue_event(std::shared_ptr<const QueuedEvent> event)
{
    if (!open_)
        return;
    {
        const std::lock_guard guard(mutex_);
        if (!negotiated_ && (greeted_before_ || events_.size() >= kMaxEarlyEvents))
            return;
        events_.push_back(std::move(event));
    }
    deliver_events();
}

void QmpSession::deliver_events()
{
    if (!negotiated_)
        return;
    if (io_loop_ != &services_.loop || services_.loop.lock().held())
        return drain_events();
    services_.loop.post([weak = weak_from_this()] {
        if (auto self = weak.lock())
            self->drain_events();
    });
}

void QmpSession::drain_events()
{
    system::MachineGuardIfNeeded guard(io_lock());
    std::deque<std::shared_ptr<const QueuedEvent>> events;
    {
        const std::lock_guard state(mutex_);
        events.swap(events_);
    }
    if (!open_ || chardev_.queued() > kMaxOutputForEvents)
        return;
    for (const auto& event : events)
        chardev_.write(event_text(event->name, event->data, event->unix_us, pretty_));
}

void QmpSession::write(std::string_view text)
{
    system::MachineGuardIfNeeded guard(io_lock());
    if (open_)
        chardev_.write(text);
}

system::MachineLock& QmpSession::io_lock() const noexcept
{
    return io_loop_.load()->lock();
}

}  // namespace godwit::monitor
