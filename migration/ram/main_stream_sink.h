// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Pages inside the main stream: QEMU's records, sent as large scatter writes straight from guest
// memory.
#pragma once

#include "migration/ram/mostly_zero.h"
#include "migration/ram/page_sink.h"
#include "migration/ram/xbzrle.h"
#include "migration/statistics.h"
#include "migration/stream/writer.h"

#include <optional>
#include <sys/uio.h>
#include <vector>

namespace godwit::migration {

class MainStreamSink final : public PageSink {
public:
    struct Options {
        bool detect_zero = true;
        bool spare_zeros = true;               ///< of mostly-zero pages, too
        std::uint64_t xbzrle_cache_bytes = 0;  ///< 0: no XBZRLE
    };
    MainStreamSink(stream::StreamWriter& out, Statistics& statistics, Options options);

    /// Before the first send(): takes the memory of the cache.
    Result<void> open();
    Result<void> send(const BlockRun& run, bool last) override;
    std::uint64_t pending() const noexcept override { return bytes_; }
    Result<void> flush() override;
    void pass_begins(std::uint64_t pass) override;

private:
    // Flushed when one of these is reached: IOV_MAX, and what a socket takes at once.
    static constexpr std::size_t kMaxPieces = 1000;
    static constexpr std::size_t kMaxBytes = std::size_t{4} << 20;

    void put_page(system::RamBlock& block, std::uint64_t page, bool last);
    void begin_record(system::RamBlock& block, std::uint64_t word);
    void put_header(std::span<const std::byte> bytes);
    void put_memory(const std::byte* bytes, std::size_t size);
    void put_copy(system::RamBlock& block, std::uint64_t offset, std::span<const std::byte> copy);
    void put_zero(system::RamBlock& block, std::uint64_t offset);
    void put_encoded(system::RamBlock& block, std::uint64_t offset,
                     std::span<const std::byte> difference);
    PageContent content_of(const std::byte* page) noexcept;
    void put_mostly_zero(system::RamBlock& block, std::uint64_t offset);
    void put_difference(system::RamBlock& block, std::uint64_t page, bool last);

    stream::StreamWriter& out_;
    Statistics& statistics_;
    Options options_;
    std::optional<XbzrleCache> cache_;
    PageReader reader_;
    std::uint64_t pass_ = 1;
    system::RamBlock* last_block_ = nullptr;
    std::vector<std::byte> headers_;  // reserved once: pieces_ point into it
    std::vector<iovec> pieces_;
    std::size_t bytes_ = 0;
};

}  // namespace godwit::migration
