// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/faulty_channel.h"

#include "util/event_fd.h"

#include <algorithm>
#include <array>
#include <fmt/core.h>
#include <limits>
#include <mutex>
#include <poll.h>
#include <sys/timerfd.h>

namespace godwit::io {

namespace {

using Kind = Fault::Kind;

// The faults of one direction, lowest byte first, and how far we are.
struct Plan {
    struct Order : Fault {
        bool fired = false;  // what happens once has happened
    };
    std::vector<Order> faults;
    std::uint64_t at = 0;  // bytes that went through
    UniqueFd timer;        // of the delay we are in, if any
};

// How far a call may go, and what is to happen first.
struct Limit {
    std::size_t bytes = std::numeric_limits<std::size_t>::max();
    const Fault* stop = nullptr;  // Break, End or Stall right here
    bool wait = false;            // a delay runs
};

Result<UniqueFd> start_timer(std::chrono::milliseconds delay)
{
    UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    itimerspec when{};
    when.it_value.tv_sec = delay.count() / 1000;
    when.it_value.tv_nsec = delay.count() % 1000 * 1'000'000;
    if (delay.count() <= 0)
        when.it_value.tv_nsec = 1;  // 0 would never fire
    if (!timer || ::timerfd_settime(timer.get(), 0, &when, nullptr) < 0)
        return Error::from_errno("timerfd");
    return timer;
}

bool is_readable(int fd) noexcept
{
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, 0) > 0;
}

class FaultyChannel : public Channel {
public:
    FaultyChannel(ChannelPtr inner, EventFd read_woken, EventFd write_woken)
        : inner_(std::move(inner)), read_woken_(std::move(read_woken)),
          write_woken_(std::move(write_woken))
    {}
    void add(Fault fault)
    {
        if (fault.kind == Kind::Notify && !fault.reached)
            return;
        Plan& plan = plan_of(fault.direction);
        const auto place = std::ranges::upper_bound(plan.faults, fault.at, {}, &Fault::at);
        plan.faults.insert(place, Plan::Order{std::move(fault)});
    }

