// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/transfer.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace godwit::vfio_user_server {

Saver::Saver(BulkState& state)
    : state_(state), pages_(state.pages(), Page::Unread), unread_(state.pages()),
      handed_out_(state.pages())
{}

std::uint64_t Saver::initial_bytes() const noexcept
{
    return (begun_ ? 0 : sizeof(Record) + 8) + unread_ * kStatePage;
}

std::uint64_t Saver::remaining_bytes(std::size_t device_bytes) const noexcept
{
    std::uint64_t queued = 0;
    for (const auto& piece : queue_)
        queued += piece.size();
    if (stopped_ && tail_ == 2)
        return queued;
    const std::size_t runs = (unread_ + stale_ + kMaxRun - 1) / kMaxRun;
    return queued + initial_bytes() + dirty_bytes() + runs * sizeof(Record) + 2 * sizeof(Record) +
           device_bytes;
}

bool Saver::page_changes(std::size_t n) noexcept
{
    if (n >= run_first_ && n < run_end_)
        return false;
    if (pages_[n] == Page::Clean) {
        pages_[n] = Page::Stale;
        ++stale_;
    }
    return true;
}

void Saver::stop(std::vector<std::byte> device)
{
    stopped_ = true;
    device_ = std::move(device);
}

void Saver::head(const Record& record, std::span<const std::byte> rest)
{
    std::vector<std::byte>& bytes = heads_.emplace_back(sizeof record);
    std::memcpy(bytes.data(), &record, sizeof record);
    queue_.emplace_back(bytes);
    if (!rest.empty())
        queue_.push_back(rest);
}

/// Queues the next pages in order, from where the last run ended.
bool Saver::next_run()
{
    if (unread_ + stale_ == 0)
        return false;
    while (pages_[next_] == Page::Clean)
        next_ = (next_ + 1) % pages_.size();
    run_first_ = next_;
    while (next_ < pages_.size() && next_ - run_first_ < kMaxRun && pages_[next_] != Page::Clean) {
        --(pages_[next_] == Page::Unread ? unread_ : stale_);
        handed_out_.add(next_, state_.generation(next_));
        pages_[next_++] = Page::Clean;
    }
    run_end_ = next_;
    const std::size_t count = run_end_ - run_first_;
    head({RecordKind::Pages, static_cast<std::uint32_t>(count), run_first_},
         {state_.page(run_first_).data(), count * kStatePage});
    if (next_ == pages_.size())
        next_ = 0;
    return true;
}

bool Saver::next_item()
{
    run_first_ = run_end_ = 0;
    if (!begun_) {
        begun_ = true;
        std::vector<std::byte>& seed = heads_.emplace_back(8);
        const std::uint64_t value = state_.seed();
        std::memcpy(seed.data(), &value, sizeof value);
        head({RecordKind::Begin, kTransferVersion, state_.bytes()}, seed);
        return true;
    }
    if (next_run())
        return true;
    if (!stopped_ || tail_ == 2)
        return false;
    if (tail_++ == 0)
        head({RecordKind::Device, static_cast<std::uint32_t>(device_.size()), checksum(device_)},
             device_);
    else
        head({RecordKind::End, 0, handed_out_.sum()}, {});
    return true;
}

std::size_t Saver::read(std::size_t max, std::vector<std::span<const std::byte>>& pieces)
{
    if (queue_.empty())
        heads_.clear();
    std::size_t total = 0;
    while (total < max && (!queue_.empty() || next_item())) {
        std::span<const std::byte>& front = queue_.front();
        const auto piece = front.first(std::min(front.size(), max - total));
        pieces.push_back(piece);
        total += piece.size();
        if (piece.size() == front.size())
            queue_.pop_front();
        else
            front = front.subspan(piece.size());
    }
    return total;
}

Error Loader::bad(std::string_view what) const
{
    return Error(Errc::BadFormat, fmt::format("device state, byte {}: {}", position_, what));
}

Result<void> Loader::start_record()
{
    std::memcpy(&record_, head_.data(), sizeof record_);
    if (!begun_ && record_.kind != RecordKind::Begin)
        return bad("does not begin with a Begin record");
    switch (record_.kind) {
    case RecordKind::Begin:
        if (begun_)
            return bad("a second Begin record");
        if (record_.count != kTransferVersion)
            return bad(fmt::format("version {} is not known", record_.count));
        if (record_.first != state_.bytes())
            return bad(fmt::format("has {} bytes of state, this device {}", record_.first,
                                   state_.bytes()));
        begun_ = true;
        body_ = seed_;
        return {};
    case RecordKind::Pages:
        if (record_.count == 0 || record_.count > kMaxRun || record_.first >= state_.pages() ||
            record_.count > state_.pages() - record_.first)
            return bad(
                fmt::format("pages {}+{} of {}", record_.first, record_.count, state_.pages()));
        body_ = {state_.page(record_.first).data(), record_.count * kStatePage};
        return {};
    case RecordKind::Device:
        if (have_device_ || record_.count > kMaxDeviceRecord)
            return bad("a Device record that is not wanted");
        have_device_ = true;
        device_.resize(record_.count);
        body_ = device_;
        return {};
    case RecordKind::End:
        if (!have_device_)
            return bad("an End record before the Device record");
        ended_ = true;
        return {};
    }
    return bad(
        fmt::format("record kind {:#x} is not known", static_cast<std::uint32_t>(record_.kind)));
}

Result<void> Loader::end_body()
{
    if (record_.kind == RecordKind::Begin) {
        std::uint64_t seed = 0;
        std::memcpy(&seed, seed_.data(), sizeof seed);
        state_.adopt_seed(seed);
    } else if (record_.kind == RecordKind::Device && checksum(device_) != record_.first) {
        return bad("the registers' checksum is wrong");
    } else if (record_.kind == RecordKind::Pages) {
        for (std::size_t n = record_.first; n < record_.first + record_.count; ++n) {
            if (check_ && !state_.page_right(n))
                return bad(fmt::format("page {} is torn", n));
            seen_count_ += seen_[n] ? 0 : 1;
            seen_[n] = true;
            arrived_.add(n, state_.generation(n));
        }
    }
    return {};
}

Result<std::span<std::byte>> Loader::room()
{
    if (ended_)
        return bad("data after the End record");
    return body_.empty() ? std::span(head_).subspan(head_bytes_) : body_;
}

Result<void> Loader::took(std::size_t count)
{
    position_ += count;
    if (!body_.empty()) {
        body_ = body_.subspan(count);
        return body_.empty() ? end_body() : Result<void>();
    }
    head_bytes_ += count;
    if (head_bytes_ < head_.size())
        return {};
    head_bytes_ = 0;
    GW_TRY(start_record());
    return body_.empty() && !ended_ ? end_body() : Result<void>();
}

Result<void> Loader::feed(std::span<const std::byte> bytes)
{
    while (!bytes.empty()) {
        const std::span<std::byte> place = GW_TRY(room());
        const std::size_t n = std::min(bytes.size(), place.size());
        std::memcpy(place.data(), bytes.data(), n);
        bytes = bytes.subspan(n);
        GW_TRY(took(n));
    }
    return {};
}

Result<std::vector<std::byte>> Loader::finish() const
{
    if (!ended_)
        return bad("the data ends in the middle");
    if (seen_count_ != state_.pages())
        return bad(fmt::format("{} of {} pages came", seen_count_, state_.pages()));
    if (record_.first != arrived_.sum())
        return bad("the pages are not those of the source");
    return device_;
}

}  // namespace godwit::vfio_user_server
