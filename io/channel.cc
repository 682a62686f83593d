// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/channel.h"

#include <algorithm>
#include <array>
#include <climits>
#include <fmt/core.h>
#include <poll.h>

namespace godwit::io {

namespace {

// What is left of a list of pieces, in portions the system takes. The list itself is never copied
// but for the portion that begins in the middle of a piece.
class Pieces {
public:
    explicit Pieces(std::span<const iovec> all) noexcept : rest_(all) { skip_empty(); }

    bool empty() const noexcept { return rest_.empty(); }
    std::span<const iovec> portion() noexcept
    {
        if (into_ == 0)
            return rest_.first(std::min<std::size_t>(rest_.size(), IOV_MAX));
        const std::size_t count = std::min(rest_.size(), copy_.size());
        std::copy_n(rest_.begin(), count, copy_.begin());
        copy_[0].iov_base = static_cast<std::byte*>(copy_[0].iov_base) + into_;
        copy_[0].iov_len -= into_;
        return std::span<const iovec>(copy_).first(count);
    }
    void advance(std::size_t bytes) noexcept
    {
        while (bytes > 0 && !rest_.empty()) {
            const std::size_t here = rest_[0].iov_len - into_;
            if (bytes < here) {
                into_ += bytes;
                return;
            }
            bytes -= here;
            into_ = 0;
            rest_ = rest_.subspan(1);
        }
        skip_empty();
    }

private:
    void skip_empty() noexcept
    {
        while (!rest_.empty() && rest_[0].iov_len == 0)
            rest_ = rest_.subspan(1);
    }
    std::span<const iovec> rest_;
    std::size_t into_ = 0;  // bytes of rest_[0] that are done
    std::array<iovec, 64> copy_;
};

Error unsupported(std::string_view what)
{
    return Error(Errc::Unsupported, fmt::format("{} is not supported", what));
}

constexpr auto kPeekInterval = std::chrono::milliseconds(1);

}  // namespace

std::size_t iovec_bytes(std::span<const iovec> pieces) noexcept
{
    std::size_t bytes = 0;
    for (const iovec& piece : pieces)
        bytes += piece.iov_len;
    return bytes;
}

Error Channel::told(Error error) const
{
    return std::move(error).context(describe());
}

Error Channel::ended(std::uint64_t at, std::size_t got, std::size_t wanted) const
{
    if (got == 0)
        return told(Error(Errc::Closed, fmt::format("end of stream at byte {}", at)));
    return told(Error(Errc::Truncated, fmt::format("end of stream after {} of {} bytes at byte {}",
                                                   got, wanted, at)));
}

void Channel::set_patience(Patience patience)
{
    patience_ = std::move(patience);
}

Result<void> Channel::wait(Direction direction)
{
    const PollTarget target = poll_target(direction);
    if (target.fd < 0)
        return told(Error(Errc::Closed, "channel is closed"));
    auto ready = wait_for_fd(target.fd, target.events, patience_, wake_fd(direction));
    if (!ready)
        return told(std::move(ready).error());
    return ok();
}

Result<void> Channel::wait_until_sent(std::uint32_t bytes)
{
    if (!set_queue_limit(bytes))
        return ok();
    auto waited = wait(Direction::Write);
    (void)set_queue_limit(0);
    return waited;
}

// --- one attempt ----------------------------------------------------------------------------

Result<std::optional<std::size_t>> Channel::try_readv(std::span<const iovec> to)
{
    Pieces pieces(to);
    if (pieces.empty())
        return 0;
    auto got = do_readv(pieces.portion());
    if (!got)
        return told(std::move(got).error());
    if (*got)
        read_.fetch_add(**got, std::memory_order_relaxed);
    return got;
}

Result<std::optional<std::size_t>> Channel::try_writev(std::span<const iovec> from)
{
    Pieces pieces(from);
    if (pieces.empty())
        return 0;
    auto wrote = do_writev(pieces.portion());
    if (!wrote)
        return told(std::move(wrote).error());
    if (*wrote)
        written_.fetch_add(**wrote, std::memory_order_relaxed);
    return wrote;
}

Result<std::optional<std::size_t>> Channel::try_read(std::span<std::byte> to)
{
    const iovec piece = as_iovec(to);
    return try_readv({&piece, 1});
}

Result<std::optional<std::size_t>> Channel::try_write(std::span<const std::byte> from)
{
    const iovec piece = as_iovec(from);
    return try_writev({&piece, 1});
}

Result<std::optional<std::size_t>> Channel::try_peek(std::span<std::byte> to)
{
    if (to.empty())
        return 0;
    auto got = do_peek(to);
    if (!got)
        return told(std::move(got).error());
    return got;
}

Result<std::optional<Received>> Channel::try_read_with_fds(std::span<std::byte> to)
{
    if (to.empty())
        return Received{};
    auto got = do_read_with_fds(to);
    if (!got)
        return told(std::move(got).error());
    if (*got)
        read_.fetch_add((*got)->bytes, std::memory_order_relaxed);
    return got;
}

Result<std::optional<std::size_t>> Channel::try_write_with_fds(std::span<const std::byte> from,
                                                               std::span<const int> fds)
{
    if (from.empty() || fds.size() > kMaxFdsPerMessage)
        return told(
            Error(Errc::InvalidArgument, fmt::format("cannot send {} descriptors with {} bytes",
                                                     fds.size(), from.size())));
    if (fds.empty())
        return try_write(from);
    auto wrote = do_write_with_fds(from, fds);
    if (!wrote)
        return told(std::move(wrote).error());
    if (*wrote)
        written_.fetch_add(**wrote, std::memory_order_relaxed);
    return wrote;
}

// --- until something happened ---------------------------------------------------------------

namespace {

// Repeats `attempt` until it returns something.
template <class Attempt>
auto until_done(Channel& channel, Direction direction, Attempt attempt)
    -> Result<typename std::invoke_result_t<Attempt>::value_type::value_type>
{
    for (;;) {
        auto done = GW_TRY(attempt());
        if (done)
            return std::move(*done);
        GW_TRY(channel.wait(direction));
    }
}

}  // namespace

Result<std::size_t> Channel::readv_some(std::span<const iovec> to)
{
    if (auto patient = patience_.check(); !patient)
        return told(std::move(patient).error());
    return until_done(*this, Direction::Read, [&] { return try_readv(to); });
}

Result<std::size_t> Channel::read_some(std::span<std::byte> to)
{
    const iovec piece = as_iovec(to);
    return readv_some({&piece, 1});
}

Result<std::size_t> Channel::write_some(std::span<const std::byte> from)
{
    if (auto patient = patience_.check(); !patient)
        return told(std::move(patient).error());
    return until_done(*this, Direction::Write, [&] { return try_write(from); });
}

// --- until all is done ----------------------------------------------------------------------

// False if the stream ended before the first byte.
Result<bool> Channel::fill(std::span<const iovec> to)
{
    const std::size_t wanted = iovec_bytes(to);
    const std::uint64_t start = bytes_read();
    std::size_t got = 0;
    for (Pieces pieces(to); !pieces.empty();) {
        const std::size_t some = GW_TRY(readv_some(pieces.portion()));
        if (some == 0 && got == 0)
            return false;
        if (some == 0)
            return ended(start, got, wanted);
        got += some;
        pieces.advance(some);
    }
    return true;
}

Result<void> Channel::drain(std::span<const iovec> from)
{
    for (Pieces pieces(from); !pieces.empty();) {
        if (auto patient = patience_.check(); !patient)
            return told(std::move(patient).error());
        const auto portion = pieces.portion();
        const std::size_t some =
            GW_TRY(until_done(*this, Direction::Write, [&] { return try_writev(portion); }));
        if (some == 0)
            return told(Error(Errc::Io, "nothing was written"));
        pieces.advance(some);
    }
    return ok();
}

Result<void> Channel::readv_exact(std::span<const iovec> to)
{
    if (!GW_TRY(fill(to)))
        return ended(bytes_read(), 0, iovec_bytes(to));
    return ok();
}

Result<void> Channel::read_exact(std::span<std::byte> to)
{
    const iovec piece = as_iovec(to);
    return readv_exact({&piece, 1});
}

Result<bool> Channel::read_exact_or_eof(std::span<std::byte> to)
{
    const iovec piece = as_iovec(to);
    return fill({&piece, 1});
}

Result<void> Channel::write_all(std::span<const std::byte> from)
{
    const iovec piece = as_iovec(from);
    return drain({&piece, 1});
}

Result<void> Channel::writev_all(std::span<const iovec> from)
{
    return drain(from);
}

Result<std::size_t> Channel::peek(std::span<std::byte> to, std::size_t at_least)
{
    if (to.empty())
        return 0;
    at_least = std::clamp<std::size_t>(at_least, 1, to.size());
    for (;;) {
        if (auto patient = patience_.check(); !patient)
            return told(std::move(patient).error());
        const bool done = peer_is_done();  // before we look: what came until then is seen
        const auto got = GW_TRY(try_peek(to));
        if (got && (*got == 0 || *got >= at_least || done))
            return *got;
        if (!got) {
            GW_TRY(wait(Direction::Read));
            continue;
        }
        // Readable, but not enough: no descriptor tells when there is more.
        Patience nap = patience_;
        const auto soon = Clock::now() + kPeekInterval;
        if (!nap.deadline || soon < *nap.deadline)
            nap.deadline = soon;
        auto slept = wait_for_fd(-1, 0, nap, wake_fd(Direction::Read));
        if (!slept && slept.error().code() != Errc::TimedOut)
            return told(std::move(slept).error());
    }
}

Result<void> Channel::write_with_fds(std::span<const std::byte> from, std::span<const int> fds)
{
    const std::size_t first =
        GW_TRY(until_done(*this, Direction::Write, [&] { return try_write_with_fds(from, fds); }));
    return write_all(from.subspan(first));
}

Result<Received> Channel::read_with_fds(std::span<std::byte> to)
{
    if (auto patient = patience_.check(); !patient)
        return told(std::move(patient).error());
    return until_done(*this, Direction::Read, [&] { return try_read_with_fds(to); });
}

// --- places in a file -----------------------------------------------------------------------

Result<void> Channel::preadv_exact(std::span<const iovec> to, std::uint64_t offset)
{
    const std::size_t wanted = iovec_bytes(to);
    std::size_t got = 0;
    for (Pieces pieces(to); !pieces.empty();) {
        auto some = do_preadv(pieces.portion(), offset + got);
        if (!some)
            return told(std::move(some).error());
        if (*some == 0)
            return told(
                Error(Errc::Truncated, fmt::format("end of file after {} of {} bytes at offset {}",
                                                   got, wanted, offset)));
        got += *some;
        pieces.advance(*some);
    }
    return ok();
}

Result<void> Channel::pwritev_all(std::span<const iovec> from, std::uint64_t offset)
{
    for (Pieces pieces(from); !pieces.empty();) {
        auto some = do_pwritev(pieces.portion(), offset);
        if (!some)
            return told(std::move(some).error());
        if (*some == 0)
            return told(Error(Errc::Io, "nothing was written"));
        offset += *some;
        pieces.advance(*some);
    }
    return ok();
}

Result<void> Channel::pread_exact(std::span<std::byte> to, std::uint64_t offset)
{
    const iovec piece = as_iovec(to);
    return preadv_exact({&piece, 1}, offset);
}

Result<void> Channel::pwrite_all(std::span<const std::byte> from, std::uint64_t offset)
{
    const iovec piece = as_iovec(from);
    return pwritev_all({&piece, 1}, offset);
}

// --- what not every kind can ----------------------------------------------------------------

Result<std::uint64_t> Channel::seek(std::uint64_t)
{
    return told(unsupported("seeking"));
}

Result<std::uint64_t> Channel::tell() const
{
    return told(unsupported("seeking"));
}

Result<std::optional<std::size_t>> Channel::do_peek(std::span<std::byte>)
{
    return unsupported("peeking");
}

Result<std::optional<Received>> Channel::do_read_with_fds(std::span<std::byte>)
{
    return unsupported("passing descriptors");
}

Result<std::optional<std::size_t>> Channel::do_write_with_fds(std::span<const std::byte>,
                                                              std::span<const int>)
{
    return unsupported("passing descriptors");
}

Result<std::size_t> Channel::do_preadv(std::span<const iovec>, std::uint64_t)
{
    return unsupported("reading at an offset");
}

Result<std::size_t> Channel::do_pwritev(std::span<const iovec>, std::uint64_t)
{
    return unsupported("writing at an offset");
}

}  // namespace godwit::io