    PollTarget poll_target(Direction direction) const noexcept override
    {
        const Plan& plan = direction == Direction::Read ? reading_ : writing_;
        if (plan.timer)
            return {plan.timer.get(), POLLIN};
        if (is_stalled(plan))  // only wake_fd() ends it
            return {never_.get(), POLLIN};
        return inner_->poll_target(direction);
    }
    Result<void> shutdown(Shutdown how) override
    {
        if (how != Shutdown::Write)
            read_woken_.signal();
        if (how != Shutdown::Read)
            write_woken_.signal();
        return inner_->shutdown(how);
    }
    Result<void> close() override { return inner_->close(); }
    std::string describe() const override { return "faulty " + inner_->describe(); }
    bool has(Feature feature) const noexcept override { return inner_->has(feature); }
    int fd() const noexcept override { return inner_->fd(); }
    Result<std::uint64_t> seek(std::uint64_t offset) override { return inner_->seek(offset); }
    Result<std::uint64_t> tell() const override { return inner_->tell(); }
    bool peer_is_done() const noexcept override { return inner_->peer_is_done(); }
    Result<void> prepare()
    {
        EventFd never = GW_TRY(EventFd::create());
        never_ = GW_TRY(UniqueFd::dup_of(never.poll_fd()));
        return ok();
    }

protected:
    Result<std::optional<std::size_t>> do_readv(std::span<const iovec> to) override
    {
        if (read_woken_.is_signalled())
            return Error(Errc::Closed, "was shut down");
        const Limit limit = GW_TRY(next(reading_));
        if (limit.wait)
            return std::nullopt;
        if (limit.stop != nullptr && limit.stop->kind == Kind::End)
            return 0;
        std::vector<iovec> pieces = first_bytes(to, limit.bytes);
        auto got = GW_TRY(inner_->try_readv(pieces));
        if (got)
            corrupt(reading_, pieces, *got);
        return got;
    }
    Result<std::optional<std::size_t>> do_writev(std::span<const iovec> from) override
    {
        if (write_woken_.is_signalled())
            return Error(Errc::Closed, "was shut down");
        const Limit limit = GW_TRY(next(writing_));
        if (limit.wait)
            return std::nullopt;
        if (limit.stop != nullptr && limit.stop->kind == Kind::End)
            return iovec_bytes(from);  // swallowed
        // The caller's bytes are not ours to change: a corrupted one goes alone.
        const std::byte mask = mask_at(writing_, writing_.at);
        const std::byte first = first_byte(from) ^ mask;
        const auto pieces = first_bytes(from, std::min(limit.bytes, until_corrupt(writing_)));
        auto wrote = GW_TRY(mask != std::byte{0} ? inner_->try_write({&first, 1})
                                                 : inner_->try_writev(pieces));
        if (wrote)
            writing_.at += *wrote;
        return wrote;
    }
    Result<std::optional<std::size_t>> do_peek(std::span<std::byte> to) override
    {
        const Limit limit = GW_TRY(next(reading_));
        if (limit.wait)
            return std::nullopt;
        if (limit.stop != nullptr && limit.stop->kind == Kind::End)
            return 0;
        auto got = GW_TRY(inner_->try_peek(to.first(std::min(to.size(), limit.bytes))));
        for (std::size_t i = 0; got && i < *got; ++i)
            to[i] ^= mask_at(reading_, reading_.at + i);
        return got;
    }
    Result<std::optional<Received>> do_read_with_fds(std::span<std::byte> to) override
    {
        const Limit limit = GW_TRY(next(reading_));
        if (limit.wait)
            return std::nullopt;
        if (limit.stop != nullptr && limit.stop->kind == Kind::End)
            return Received{};
        const auto part = to.first(std::min(to.size(), limit.bytes));
        auto got = GW_TRY(inner_->try_read_with_fds(part));
        if (got) {
            const iovec piece = as_iovec(part);
            corrupt(reading_, {&piece, 1}, got->bytes);
        }
        return got;
    }
    Result<std::optional<std::size_t>> do_write_with_fds(std::span<const std::byte> from,
                                                         std::span<const int> fds) override
    {
        const Limit limit = GW_TRY(next(writing_));
        if (limit.wait)
            return std::nullopt;
        if (limit.stop != nullptr && limit.stop->kind == Kind::End)
            return from.size();
        auto wrote =
            GW_TRY(inner_->try_write_with_fds(from.first(std::min(from.size(), limit.bytes)), fds));
        if (wrote)
            writing_.at += *wrote;
        return wrote;
    }
    Result<std::size_t> do_preadv(std::span<const iovec> to, std::uint64_t offset) override
    {
        GW_TRY(inner_->preadv_exact(to, offset));
        return iovec_bytes(to);
    }
    Result<std::size_t> do_pwritev(std::span<const iovec> from, std::uint64_t offset) override
    {
        GW_TRY(inner_->pwritev_all(from, offset));
        return iovec_bytes(from);
    }
    int wake_fd(Direction direction) const noexcept override
    {
        return (direction == Direction::Read ? read_woken_ : write_woken_).poll_fd();
    }

private:
    Plan& plan_of(Direction direction) noexcept
    {
        return direction == Direction::Read ? reading_ : writing_;
    }
    static bool is_stalled(const Plan& plan) noexcept
    {
        return std::ranges::any_of(plan.faults, [&](const Fault& fault) {
            return fault.kind == Kind::Stall && plan.at >= fault.at;
        });
    }

