// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/ram_loader.h"

#include "migration/ram/ram_format.h"
#include "migration/ram/xbzrle.h"
#include "migration/ram/zero_page.h"
#include "system/main_loop.h"
#include "system/populated_pages.h"

#include <array>
#include <cstring>
#include <fmt/format.h>

namespace godwit::migration {

using system::kPageBits;
using system::kPageSize;

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
        GW_TRY(in.get_bytes({block.block->host() + offset, kPageSize}));
    else
        GW_TRY(load_xbzrle(in, block, offset));
    block.received[offset >> kPageBits] = true;
    ++pages_;
    return ok();
}

// A block that is mapped read-only (a file with `readonly=on`) has its contents already.
Result<void> RamLoader::compare(StreamReader& in, const system::RamBlock& block, std::uint64_t kind,
                                std::uint64_t offset)
{
    std::array<std::byte, kPageSize> page{};
    if (kind == kRamPage)
        GW_TRY(in.get_bytes(page));
    else if (const std::uint8_t fill = GW_TRY(in.get_u8()); kind != kRamZero || fill != 0)
        return bad(in, fmt::format("Block {} is read-only here", block.id()));
    if (std::memcmp(page.data(), block.host() + offset, kPageSize) != 0)
        return bad(in, fmt::format("Block {} is read-only here, and its page at {:#x} differs",
                                   block.id(), offset));
    ++pages_;
    return ok();
}

Result<void> RamLoader::load_zero(StreamReader& in, Block& block, std::uint64_t offset)
{
    const std::uint8_t fill = GW_TRY(in.get_u8());
    if (fill != 0)
        return bad(in, fmt::format("Found a zero page with value {}", fill));
    std::byte* const page = block.block->host() + offset;
    if (block.received[offset >> kPageBits] && !is_zero(page, kPageSize))
        std::memset(page, 0, kPageSize);
    return ok();
}

Result<void> RamLoader::load_xbzrle(StreamReader& in, Block& block, std::uint64_t offset)
{
    const std::uint8_t encoding = GW_TRY(in.get_u8());
    const std::uint16_t length = GW_TRY(in.get_be16());
    if (encoding != kXbzrleEncoding)
        return bad(in, "Failed to load XBZRLE page - wrong compression!");
    if (length > kPageSize)
        return bad(in, "Failed to load XBZRLE page - len overflow!");
    std::array<std::byte, kPageSize> difference;
    GW_TRY(in.get_bytes(std::span(difference).first(length)));
    auto applied =
        xbzrle_decode(std::span(difference).first(length),
                      std::span<std::byte, kXbzrlePage>(block.block->host() + offset, kXbzrlePage));
    if (!applied)
        return bad(in, fmt::format("Failed to load XBZRLE page at {:#x} in block {}: {}", offset,
                                   block.block->id(), applied.error().message()));
    return ok();
}

}  // namespace godwit::migration
