// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/ram_loader.h"

#include "migration/ram/ram_format.h"
#include "migration/ram/xbzrle.h"
#include "migration/ram/zero_page.h"
#include "system/main_loop.h"
#include "system/populated_pages.h"
#include "util/byte_order.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>

namespace godwit::migration {

using system::kPageBits;
using system::kPageSize;
using system::RamSource;

namespace {

Error bad(StreamReader& in, std::string message)
{
    return in.error_here(Errc::BadFormat, std::move(message));
}

// What the machine put there while it was built (firmware, a kernel) comes with the stream if it is
// still there at the source.
Result<void> empty(system::RamBlock& block, const system::PopulatedPages& populated)
{
    const bool drops_to_zero = block.fd() < 0 || block.shared();
    for (const system::PageRun& run : populated.runs(block)) {
        const std::uint64_t offset = run.first << kPageBits;
        const std::uint64_t length = run.count << kPageBits;
        // Huge pages are dropped whole or not at all.
        const bool whole = offset % block.page_size() == 0 && length % block.page_size() == 0;
        if (drops_to_zero && whole && block.discard(offset, length))
            continue;
        for (std::uint64_t at = offset; at < offset + length; at += kPageSize)
            if (!is_zero(block.host() + at, kPageSize))
                std::memset(block.host() + at, 0, kPageSize);
    }
    return ok();
}

}  // namespace

Result<void> RamLoader::setup()
{
    const system::MachineGuardIfNeeded guard(env_.lock);
    const system::PopulatedPages populated = system::PopulatedPages::open();
    for (system::RamBlock* block : env_.memory.blocks()) {
        if (!block->migratable())
            continue;
        if (block->writable())
            GW_TRY(empty(*block, populated));
        blocks_.push_back({block, std::vector<bool>(block->max_length() >> kPageBits)});
    }
    return ok();
}

Result<void> RamLoader::load(StreamReader& in)
{
    for (;;) {
        const std::uint64_t word = GW_TRY(in.get_be64());
        if (word == kRamEos)
            return ok();
        if (word == kRamMultifdFlush)
            continue;
        if ((word & kRamFlagMask) == kRamMemSize)
            GW_TRY(load_list(in, word & ~kRamFlagMask));
        else
            GW_TRY(load_record(in, word));
    }
}

Result<void> RamLoader::load_list(StreamReader& in, std::uint64_t total)
{
    while (total != 0) {
        const std::string name = GW_TRY(in.get_str8());
        const std::uint64_t length = GW_TRY(in.get_be64());
        Block* found = nullptr;
        for (Block& candidate : blocks_)
            if (candidate.block->id() == name)
                found = &candidate;
        if (found == nullptr)
            return bad(in, fmt::format("Unknown ramblock \"{}\", cannot accept migration", name));
        system::RamBlock& block = *found->block;
        if (length != block.used_length()) {
            const system::MachineGuardIfNeeded guard(env_.lock);
            if (length == 0 || length > block.max_length() || length % kPageSize != 0 ||
                block.max_length() == block.used_length() || !block.resize(length))
                return bad(in, fmt::format("Size mismatch: {}: {:#x} != {:#x}: Invalid argument",
                                           name, length, block.used_length()));
        }
        if (length > total)
            return bad(in, fmt::format("Illegal RAM list: '{}' has {:#x} bytes, {:#x} were left",
                                       name, length, total));
        total -= length;
    }
    last_ = nullptr;
    return ok();
}

Result<RamLoader::Block*> RamLoader::named_block(StreamReader& in)
{
    const std::string name = GW_TRY(in.get_str8());
    for (Block& block : blocks_)
        if (block.block->id() == name)
            return &block;
    return bad(in, fmt::format("Can't find block {}", name));
}

Result<void> RamLoader::load_record(StreamReader& in, std::uint64_t word)
{
    const std::uint64_t flags = word & kRamFlagMask;
    const std::uint64_t kind = flags & ~kRamContinue;
    const std::uint64_t offset = word & ~kRamFlagMask;
    if (kind != kRamZero && kind != kRamPage && kind != kRamXbzrle)
        return bad(in, fmt::format("Unknown combination of migration flags: {:#x}", flags));
    if ((flags & kRamContinue) == 0)
        last_ = GW_TRY(named_block(in));
    if (last_ == nullptr)
        return bad(in, "Ack, bad migration stream!");
    Block& block = *last_;
    const std::uint64_t length = block.block->used_length();
    if (offset >= length || length - offset < kPageSize)
        return bad(in,
                   fmt::format("Illegal RAM offset {:#x} in block {}", offset, block.block->id()));
    if (!block.block->writable())
        return compare(in, *block.block, kind, offset);
    if (kind == kRamZero)
        GW_TRY(load_zero(in, block, offset));
    else if (kind == kRamPage)
        GW_TRY(load_page(in, block, offset));
    else
        GW_TRY(load_xbzrle(in, block, offset));
    block.received[offset >> kPageBits] = true;
    ++pages_;
    streak_ = kind == kRamPage && (streak_ == 0 || offset == next_offset_) ? streak_ + 1 : 0;
    next_offset_ = offset + kPageSize;
    return streak_ >= kStreak ? load_ahead(in, block, next_offset_) : ok();
}

// --- Reading ahead -------------------------------------------------------------------------------
//
// In a first pass page follows page, each behind 8 bytes that can be foretold. So one read takes
// many of them straight to where they belong, and the headers are looked at afterwards. Only pages
// that did not come before are read that way: if a header is not what was foretold, what came
// behind it goes back into the stream, and the pages it had landed in become what they were: zero.

namespace {

constexpr std::size_t kHeader = 8;

std::uint64_t foretold(std::uint64_t offset)
{
    return offset | kRamPage | kRamContinue;
}

}  // namespace

Result<void> RamLoader::load_ahead(StreamReader& in, Block& block, std::uint64_t offset)
{
    for (;;) {
        const std::size_t come = in.ready().size();
        if (!in.has_source() || come >= kHeader)
            return ok();
        const std::uint64_t most =
            std::min<std::uint64_t>(ahead_, in.buffer_bytes() / (kHeader + kPageSize));
        const std::uint64_t pages = prepare_ahead(block, offset, most, come);
        if (pages == 0)
            return ok();
        fills(block, offset, pages << kPageBits);
        GW_TRY(in.get_bytes({ahead_headers_[0].data(), come}));
        const std::size_t got = GW_TRY(in.read_past(ahead_pieces_))
        +come;
        const std::uint64_t taken = GW_TRY(take_ahead(in, block, offset, got));
        offset += taken << kPageBits;
        next_offset_ = offset;
        if (taken == 0 || streak_ == 0)
            return ok();
    }
}

// Pages that hold nothing yet are about to be filled. Where that goes on in one piece for long,
// what it will reach next is populated meanwhile: a quarter of its length and no more than
// kMostWanted chunks, so that little is taken for nothing where it ends. A file has its pages
// already.
void RamLoader::fills(const Block& to, std::uint64_t offset, std::uint64_t bytes)
{
    constexpr std::uintptr_t kChunk = Populator::kChunk;
    const system::RamBlock& block = *to.block;
    const auto base = reinterpret_cast<std::uintptr_t>(block.host());
    // Less may have come than was said the last time.
    if (base + offset < filled_from_ || base + offset > filled_to_)
        filled_from_ = base + offset;
    filled_to_ = base + offset + bytes;
    const std::uintptr_t last = (filled_to_ - 1) / kChunk * kChunk;
    if (last == settled_)
        return;
    const bool ours = block.fd() < 0 || (block.shared() && block.source() != RamSource::File);
    if (!ours || block.page_size() > kPageSize)
        return;
    settled_ = last;
    populator_.settle(reinterpret_cast<std::byte*>(last));
    const std::uint64_t ahead =
        std::min((base + offset - filled_from_) / (4 * kChunk), kMostWanted);
    const std::uintptr_t end =
        std::min(last + kChunk + ahead * kChunk, (base + block.used_length()) / kChunk * kChunk);
    const bool goes_on = wanted_end_ > last && wanted_end_ <= end;
    for (std::uintptr_t at = goes_on ? wanted_end_ : last + kChunk; at < end; at += kChunk)
        populator_.want(reinterpret_cast<std::byte*>(at));
    wanted_end_ = std::max(end, last + kChunk);
}

// Where the next records go if they are what we think; `come` bytes of the first one are here.
std::uint64_t RamLoader::prepare_ahead(const Block& block, std::uint64_t offset, std::uint64_t most,
                                       std::size_t come)
{
    const std::uint64_t length = block.block->used_length();
    const bool fits = offset < length && block.block->writable();
    const std::uint64_t room = fits ? (length - offset) >> kPageBits : 0;
    std::uint64_t pages = 0;
    while (pages < std::min(most, room) && !block.received[(offset >> kPageBits) + pages])
        ++pages;
    ahead_headers_.resize(pages);
    ahead_pieces_.clear();
    for (std::uint64_t i = 0; i < pages; ++i) {
        const std::size_t skip = i == 0 ? come : 0;
        ahead_pieces_.push_back({ahead_headers_[i].data() + skip, kHeader - skip});
        ahead_pieces_.push_back({block.block->host() + offset + (i << kPageBits), kPageSize});
    }
    return pages;
}

// Looks at the headers of what came; returns how many pages are complete now.
Result<std::uint64_t> RamLoader::take_ahead(StreamReader& in, Block& block, std::uint64_t offset,
                                            std::size_t got)
{
    for (std::uint64_t i = 0; i < ahead_headers_.size(); ++i) {
        if (got == 0)
            return i;
        if (got < kHeader || load_be<std::uint64_t>(ahead_headers_[i].data()) !=
                                 foretold(offset + (i << kPageBits))) {
            untake(in, i, got);
            return i;
        }
        got -= kHeader;
        const std::size_t landed = std::min<std::size_t>(got, kPageSize);
        got -= landed;
        std::byte* const page = block.block->host() + offset + (i << kPageBits);
        GW_TRY(in.get_bytes_only({page + landed, kPageSize - landed}));
        block.received[(offset >> kPageBits) + i] = true;
        ++pages_;
    }
    ahead_ = std::min(ahead_ * 2, kMostAhead);
    return ahead_headers_.size();
}

// From header `first` on it was something else: `got` bytes go back.
void RamLoader::untake(StreamReader& in, std::uint64_t first, std::size_t got)
{
    std::vector<iovec> back;
    for (std::uint64_t i = first; got != 0; ++i) {
        back.push_back({ahead_headers_[i].data(), std::min(got, kHeader)});
        got -= back.back().iov_len;
        if (got == 0)
            break;
        back.push_back({ahead_pieces_[2 * i + 1].iov_base, std::min<std::size_t>(got, kPageSize)});
        got -= back.back().iov_len;
    }
    in.give_back(back);
    for (std::size_t i = 1; i < back.size(); i += 2)
        std::memset(back[i].iov_base, 0, back[i].iov_len);
    if (back.size() > 1) {
        streak_ = 0;
        ahead_ = std::max<std::uint64_t>(ahead_ / 4, 4);
    }
}

// A block that is mapped read-only (a file with `readonly=on`) has its contents already.
Result<void> RamLoader::compare(StreamReader& in, const system::RamBlock& block, std::uint64_t kind,
                                std::uint64_t offset)
{
    const auto differs = [&] {
        return bad(in, fmt::format("Block {} is read-only here, and its page at {:#x} differs",
                                   block.id(), offset));
    };
    std::array<std::byte, kPageSize> page{};
    if (kind == kRamPage) {
        GW_TRY(in.get_bytes(page));
    } else {
        if (const std::uint8_t fill = GW_TRY(in.get_u8()); kind != kRamZero || fill != 0)
            return bad(in, fmt::format("Block {} is read-only here", block.id()));
        // If ours is not zero, what lies in it comes next.
        if (!is_zero(block.host() + offset, kPageSize)) {
            if (GW_TRY(in.get_be64()) != (offset | kRamXbzrle | kRamContinue))
                return differs();
            GW_TRY(apply_difference(in, block, offset, page));
        }
    }
    if (std::memcmp(page.data(), block.host() + offset, kPageSize) != 0)
        return differs();
    ++pages_;
    return ok();
}

Result<void> RamLoader::apply_difference(StreamReader& in, const system::RamBlock& block,
                                         std::uint64_t offset, std::span<std::byte, kPageSize> page)
{
    const std::uint8_t encoding = GW_TRY(in.get_u8());
    const std::uint16_t length = GW_TRY(in.get_be16());
    if (encoding != kXbzrleEncoding)
        return bad(in, "Failed to load XBZRLE page - wrong compression!");
    if (length > kPageSize)
        return bad(in, "Failed to load XBZRLE page - len overflow!");
    std::array<std::byte, kPageSize> difference;
    GW_TRY(in.get_bytes(std::span(difference).first(length)));
    auto applied = xbzrle_decode(std::span(difference).first(length), page);
    if (!applied)
        return bad(in, fmt::format("Failed to load XBZRLE page at {:#x} in block {}: {}", offset,
                                   block.id(), applied.error().message()));
    return ok();
}

Result<void> RamLoader::load_page(StreamReader& in, Block& block, std::uint64_t offset)
{
    if (!block.received[offset >> kPageBits])
        fills(block, offset, kPageSize);
    return in.get_bytes_only({block.block->host() + offset, kPageSize});
}

Result<void> RamLoader::load_zero(StreamReader& in, Block& block, std::uint64_t offset)
{
    const std::uint8_t fill = GW_TRY(in.get_u8());
    if (fill != 0)
        return bad(in, fmt::format("Found a zero page with value {}", fill));
    std::byte* const page = block.block->host() + offset;
    if (!block.received[offset >> kPageBits])
        blank_ = reinterpret_cast<std::uintptr_t>(page);
    else if (!is_zero(page, kPageSize))
        std::memset(page, 0, kPageSize);
    return ok();
}

// Of a page that was only just zero and never touched it is the first content: mostly-zero pages
// come as these two records.
Result<void> RamLoader::load_xbzrle(StreamReader& in, Block& block, std::uint64_t offset)
{
    std::byte* const page = block.block->host() + offset;
    if (reinterpret_cast<std::uintptr_t>(page) == blank_)
        fills(block, offset, kPageSize);
    blank_ = 0;
    return apply_difference(in, *block.block, offset,
                            std::span<std::byte, kPageSize>(page, kPageSize));
}

}  // namespace godwit::migration