    // Lets happen what is due before the next byte, and says how far the call may go.
    Result<Limit> next(Plan& plan)
    {
        Limit limit;
        if (plan.timer && !is_readable(plan.timer.get()))
            return Limit{.wait = true};
        plan.timer.reset();
        for (Plan::Order& fault : plan.faults) {
            const bool reached = plan.at >= fault.at;
            if (!reached && fault.kind != Kind::Corrupt)
                limit.bytes = std::min<std::uint64_t>(limit.bytes, fault.at - plan.at);
            if (!reached)
                continue;
            switch (fault.kind) {
            case Kind::Delay:
                if (fault.fired)
                    break;
                fault.fired = true;
                plan.timer = GW_TRY(start_timer(fault.delay));
                return Limit{.wait = true};
            case Kind::Notify:
                if (!fault.fired) {
                    fault.fired = true;
                    fault.reached();
                }
                break;
            case Kind::Shorten:
                limit.bytes = std::min(limit.bytes, std::max<std::size_t>(fault.chunk, 1));
                break;
            case Kind::Break:
                GW_TRY(inner_->shutdown(Shutdown::Both));
                return Error(Errc::Io, fmt::format("broken on order at byte {}", fault.at));
            case Kind::End:
                limit.stop = &fault;
                return limit;
            case Kind::Stall:
                return Limit{.wait = true};
            case Kind::Corrupt:
                break;
            }
        }
        return limit;
    }

    static std::vector<iovec> first_bytes(std::span<const iovec> pieces, std::size_t bytes)
    {
        std::vector<iovec> first;
        for (iovec piece : pieces) {
            piece.iov_len = std::min(piece.iov_len, bytes);
            bytes -= piece.iov_len;
            first.push_back(piece);
            if (bytes == 0)
                break;
        }
        return first;
    }
    static std::byte first_byte(std::span<const iovec> pieces) noexcept
    {
        for (const iovec& piece : pieces)
            if (piece.iov_len > 0)
                return *static_cast<const std::byte*>(piece.iov_base);
        return {};
    }
    // What byte `at` is xored with.
    static std::byte mask_at(const Plan& plan, std::uint64_t at) noexcept
    {
        std::byte mask{};
        for (const Fault& fault : plan.faults)
            if (fault.kind == Kind::Corrupt && fault.at == at)
                mask ^= std::byte{fault.mask};
        return mask;
    }
    // Bytes before the next one that is corrupted.
    static std::size_t until_corrupt(const Plan& plan) noexcept
    {
        for (const Fault& fault : plan.faults)  // they are sorted
            if (fault.kind == Kind::Corrupt && fault.at > plan.at)
                return fault.at - plan.at;
        return std::numeric_limits<std::size_t>::max();
    }
    // `count` bytes arrived in `pieces`.
    static void corrupt(Plan& plan, std::span<const iovec> pieces, std::size_t count) noexcept
    {
        std::uint64_t at = plan.at;
        plan.at += count;
        for (const iovec& piece : pieces) {
            const std::size_t part = std::min(piece.iov_len, count);
            auto* bytes = static_cast<std::byte*>(piece.iov_base);
            for (const Fault& fault : plan.faults)
                if (fault.kind == Kind::Corrupt && fault.at >= at && fault.at - at < part)
                    bytes[fault.at - at] ^= std::byte{fault.mask};
            at += part;
            count -= part;
        }
    }

    ChannelPtr inner_;
    Plan reading_;  // the reader's
    Plan writing_;  // the writer's
    EventFd read_woken_;
    EventFd write_woken_;
    UniqueFd never_;  // never readable
};

}  // namespace

Result<ChannelPtr> make_faulty(ChannelPtr inner, std::vector<Fault> faults)
{
    EventFd read_woken = GW_TRY(EventFd::create());
    EventFd write_woken = GW_TRY(EventFd::create());
    auto channel = std::make_unique<FaultyChannel>(std::move(inner), std::move(read_woken),
                                                   std::move(write_woken));
    GW_TRY(channel->prepare());
    for (Fault& fault : faults)
        channel->add(std::move(fault));
    return ChannelPtr(std::move(channel));
}

}  // namespace godwit::io
