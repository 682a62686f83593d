// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/memory_channel.h"

#include "util/event_fd.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <mutex>
#include <poll.h>
#include <string>

namespace godwit::io {

namespace {

// One direction: a bounded ring of bytes between a writer and a reader.
//
// Two events mirror, level for level, whether a try would do something; they are only changed under
// the lock. Descriptors wait at the byte they were sent with.
class Ring {
public:
    static Result<std::shared_ptr<Ring>> create(std::size_t capacity)
    {
        EventFd readable = GW_TRY(EventFd::create());
        EventFd writable = GW_TRY(EventFd::create());
        writable.signal();
        return std::make_shared<Ring>(capacity, std::move(readable), std::move(writable));
    }
    Ring(std::size_t capacity, EventFd readable, EventFd writable)
        : bytes_(capacity), readable_(std::move(readable)), writable_(std::move(writable))
    {}

    Result<std::optional<std::size_t>> read(std::span<const iovec> to, bool take,
                                            std::vector<UniqueFd>* fds)
    {
        const std::lock_guard lock(mutex_);
        if (reader_gone_)
            return Error(Errc::Closed, "was shut down");
        std::size_t limit = used_;
        if (limit == 0)
            return writer_gone_ ? std::optional<std::size_t>(0) : std::nullopt;
        if (take)
            limit = take_fds(limit, fds);
        std::size_t done = 0;
        for (const iovec& piece : to) {
            const std::size_t part = std::min(piece.iov_len, limit - done);
            copy_out(done, piece.iov_base, part);
            done += part;
        }
        if (take) {
            start_ = (start_ + done) % bytes_.size();
            used_ -= done;
            taken_ += done;
            update();
        }
        return done;
    }

    Result<std::optional<std::size_t>> write(std::span<const iovec> from, std::vector<UniqueFd> fds)
    {
        const std::lock_guard lock(mutex_);
        if (writer_gone_)
            return Error(Errc::Closed, "was shut down");
        if (reader_gone_)
            return Error(Errc::Io, "Unable to write: Broken pipe", EPIPE);
        const std::size_t room = bytes_.size() - used_;
        if (room == 0)
            return std::nullopt;
        if (!fds.empty())
            fds_.push_back({taken_ + used_, std::move(fds)});
        std::size_t done = 0;
        for (const iovec& piece : from) {
            const std::size_t part = std::min(piece.iov_len, room - done);
            copy_in(piece.iov_base, part);
            done += part;
        }
        update();
        return done;
    }

    void end_reading() noexcept
    {
        const std::lock_guard lock(mutex_);
        reader_gone_ = true;
        used_ = 0;
        fds_.clear();
        update();
    }
    void end_writing() noexcept
    {
        const std::lock_guard lock(mutex_);
        writer_gone_ = true;
        update();
    }
    bool writer_is_gone() const noexcept
    {
        const std::lock_guard lock(mutex_);
        return writer_gone_;
    }
    int readable_fd() const noexcept { return readable_.poll_fd(); }
    int writable_fd() const noexcept { return writable_.poll_fd(); }

private:
    struct Parcel {
        std::uint64_t at;  // the byte they came with
        std::vector<UniqueFd> fds;
    };

    // As on a Unix socket: one read takes at most one parcel, and does not run into the next.
    std::size_t take_fds(std::size_t limit, std::vector<UniqueFd>* fds)
    {
        bool took = false;
        while (!fds_.empty() && fds_.front().at < taken_ + limit) {
            Parcel& next = fds_.front();
            if (next.at > taken_ || took) {
                limit = std::min<std::size_t>(limit, next.at - taken_);
                break;
            }
            if (fds != nullptr)
                *fds = std::move(next.fds);
            fds_.pop_front();
            took = true;
        }
        return limit;
    }
    void copy_out(std::size_t from, void* to, std::size_t count) const noexcept
    {
        const std::size_t at = (start_ + from) % bytes_.size();
        const std::size_t first = std::min(count, bytes_.size() - at);
        if (first > 0)
            std::memcpy(to, bytes_.data() + at, first);
        if (count > first)
            std::memcpy(static_cast<std::byte*>(to) + first, bytes_.data(), count - first);
    }
    void copy_in(const void* from, std::size_t count) noexcept
    {
        const std::size_t at = (start_ + used_) % bytes_.size();
        const std::size_t first = std::min(count, bytes_.size() - at);
        if (first > 0)
            std::memcpy(bytes_.data() + at, from, first);
        if (count > first)
            std::memcpy(bytes_.data(), static_cast<const std::byte*>(from) + first, count - first);
        used_ += count;
    }
    void update() noexcept
    {
        set(readable_, is_readable_, used_ > 0 || writer_gone_ || reader_gone_);
        set(writable_, is_writable_, used_ < bytes_.size() || writer_gone_ || reader_gone_);
    }
    static void set(const EventFd& event, bool& is, bool wanted) noexcept
    {
        if (is == wanted)
            return;
        is = wanted;
        if (wanted)
            event.signal();
        else
            event.drain();
    }

