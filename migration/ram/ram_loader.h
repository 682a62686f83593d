// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Guest memory on the destination: reads the `ram` section into the blocks. Nothing outside them is
// ever touched, whatever the stream says.
#pragma once

#include "migration/environment.h"
#include "migration/live_state.h"
#include "migration/ram/populator.h"
#include "system/guest_memory.h"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <sys/uio.h>
#include <vector>

namespace godwit::migration {

/// Threads  the incoming thread.
/// Errors   BadFormat in QEMU's words, with the byte position.
class RamLoader {
public:
    explicit RamLoader(Environment& env) : env_(env) {}

    /// Empties the blocks: a page that is in no record is zero.
    Result<void> setup();
    Result<void> load(StreamReader& in);

    std::uint64_t pages_loaded() const noexcept { return pages_; }

private:
    struct Block {
        system::RamBlock* block;
        std::vector<bool> received;  // a page that is not is zero, and need not be made so
    };

    Result<void> load_list(StreamReader& in, std::uint64_t total);
    Result<void> load_record(StreamReader& in, std::uint64_t word);
    Result<Block*> named_block(StreamReader& in);
    Result<void> compare(StreamReader& in, const system::RamBlock& block, std::uint64_t kind,
                         std::uint64_t offset);
    Result<void> apply_difference(StreamReader& in, const system::RamBlock& block,
                                  std::uint64_t offset,
                                  std::span<std::byte, system::kPageSize> page);
    Result<void> load_ahead(StreamReader& in, Block& block, std::uint64_t offset);
    std::uint64_t prepare_ahead(const Block& block, std::uint64_t offset, std::uint64_t most,
                                std::size_t come);
    Result<std::uint64_t> take_ahead(StreamReader& in, Block& block, std::uint64_t offset,
                                     std::size_t got);
    void fills(const Block& block, std::uint64_t offset, std::uint64_t bytes);
    void untake(StreamReader& in, std::uint64_t first, std::size_t got);
    Result<void> load_page(StreamReader& in, Block& block, std::uint64_t offset);
    Result<void> load_zero(StreamReader& in, Block& block, std::uint64_t offset);
    Result<void> load_xbzrle(StreamReader& in, Block& block, std::uint64_t offset);

    Environment& env_;
    std::vector<Block> blocks_;
    Block* last_ = nullptr;
    std::uint64_t pages_ = 0;

    // Reading ahead
    static constexpr std::uint64_t kMostAhead = 120;  // pages; with headers less than the buffer
    static constexpr unsigned kStreak = 4;            // pages in a row that make it worth a try
    unsigned streak_ = 0;
    std::uint64_t next_offset_ = 0;  // that continues the streak
    std::uint64_t ahead_ = 16;
    std::vector<std::array<std::byte, 8>> ahead_headers_;
    std::vector<iovec> ahead_pieces_;  // a header and its page in turn
    std::uintptr_t blank_ = 0;         // the page whose zero record came last, never touched yet

    // Populating ahead: host addresses
    static constexpr std::uint64_t kMostWanted = 4;  // chunks
    std::uintptr_t filled_from_ = 0;                 // what was filled in one piece, so far
    std::uintptr_t filled_to_ = 0;
    std::uintptr_t settled_ = 0;     // the chunk that is being filled
    std::uintptr_t wanted_end_ = 0;  // behind the last chunk asked for
    Populator populator_;            // last: its threads use the blocks
};

}  // namespace godwit::migration
