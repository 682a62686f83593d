// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/unit/vfio/kernel/state_stream.h"

#include <algorithm>
#include <cstring>

namespace godwit::hw::vfio::test {

namespace {

constexpr std::uint64_t kMagic = 0x7374617465726563;
enum Kind : std::uint32_t { kData = 0, kEnd = 1 };

struct Header {
    std::uint64_t magic = kMagic;
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
    std::uint32_t kind = kData;
};
static_assert(sizeof(Header) == kRecordHeader);

std::uint64_t checksum(std::span<const std::byte> bytes)
{
    std::uint64_t sum = 0xcbf29ce484222325;
    for (const std::byte b : bytes)
        sum = (sum ^ static_cast<std::uint64_t>(b)) * 0x100000001b3;
    return sum;
}

std::vector<std::byte> record(const Header& header, std::span<const std::byte> data)
{
    std::vector<std::byte> bytes(sizeof header + data.size());
    std::memcpy(bytes.data(), &header, sizeof header);
    std::memcpy(bytes.data() + sizeof header, data.data(), data.size());
    return bytes;
}

std::size_t chunks_of(std::size_t bytes)
{
    return (bytes + kChunk - 1) / kChunk;
}

}  // namespace

StateSource::StateSource(std::span<const std::byte> state)
    : state_(state), chunks_(chunks_of(state.size()), Chunk::Unsent)
{}

void StateSource::changed(std::size_t at, std::size_t length)
{
    for (std::size_t n = at / kChunk; n < chunks_of(at + length); ++n)
        if (chunks_[n] == Chunk::Sent)
            chunks_[n] = Chunk::Stale;
}

std::optional<std::vector<std::byte>> StateSource::next(bool stopped)
{
    auto found = std::ranges::find(chunks_, Chunk::Unsent);
    if (found == chunks_.end())
        found = std::ranges::find(chunks_, Chunk::Stale);
    if (found != chunks_.end()) {
        const auto at = static_cast<std::size_t>(found - chunks_.begin()) * kChunk;
        const auto data = state_.subspan(at, std::min(kChunk, state_.size() - at));
        *found = Chunk::Sent;
        return record({.offset = at, .length = static_cast<std::uint32_t>(data.size())}, data);
    }
    if (!stopped || ended_)
        return std::nullopt;
    ended_ = true;
    const std::uint64_t sum = checksum(state_);
    return record({.offset = state_.size(), .length = sizeof sum, .kind = kEnd},
                  std::as_bytes(std::span(&sum, 1)));
}

std::uint64_t StateSource::initial_bytes() const
{
    return static_cast<std::uint64_t>(std::ranges::count(chunks_, Chunk::Unsent)) *
           (kChunk + kRecordHeader);
}

std::uint64_t StateSource::dirty_bytes() const
{
    return static_cast<std::uint64_t>(std::ranges::count(chunks_, Chunk::Stale)) *
           (kChunk + kRecordHeader);
}

std::uint64_t StateSource::left(bool stopped) const
{
    return initial_bytes() + dirty_bytes() +
           (stopped && !ended_ ? kRecordHeader + sizeof(std::uint64_t) : 0);
}

StateSink::StateSink(std::size_t bytes) : state_(bytes), seen_(chunks_of(bytes)) {}

bool StateSink::feed(std::span<const std::byte> bytes)
{
    partial_.insert(partial_.end(), bytes.begin(), bytes.end());
    while (!broken_ && partial_.size() >= sizeof(Header)) {
        Header header;
        std::memcpy(&header, partial_.data(), sizeof header);
        if (header.magic != kMagic || header.length > kChunk || ended_)
            broken_ = true;
        else if (partial_.size() < sizeof header + header.length)
            break;
        else
            broken_ = !take_record();
    }
    return !broken_;
}

bool StateSink::take_record()
{
    Header header;
    std::memcpy(&header, partial_.data(), sizeof header);
    const std::byte* const data = partial_.data() + sizeof header;
    if (header.kind == kEnd) {
        std::uint64_t sum = 0;
        std::memcpy(&sum, data, sizeof sum);
        ended_ = header.offset == state_.size() && std::ranges::all_of(seen_, std::identity{}) &&
                 sum == checksum(state_);
        if (!ended_)
            return false;
    } else {
        if (header.offset % kChunk != 0 || header.offset > state_.size() ||
            header.length > state_.size() - header.offset)
            return false;
        std::memcpy(state_.data() + header.offset, data, header.length);
        seen_[header.offset / kChunk] = true;
    }
    partial_.erase(partial_.begin(),
                   partial_.begin() + static_cast<std::ptrdiff_t>(sizeof header + header.length));
    return true;
}

std::optional<std::vector<std::byte>> StateSink::finish() const
{
    if (broken_ || !ended_ || !partial_.empty())
        return std::nullopt;
    return state_;
}

}  // namespace godwit::hw::vfio::test