    mutable std::mutex mutex_;  // guards all below
    std::vector<std::byte> bytes_;
    std::size_t start_ = 0;
    std::size_t used_ = 0;
    std::uint64_t taken_ = 0;  // bytes read since the beginning
    std::deque<Parcel> fds_;
    bool reader_gone_ = false;
    bool writer_gone_ = false;
    bool is_readable_ = false;
    bool is_writable_ = true;
    EventFd readable_;
    EventFd writable_;
};

class MemoryChannel : public Channel {
public:
    MemoryChannel(std::shared_ptr<Ring> in, std::shared_ptr<Ring> out, std::string name)
        : in_(std::move(in)), out_(std::move(out)), name_(std::move(name))
    {}
    ~MemoryChannel() override { end(Shutdown::Both); }

    PollTarget poll_target(Direction direction) const noexcept override
    {
        return {direction == Direction::Read ? in_->readable_fd() : out_->writable_fd(), POLLIN};
    }
    Result<void> shutdown(Shutdown how) override
    {
        end(how);
        return ok();
    }
    Result<void> close() override { return shutdown(Shutdown::Both); }
    std::string describe() const override { return name_; }
    bool has(Feature feature) const noexcept override { return feature != Feature::Seekable; }
    bool peer_is_done() const noexcept override { return in_->writer_is_gone(); }

protected:
    Result<std::optional<std::size_t>> do_readv(std::span<const iovec> to) override
    {
        return in_->read(to, true, nullptr);
    }
    Result<std::optional<std::size_t>> do_writev(std::span<const iovec> from) override
    {
        return out_->write(from, {});
    }
    Result<std::optional<std::size_t>> do_peek(std::span<std::byte> to) override
    {
        const iovec piece = as_iovec(to);
        return in_->read({&piece, 1}, false, nullptr);
    }
    Result<std::optional<Received>> do_read_with_fds(std::span<std::byte> to) override
    {
        const iovec piece = as_iovec(to);
        Received received;
        const auto got = GW_TRY(in_->read({&piece, 1}, true, &received.fds));
        if (!got)
            return std::nullopt;
        received.bytes = *got;
        return received;
    }
    Result<std::optional<std::size_t>> do_write_with_fds(std::span<const std::byte> from,
                                                         std::span<const int> fds) override
    {
        std::vector<UniqueFd> copies;
        for (const int fd : fds)
            copies.push_back(GW_TRY(UniqueFd::dup_of(fd)));
        const iovec piece = as_iovec(from);
        return out_->write({&piece, 1}, std::move(copies));
    }

private:
    void end(Shutdown how) noexcept
    {
        if (how != Shutdown::Write)
            in_->end_reading();
        if (how != Shutdown::Read)
            out_->end_writing();
    }
    std::shared_ptr<Ring> in_;
    std::shared_ptr<Ring> out_;
    std::string name_;
};

}  // namespace

Result<ChannelPair> make_memory_channels(std::size_t capacity, std::string_view name)
{
    if (capacity == 0)
        return Error(Errc::InvalidArgument, "memory channel: capacity is 0");
    auto there = GW_TRY(Ring::create(capacity));
    auto back = GW_TRY(Ring::create(capacity));
    auto first = std::make_unique<MemoryChannel>(back, there, std::string(name));
    auto second = std::make_unique<MemoryChannel>(there, back, std::string(name));
    return ChannelPair(std::move(first), std::move(second));
}

}  // namespace godwit::io
