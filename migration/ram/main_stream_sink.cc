// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/main_stream_sink.h"

#include "migration/ram/ram_format.h"
#include "migration/ram/zero_page.h"
#include "util/byte_order.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace godwit::migration {

using system::kPageBits;
using system::kPageSize;

namespace {

constexpr std::size_t kLongestHeader = 8 + 1 + 255 + 3;
constexpr std::size_t kHeaderRoom = std::size_t{128} << 10;

}  // namespace

MainStreamSink::MainStreamSink(stream::StreamWriter& out, Statistics& statistics, Options options)
    : out_(out), statistics_(statistics), options_(options)
{
    headers_.reserve(kHeaderRoom);
    pieces_.reserve(kMaxPieces + 2);
}

Result<void> MainStreamSink::open()
{
    if (options_.xbzrle_cache_bytes != 0)
        cache_.emplace(GW_TRY(XbzrleCache::create(options_.xbzrle_cache_bytes)));
    return ok();
}

void MainStreamSink::pass_begins(std::uint64_t pass)
{
    pass_ = pass;
}

void MainStreamSink::put_header(std::span<const std::byte> bytes)
{
    const std::size_t at = headers_.size();
    headers_.insert(headers_.end(), bytes.begin(), bytes.end());
    std::byte* const start = headers_.data() + at;
    // Headers that follow each other are one piece.
    if (!pieces_.empty()) {
        iovec& last = pieces_.back();
        if (static_cast<std::byte*>(last.iov_base) + last.iov_len == start) {
            last.iov_len += bytes.size();
            bytes_ += bytes.size();
            return;
        }
    }
    pieces_.push_back({start, bytes.size()});
    bytes_ += bytes.size();
}

void MainStreamSink::put_memory(const std::byte* bytes, std::size_t size)
{
    pieces_.push_back({const_cast<std::byte*>(bytes), size});
    bytes_ += size;
}

void MainStreamSink::begin_record(system::RamBlock& block, std::uint64_t word)
{
    std::array<std::byte, 8> head;
    const bool same = last_block_ == &block;
    store_be<std::uint64_t>(head.data(), word | (same ? kRamContinue : 0));
    put_header(head);
    if (same)
        return;
    last_block_ = &block;
    const std::byte length{static_cast<std::uint8_t>(block.id().size())};
    put_header({&length, 1});
    put_header(std::as_bytes(std::span(block.id())));
}

void MainStreamSink::put_zero(system::RamBlock& block, std::uint64_t offset)
{
    begin_record(block, offset | kRamZero);
    const std::byte zero{0};
    put_header({&zero, 1});
}

void MainStreamSink::put_encoded(system::RamBlock& block, std::uint64_t offset,
                                 std::span<const std::byte> difference)
{
    begin_record(block, offset | kRamXbzrle);
    std::array<std::byte, 3> head{std::byte{kXbzrleEncoding}};
    store_be<std::uint16_t>(head.data() + 1, static_cast<std::uint16_t>(difference.size()));
    put_header(head);
    put_header(difference);
}

PageContent MainStreamSink::content_of(const std::byte* page) noexcept
{
    if (!options_.detect_zero)
        return PageContent::Full;
    if (options_.spare_zeros)
        return reader_.read(page);
    return is_zero(page, kPageSize) ? PageContent::Zero : PageContent::Full;
}

// What the reader found: whatever the page holds there, it is zero first, and then what it is here.
void MainStreamSink::put_mostly_zero(system::RamBlock& block, std::uint64_t offset)
{
    constexpr std::size_t kWhole = 8 + kPageSize;
    const std::size_t before = bytes_;
    put_zero(block, offset);
    put_encoded(block, offset, reader_.difference());
    const std::size_t took = bytes_ - before;
    statistics_.normal_pages.fetch_add(1, std::memory_order_relaxed);
    statistics_.mostly_zero_pages.fetch_add(1, std::memory_order_relaxed);
    statistics_.mostly_zero_bytes.fetch_add(took, std::memory_order_relaxed);
    statistics_.spared_bytes.fetch_add(kWhole - std::min(took, kWhole), std::memory_order_relaxed);
}

