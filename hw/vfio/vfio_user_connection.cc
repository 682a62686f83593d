// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/vfio_user_connection.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <sys/socket.h>

namespace godwit::hw::vfio::user {

using io::Clock;

/// Somebody who waits for an answer. Belongs to the waiter; the reader touches it only between
/// finding it in the table and setting `done`.
struct Connection::Pending {
    Request request;
    std::uint16_t id = 0;
    std::condition_variable woken{};
    bool filling = false;  // the reader writes into the request's buffers
    bool done = false;
    Result<Reply> result = Reply{};
};

namespace {

// Bytes that an answer may be longer than what we asked for: some servers pad.
constexpr std::size_t kMaxPadding = 64 * 1024;
// Requests that may be left without an answer before we stop sending more.
constexpr std::size_t kMaxAbandoned = 1024;
constexpr std::chrono::milliseconds kShortPatience{1000};
// Less than this is no pause in a message, but a busy host.
constexpr std::chrono::milliseconds kLeastPause{250};
constexpr int kSendBuffer = 1 << 20;

}  // namespace

Connection::Connection(std::string path, Options options, io::Cancel cancel)
    : path_(std::move(path)), options_(std::move(options)), cancel_(std::move(cancel))
{}

Result<std::unique_ptr<Connection>> Connection::connect(const std::string& path, Options options)
{
    auto channel = GW_TRY(io::connect_socket(
        io::UnixAddress{.path = path},
        {.patience = {.cancel = {}, .deadline = io::deadline_in(options.patience)}}));
    return adopt(std::move(channel), path, std::move(options));
}

Result<std::unique_ptr<Connection>> Connection::adopt(std::unique_ptr<io::SocketChannel> channel,
                                                      std::string path, Options options)
{
    // Data comes a megabyte at a time: the fewer times a writer has to be woken for one, the
    // better. As much as the host allows is enough.
    const int room = kSendBuffer;
    (void)::setsockopt(channel->fd(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    io::Cancel cancel = GW_TRY(io::Cancel::create());
    std::unique_ptr<Connection> made(
        new Connection(std::move(path), std::move(options), std::move(cancel)));
    Connection& c = *made;
    c.wire_ = std::make_unique<Wire>(std::move(channel), c.cancel_, c.mid_message());
    c.reader_ = NamedThread("vfio-user", [&c](const std::stop_token&) { c.read_loop(*c.wire_); });
    GW_TRY(c.negotiate());
    return made;
}

Connection::~Connection()
{
    cancel_.request();
    // The threads see it and end; NamedThread joins them.
}

void Connection::set_dma_target(DmaTarget* target) noexcept
{
    const std::lock_guard guard(target_mutex_);
    target_ = target;
}

/// Whoever waits no longer for an answer need not wait longer for the rest of one.
std::chrono::milliseconds Connection::mid_message() const
{
    return std::max(options_.patience, kLeastPause);
}

std::optional<Error> Connection::broken() const
{
    const std::lock_guard guard(mutex_);
    return broken_;
}

Error Connection::worded(Error error, std::string_view what) const
{
    const Errc code = error.code();
    const int os_errno = error.os_errno();
    return Error(code, fmt::format("{}: {} (socket {})", what, error.message(), path_), os_errno);
}

// --- Requests ------------------------------------------------------------------------------------

Connection::Started::Started(Connection& connection, std::unique_ptr<Pending> pending) noexcept
    : connection_(&connection), pending_(std::move(pending))
{}

Connection::Started::Started(Started&&) noexcept = default;

Connection::Started::~Started()
{
    if (pending_)
        connection_->let_go(*pending_);
}

Result<void> Connection::enter(Pending& pending)
{
    const std::lock_guard guard(mutex_);
    if (broken_)
        return *broken_;
    if (!stalled_on_.empty() && !pending.request.even_if_stalled)
        return Error(Errc::TimedOut, "the server still does not answer " + stalled_on_);
    if (abandoned_.size() >= kMaxAbandoned)
        return Error(Errc::TimedOut, "the server does not answer");
    while (pending_.contains(next_id_) || abandoned_.contains(next_id_))
        ++next_id_;
    pending.id = next_id_++;
    pending_[pending.id] = &pending;
    return ok();
}

/// A server that has not answered already is not waited for as long again.
std::chrono::milliseconds Connection::patience_for(const Request& request) const
{
    if (request.patience)
        return *request.patience;
    const std::lock_guard guard(mutex_);
    return stalled_on_.empty() ? options_.patience : std::min(options_.patience, kShortPatience);
}

Result<Reply> Connection::call(const Request& request)
{
    const auto patience = patience_for(request);
    const auto deadline = Clock::now() + patience;
    return finish(GW_TRY(start(request)), patience, deadline);
}

Result<Connection::Started> Connection::start(const Request& request)
{
    const auto deadline = io::deadline_in(patience_for(request));
    auto pending = std::make_unique<Pending>(request);
    if (auto entered = enter(*pending); !entered)
        return worded(std::move(entered).error(), request.what);
    const Header header{.id = pending->id, .command = static_cast<std::uint16_t>(request.command)};
    auto sent = wire_->send(header, request.pieces, request.fds, deadline);
    if (sent)
        return Started(*this, std::move(pending));
    std::unique_lock lock(mutex_);
    // A hostile server may answer what it did not get: wait until the reader is out of it.
    pending->woken.wait(lock, [&] { return !pending->filling || pending->done; });
    pending_.erase(pending->id);
    const Error& why = broken_ ? *broken_ : sent.error();
    return worded(Error(why.code(), "cannot send: " + why.message(), why.os_errno()), request.what);
}

Result<Reply> Connection::finish(Started started)
{
    const auto patience = patience_for(started.pending_->request);
    return finish(std::move(started), patience, Clock::now() + patience);
}

Result<Reply> Connection::finish(Started started, std::chrono::milliseconds patience,
                                 Clock::time_point deadline)
{
    const std::unique_ptr<Pending> pending = std::move(started.pending_);
    auto reply = await(*pending, patience, deadline);
    if (!reply)
        return worded(std::move(reply).error(), pending->request.what);
    return reply;
}

Result<Reply> Connection::await(Pending& pending, std::chrono::milliseconds patience,
                                Clock::time_point deadline)
{
    std::unique_lock lock(mutex_);
    pending.woken.wait_until(lock, deadline, [&] { return pending.done; });
    // An answer that has begun ends soon: the reader gives up on one that does not.
    pending.woken.wait(lock, [&] { return pending.done || !pending.filling; });
    if (pending.done)
        return std::move(pending.result);
    pending_.erase(pending.id);
    abandoned_.insert(pending.id);
    stalled_on_ = pending.request.what;
    return Error(Errc::TimedOut, fmt::format("no answer within {} ms", patience.count()));
}

void Connection::let_go(Pending& pending) noexcept
{
    std::unique_lock lock(mutex_);
    pending.woken.wait(lock, [&] { return pending.done || !pending.filling; });
    if (pending_.erase(pending.id) != 0)
        abandoned_.insert(pending.id);
}

// --- What comes ----------------------------------------------------------------------------------

void Connection::read_loop(Wire& wire)
{
    for (;;) {
        auto head = wire.receive_head();
        Result<void> taken =
            head ? take(wire, std::move(*head)) : std::unexpected<Error>(head.error());
        if (!taken) {
            give_up(taken.error());
            return;
        }
    }
}

void Connection::give_up(const Error& error)
{
    bool ours = error.code() == Errc::Cancelled;
    {
        const std::lock_guard guard(mutex_);
        ours = ours || broken_.has_value();
        if (!broken_)
            broken_ = error;
        for (auto& [id, pending] : pending_) {
            pending->result = std::unexpected<Error>(*broken_);
            pending->done = true;
            pending->woken.notify_all();
        }
        pending_.clear();
    }
    wire_->shut_down();
    if (!ours && options_.on_broken)
        options_.on_broken(error);
}

Result<void> Connection::take(Wire& wire, Wire::Head head)
{
    const std::uint32_t type = head.header.flags & kTypeMask;
    if (type == kTypeReply)
        return take_reply(wire, std::move(head));
    if (type == kTypeCommand)
        return serve(wire, head);
    return Error(Errc::BadFormat, fmt::format("a message of unknown type {}", type));
}

Result<void> Connection::take_reply(Wire& wire, Wire::Head head)
{
    const Header& header = head.header;
    Pending* pending = nullptr;
    {
        const std::lock_guard guard(mutex_);
        stalled_on_.clear();
        const auto found = pending_.find(header.id);
        if (found != pending_.end()) {
            pending = found->second;
            pending->filling = true;
        } else if (abandoned_.erase(header.id) == 0) {
            return Error(Errc::BadFormat,
                         fmt::format("an answer to message {}, which was never sent", header.id));
        }
    }
    if (pending == nullptr) {
        if (header.size - sizeof(Header) > (std::size_t{64} << 20))
            return Error(Errc::BadFormat, fmt::format("an answer of {} bytes", header.size));
        return wire.drop(header.size - sizeof(Header));
    }
    auto filled = fill(wire, head, *pending);
    const std::lock_guard guard(mutex_);
    pending->filling = false;
    if (!filled)
        return filled;  // give_up() tells it, with everybody else
    if (pending->result)
        pending->result->fds = std::move(head.fds);
    pending->done = true;
    pending_.erase(header.id);
    pending->woken.notify_all();
    return ok();
}

// Reads the payload to where the waiter wants it. An error means that the connection is useless.
Result<void> Connection::fill(Wire& wire, const Wire::Head& head, Pending& pending)
{
    const Request& request = pending.request;
    std::size_t left = head.header.size - sizeof(Header);
    if (left > request.into_fixed.size() + request.into_rest.size() + kMaxPadding)
        return Error(Errc::BadFormat, fmt::format("the answer to {} has {} bytes, more than asked "
                                                  "for",
                                                  request.what, left));
    if (head.header.command != static_cast<std::uint16_t>(request.command))
        return Error(Errc::BadFormat, fmt::format("the answer to {} is for command {}",
                                                  request.what, head.header.command));
    if ((head.header.flags & kError) != 0) {
        const auto number = static_cast<int>(std::min<std::uint32_t>(head.header.error, 4095));
        pending.result = Error::from_errno("the server refuses", number != 0 ? number : EIO);
        return wire.drop(left);
    }
    if (left < request.into_fixed.size()) {
        pending.result = Error(Errc::BadFormat, fmt::format("the answer has {} bytes instead of {}",
                                                            left, request.into_fixed.size()));
        return wire.drop(left);
    }
    GW_TRY(wire.receive(request.into_fixed));
    left -= request.into_fixed.size();
    const std::size_t rest = std::min(left, request.into_rest.size());
    GW_TRY(wire.receive(request.into_rest.first(rest)));
    pending.result->rest = rest;
    return wire.drop(left - rest);
}

// --- The server's requests -----------------------------------------------------------------------

Result<void> Connection::serve(Wire& wire, const Wire::Head& head)
{
    const auto command = static_cast<Command>(head.header.command);
    if (command == Command::DmaRead || command == Command::DmaWrite)
        return serve_dma(wire, head.header);
    if (head.header.size - sizeof(Header) > kOwnMaxTransfer + kMaxPadding)
        return Error(Errc::BadFormat, fmt::format("a request of {} bytes", head.header.size));
    GW_TRY(wire.drop(head.header.size - sizeof(Header)));
    return refuse(wire, head.header, ENOTSUP);
}

Result<void> Connection::refuse(Wire& wire, const Header& header, int os_errno)
{
    if ((header.flags & kNoReply) != 0)
        return ok();
    return wire.send({.id = header.id,
                      .command = header.command,
                      .flags = kTypeReply | kError,
                      .error = static_cast<std::uint32_t>(os_errno)},
                     {}, {}, io::deadline_in(options_.patience));
}

Result<void> Connection::serve_dma(Wire& wire, const Header& header)
{
    const bool write = header.command == static_cast<std::uint16_t>(Command::DmaWrite);
    DmaAccess access;
    const std::size_t payload = header.size - sizeof(Header);
    if (payload < sizeof access || payload - sizeof access > kOwnMaxTransfer)
        return Error(Errc::BadFormat,
                     fmt::format("a {} of {} bytes", write ? "DMA_WRITE" : "DMA_READ", payload));
    GW_TRY(wire.receive(std::as_writable_bytes(std::span(&access, 1))));
    const std::size_t sent = payload - sizeof access;
    if (access.count > kOwnMaxTransfer || (write && access.count != sent)) {
        GW_TRY(wire.drop(sent));
        return refuse(wire, header, EINVAL);
    }
    std::vector<std::byte> data(access.count);
    if (write)
        GW_TRY(wire.receive(data));
    else
        GW_TRY(wire.drop(sent));
    Result<void> done = ok();
    {
        const std::lock_guard guard(target_mutex_);
        if (target_ == nullptr)
            done = Error::from_errno("no guest memory", EFAULT);
        else
            done = write ? target_->dma_write(access.address, data)
                         : target_->dma_read(access.address, data);
    }
    if (!done)
        return refuse(wire, header,
                      done.error().os_errno() != 0 ? done.error().os_errno() : EFAULT);
    if ((header.flags & kNoReply) != 0)
        return ok();
    const std::array<iovec, 2> pieces{
        {{&access, sizeof access}, {data.data(), write ? 0 : data.size()}}};
    return wire.send({.id = header.id, .command = header.command, .flags = kTypeReply}, pieces, {},
                     io::deadline_in(options_.patience));
}

}  // namespace godwit::hw::vfio::user
