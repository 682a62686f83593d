// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The life of an incoming attempt: connection, stream, the guest's start, and the end.
#include "migration/incoming.h"

#include "migration/handshake.h"
#include "migration/insight/check_session.h"
#include "migration/insight/peer_timeline.h"
#include "migration/printable.h"
#include "migration/stream/channel_stream.h"
#include "migration/stream/sections.h"
#include "system/main_loop.h"
#include "system/run_state.h"
#include "system/yank.h"

#include <chrono>
#include <fmt/format.h>

namespace godwit::migration {

using stream::ReturnMessage;
using stream::SectionType;
using stream::StreamReader;
using system::RunState;

namespace {

// Frees the machine lock, if this thread holds it, while it waits for the peer.
class PoliteSource final : public stream::ByteSource {
public:
    PoliteSource(io::Channel& channel, system::MachineLock& lock, Timeline& timeline)
        : channel_(channel), lock_(lock), timeline_(timeline)
    {}
    Result<std::size_t> read_some(std::span<std::byte> into) override
    {
        const iovec piece = io::as_iovec(into);
        return readv_some({&piece, 1});
    }
    Result<std::size_t> readv_some(std::span<const iovec> into) override
    {
        if (auto at_once = GW_TRY(channel_.try_readv(into)))
            return *at_once;
        const std::int64_t since = timeline_.now_ns();
        channel_.acknowledge();
        auto read = wait(into);
        if (timeline_.now_ns() - since > kStallNs)
            timeline_.lasted(TimelineKind::Stall, "wire", since);
        return read;
    }

private:
    // Nothing came for so long: worth a note.
    static constexpr std::int64_t kStallNs = 200'000'000;

    Result<std::size_t> wait(std::span<const iovec> into)
    {
        if (!lock_.held())
            return channel_.readv_some(into);
        const system::MachineUnlock unlocked(lock_);
        return channel_.readv_some(into);
    }