// What the cache remembers must be what was sent, so the copy goes and not the guest's page.
void MainStreamSink::put_copy(system::RamBlock& block, std::uint64_t offset,
                              std::span<const std::byte> copy)
{
    if (content_of(copy.data()) == PageContent::MostlyZero)
        return put_mostly_zero(block, offset);
    begin_record(block, offset | kRamPage);
    put_header(copy);
    statistics_.normal_pages.fetch_add(1, std::memory_order_relaxed);
}

void MainStreamSink::put_difference(system::RamBlock& block, std::uint64_t page, bool last)
{
    const std::uint64_t offset = page << kPageBits;
    const auto key = reinterpret_cast<std::uintptr_t>(block.host() + offset);
    std::array<std::byte, kPageSize> encoded;
    std::array<std::byte, kPageSize> now;
    // The guest may be writing: encode and remember one and the same copy.
    std::memcpy(now.data(), block.host() + offset, kPageSize);
    std::byte* const old = cache_->find(key);
    if (old == nullptr) {
        statistics_.xbzrle_cache_miss.fetch_add(1, std::memory_order_relaxed);
        if (!last)
            cache_->insert(key, now, pass_);
        return put_copy(block, offset, now);
    }
    const auto length =
        xbzrle_encode(std::span<const std::byte, kXbzrlePage>(old, kXbzrlePage), now, encoded);
    cache_->touch(key, pass_);
    if (!last)
        std::memcpy(old, now.data(), kPageSize);
    if (length == 0u)
        return;  // nothing changed: nothing is sent
    if (!length) {
        statistics_.xbzrle_overflow.fetch_add(1, std::memory_order_relaxed);
        return put_copy(block, offset, now);
    }
    put_encoded(block, offset, std::span(encoded).first(*length));
    statistics_.xbzrle_pages.fetch_add(1, std::memory_order_relaxed);
    statistics_.xbzrle_bytes.fetch_add(*length + 11, std::memory_order_relaxed);
}

void MainStreamSink::put_page(system::RamBlock& block, std::uint64_t page, bool last)
{
    const std::uint64_t offset = page << kPageBits;
    const std::byte* const bytes = block.host() + offset;
    const PageContent content = content_of(bytes);
    if (content == PageContent::Zero) {
        if (cache_)
            cache_->insert(reinterpret_cast<std::uintptr_t>(bytes),
                           std::array<std::byte, kPageSize>{}, pass_);
        put_zero(block, offset);
        statistics_.zero_pages.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    // The first pass only fills: there is nothing older at the destination.
    if (cache_ && pass_ > 1)
        return put_difference(block, page, last);
    if (content == PageContent::MostlyZero)
        return put_mostly_zero(block, offset);
    begin_record(block, offset | kRamPage);
    put_memory(bytes, kPageSize);
    statistics_.normal_pages.fetch_add(1, std::memory_order_relaxed);
}

Result<void> MainStreamSink::send(const BlockRun& run, bool last)
{
    for (std::uint64_t i = 0; i < run.pages.count; ++i) {
        if (pieces_.size() >= kMaxPieces || bytes_ >= kMaxBytes ||
            headers_.size() + 2 * kLongestHeader + kPageSize > headers_.capacity())
            GW_TRY(flush());
        put_page(*run.block, run.pages.first + i, last);
    }
    return ok();
}

Result<void> MainStreamSink::flush()
{
    if (pieces_.empty())
        return ok();
    GW_TRY(out_.write_direct(pieces_));
    statistics_.transferred.store(out_.position(), std::memory_order_relaxed);
    pieces_.clear();
    headers_.clear();
    bytes_ = 0;
    return ok();
}

}  // namespace godwit::migration