    io::Channel& channel_;
    system::MachineLock& lock_;
    Timeline& timeline_;
};

constexpr std::int64_t kSampleNs = 100'000'000;

constexpr std::size_t kReadAhead = std::size_t{512} << 10;

}  // namespace

Result<std::unique_ptr<Incoming>> Incoming::create(Parts parts, IncomingConfig config,
                                                   Accept accept,
                                                   std::move_only_function<void()> done)
{
    io::Cancel cancel = GW_TRY(io::Cancel::create());
    std::unique_ptr<Incoming> made(
        new Incoming(parts, std::move(config), std::move(accept), std::move(done)));
    made->cancel_ = std::move(cancel);
    if (system::YankRegistry* yanks = parts.env.yanks; yanks != nullptr)
        made->yankable_ = yanks->add({}, [i = made.get()] { i->yank(); });
    made->thread_ =
        NamedThread("mig/incoming", [i = made.get()](const std::stop_token&) { i->run(); });
    return made;
}

Incoming::Incoming(Parts parts, IncomingConfig config, Accept accept,
                   std::move_only_function<void()> done)
    : p_(parts), config_(std::move(config)), accept_(std::move(accept)), done_(std::move(done))
{}

Incoming::~Incoming()
{
    stop();
}

std::optional<std::string> Incoming::error() const
{
    const std::lock_guard guard(error_mutex_);
    return error_;
}

void Incoming::yank()
{
    const std::lock_guard guard(channel_mutex_);
    if (!channel_)
        return;
    yanked_ = true;
    (void)channel_->shutdown(io::Shutdown::Both);
}

void Incoming::run()
{
    finish(take_over());
    {
        const std::lock_guard guard(channel_mutex_);
        cancel_ = {};
    }
    done_();
}

Result<void> Incoming::take_over()
{
    for (;;) {
        const std::int64_t since = p_.env.clock.now_ns();
        auto channel = GW_TRY(accept_(io::Patience{.cancel = cancel_, .deadline = {}}));
        {
            const std::lock_guard guard(channel_mutex_);
            channel_ = std::move(channel);
            yanked_ = false;
        }
        channel_->set_patience({.cancel = cancel_, .deadline = {}});
        PoliteSource source(*channel_, p_.env.lock, *p_.timeline);
        StreamReader in(source, kReadAhead);
        // A connection counts once something comes through it.
        auto head = in.peek(4);
        const std::uint32_t magic =
            config_.accepts_again && head && head->size() >= 4 ? stream::payload_be32(*head) : 0;
        if (magic == kCheckMagic && p_.env.facts) {
            serve_visitor(in);
            continue;
        }
        if (magic == kQuestionMagic) {
            serve_question(in);
            continue;
        }
        p_.timeline->lasted(TimelineKind::Connect, "main", since);
        GW_TRY(p_.status.apply(Event::SetupDone));
        GW_TRY(std::move(head));
        return take_stream(in);
    }
}

// A migrate-check: looks and goes, and we wait on.
void Incoming::serve_visitor(StreamReader& in)
{
    const std::int64_t since = p_.env.clock.now_ns();
    channel_->set_patience({.cancel = cancel_, .deadline = io::deadline_in(kCheckPatience)});
    if (auto served = in.skip(4); served) {
        served = serve_check(*channel_, in, p_.env.facts);
        if (!served)
            p_.env.log.warn("migration check: " + served.error().message());
    }
    p_.timeline->lasted(TimelineKind::Connect, "check", since);
    const std::lock_guard guard(channel_mutex_);
    (void)channel_->close();
    channel_.reset();
}

Result<void> Incoming::take_stream(StreamReader& in)
{
    GW_TRY(load_stream(in));
    if (peer_stays_) {
        const std::int64_t asked = p_.env.clock.now_ns();
        GW_TRY(agree(in));
        p_.timeline->lasted(TimelineKind::Switchover, "agree", asked);
    }
    const std::int64_t starting = p_.env.clock.now_ns();
    GW_TRY(start_guest());
    p_.timeline->lasted(TimelineKind::Switchover, "start", starting);
    p_.timeline->note(TimelineKind::Guest, std::string(to_string(p_.env.run_state.state())));
    return ok();
}

Result<void> Incoming::load_stream(StreamReader& in)
{
    GW_TRY(stream::read_file_header(in));
    stream::Configuration local{.machine = p_.env.machine_name, .uuid = p_.env.uuid};
    auto warnings = stream::read_configuration(in, local);
    if (!warnings) {
        if (warnings.error().code() == Errc::BadState)
            hear_greeting(in);
        return std::move(warnings).error();
    }
    for (const std::string& warning : *warnings)
        p_.env.log.warn(printable(warning));
    GW_TRY(load_setup());
    while (GW_TRY(load_element(in)))
        note_sample(in.position());
    GW_TRY(load_description(in));
    return ok();
}

// Another machine is refused before the source has said who it is. What it says next is heard
// still, so that a Godwit can be told why.
void Incoming::hear_greeting(StreamReader& in)
{
    constexpr int kCommands = 2;  // OPEN_RETURN_PATH, PING
    for (int i = 0; i < kCommands; ++i) {
        const auto next = in.peek(1);
        if (!next || next->empty() ||
            (*next)[0] != std::byte{static_cast<std::uint8_t>(SectionType::Command)})
            return;
        if (!in.skip(1) || !command(in))
            return;
    }
}

void Incoming::note_sample(std::uint64_t position)
{
    const std::int64_t now = p_.env.clock.now_ns();
    const std::int64_t ns = now - sampled_ns_;
    if (ns < kSampleNs)
        return;
    const double seconds = static_cast<double>(ns) / 1e9;
    p_.timeline->sample({.time_ns = now,
                         .transferred = position,
                         .wire_rate = static_cast<std::uint64_t>(
                             static_cast<double>(position - sampled_bytes_) / seconds)});
    sampled_ns_ = now;
    sampled_bytes_ = position;
}

Result<void> Incoming::load_setup()
{
    unsigned acks = 0;
    for (const auto& entry : p_.env.registry.entries()) {
        auto* live = dynamic_cast<LiveStateHandler*>(entry->live);
        if (live == nullptr)
            continue;
        set_up_.push_back(live);
        const DestinationContext context{config_.capabilities};
        const std::int64_t since = p_.env.clock.now_ns();
        GW_TRY(with_context(live->load_setup(context), entry->idstr));
        p_.timeline->lasted(TimelineKind::Setup, entry->idstr, since);
        auto* acker = dynamic_cast<SwitchoverAcker*>(live);
        if (acker != nullptr && acker->switchover_ack_needed()) {
            ++acks;
            acker->on_approval([this] { approve(); });
        }
    }
    const std::lock_guard guard(reply_mutex_);
    approvals_missing_ = acks;
    return ok();
}

void Incoming::approve()
{
    bool last = false;
    {
        const std::lock_guard guard(reply_mutex_);
        last = approvals_missing_ != 0 && --approvals_missing_ == 0 && return_path_;
    }
    if (last && config_.capabilities.has(Capability::SwitchoverAck))
        (void)reply(ReturnMessage::SwitchoverAck, std::span<const std::byte>());
}

Result<void> Incoming::reply(ReturnMessage type, std::span<const std::byte> payload)
{
    stream::StreamWriter out;
    stream::write_return_message(out, type, payload);
    const std::lock_guard guard(reply_mutex_);
    return with_context(channel_->write_all(out.take()), "return path");
}

Result<void> Incoming::reply_be32(ReturnMessage type, std::uint32_t value)
{
    stream::StreamWriter out;
    out.put_be32(value);
    return reply(type, out.take());
}

// What the source's globalstate says about the guest.
Result<void> Incoming::start_guest()
{
    const system::MachineGuard guard(p_.env.lock);
    system::RunStateMachine& run_state = p_.env.run_state;
    RunState target = RunState::Running;
    if (global_state_seen_) {
        const std::string_view name = p_.global_state.name();
        const auto known = qapi::from_string<RunState>(name);
        if (!known)
            return Error(Errc::BadFormat,
                         fmt::format("globalstate: invalid parameter value: {}", name));
        target = *known;
        run_state.set_was_suspended(p_.global_state.vm_was_suspended != 0 ||
                                    target == RunState::Suspended);
    }
    if (target == RunState::Running || target == RunState::Suspended) {
        if (run_state.autostart())
            return run_state.start(RunState::Running);
        return run_state.set(RunState::Paused);
    }
    return run_state.set(target);
}

void Incoming::clean_up() noexcept
{
    for (LiveStateHandler* live : set_up_)
        live->load_cleanup();
    set_up_.clear();
}

void Incoming::finish(Result<void> result)
{
    clean_up();
    if (result) {
        // Nobody hears us in a file, and its set is free before anybody knows that we are done.
        if (channel_ && channel_->has(io::Feature::Seekable)) {
            (void)channel_->close();
            channel_.reset();
            accept_ = nullptr;
            return_path_ = timeline_wanted_ = false;
        }
        if (auto moved = p_.status.apply(Event::Finish); !moved)
            p_.env.log.report(moved.error());
        tell_timeline();
        // The guest runs here whatever becomes of this message.
        if (return_path_)
            if (auto said = reply_be32(ReturnMessage::Shut, 0u); !said)
                p_.env.log.warn(said.error().message());
        const bool asks = ticket_ && !thanked();
        yankable_.reset();
        if (channel_)
            (void)channel_->close();
        channel_.reset();
        if (asks)
            stay_for_questions(Fate::Started);
        accept_ = nullptr;
        return;
    }
    {
        const std::lock_guard guard(channel_mutex_);
        if (yanked_)
            result = std::move(result).error().context("the connection was yanked");
    }
    // Names out of the stream are in it.
    const Error error(result.error().code(), printable(result.error().message()));
    {
        const std::lock_guard guard(error_mutex_);
        error_ = error.message();
    }
    p_.timeline->set_error(error.message());
    if (!stopping_)
        p_.env.log.error("load of migration failed: " + error.message());
    const bool heard_out = return_path_ && explain(error);
    yankable_.reset();
    channel_.reset();
    if (!ticket_)
        accept_ = nullptr;
    if (auto moved = p_.status.apply(Event::Fail); !moved)
        p_.env.log.report(moved.error());
    if (ticket_ && !heard_out)
        stay_for_questions(Fate::Refused);
    accept_ = nullptr;
    if (config_.exit_on_error && !stopping_ && p_.env.exit_with_failure)
        p_.env.exit_with_failure();
}

}  // namespace godwit::migration
