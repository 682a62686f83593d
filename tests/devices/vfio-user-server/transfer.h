// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The device's state as a stream: what MIG_DATA_READ hands out and MIG_DATA_WRITE takes.
//
// Records of 16 bytes {kind u32, count u32, first u64}, host byte order:
//   Begin   count = version, first = bytes of bulk state; 8 bytes of seed follow
//   Pages   `count` pages from number `first` follow; a page may come again, the last one counts
//   Device  `count` bytes of registers follow; first = their checksum
//   End     first = fingerprint of all pages
#pragma once

#include "tests/devices/vfio-user-server/bulk_state.h"
#include "util/result.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace godwit::vfio_user_server {

enum class RecordKind : std::uint32_t { Begin = 0x6e696762, Pages = 1, Device = 2, End = 3 };
struct Record {
    RecordKind kind = RecordKind::End;
    std::uint32_t count = 0;
    std::uint64_t first = 0;
};
static_assert(sizeof(Record) == 16);
inline constexpr std::uint32_t kTransferVersion = 1;
inline constexpr std::size_t kMaxRun = 256;               ///< pages a record
inline constexpr std::size_t kMaxDeviceRecord = 1 << 20;  ///< bytes

/// The source's end: lives while the device is in the saving group of states.
class Saver {
public:
    explicit Saver(BulkState& state);

    /// Bytes not read once yet, and bytes that changed after they were read.
    std::uint64_t initial_bytes() const noexcept;
    std::uint64_t dirty_bytes() const noexcept { return stale_ * kStatePage; }
    /// Everything that is to come, were the device stopped now.
    std::uint64_t remaining_bytes(std::size_t device_bytes) const noexcept;

    /// The device is about to rewrite a page; false: it is being read now, take another.
    bool page_changes(std::size_t n) noexcept;
    /// Nothing changes any more; `device` and the end follow the last page.
    void stop(std::vector<std::byte> device);
    /// Up to `max` bytes as pieces, valid until the next call. Returns their sum; less than `max`:
    /// no more now, or at all.
    std::size_t read(std::size_t max, std::vector<std::span<const std::byte>>& pieces);

private:
    enum class Page : std::uint8_t { Clean, Unread, Stale };
    bool next_item();
    bool next_run();
    void head(const Record& record, std::span<const std::byte> rest);

    BulkState& state_;
    std::vector<Page> pages_;
    std::size_t unread_;
    std::size_t stale_ = 0;
    std::size_t next_ = 0;  // where the search for a page goes on
    std::size_t run_first_ = 0, run_end_ = 0;
    bool begun_ = false;
    bool stopped_ = false;
    unsigned tail_ = 0;  // records of the end that were handed out
    Fingerprint handed_out_;
    std::vector<std::byte> device_;
    std::deque<std::vector<std::byte>> heads_;  // owned by pieces that are out
    std::deque<std::span<const std::byte>> queue_;
};

/// The destination's end.
///
/// Errors   BadFormat, naming record and byte of the stream.
class Loader {
public:
    /// `check`: every page is checked when it has arrived.
    Loader(BulkState& state, bool check)
        : state_(state), check_(check), seen_(state.pages()), arrived_(state.pages())
    {}

    Result<void> feed(std::span<const std::byte> bytes);
    /// The same without a copy: where the next bytes belong, never nothing; then how many of them
    /// came.
    Result<std::span<std::byte>> room();
    Result<void> took(std::size_t count);
    /// The state is complete: the registers' bytes.
    Result<std::vector<std::byte>> finish() const;
    std::uint64_t position() const noexcept { return position_; }

private:
    Result<void> start_record();
    Result<void> end_body();
    Error bad(std::string_view what) const;

    BulkState& state_;
    bool check_;
    std::vector<bool> seen_;
    std::size_t seen_count_ = 0;
    Fingerprint arrived_;
    std::uint64_t position_ = 0;
    std::array<std::byte, sizeof(Record)> head_{};
    std::size_t head_bytes_ = 0;
    Record record_{};
    bool begun_ = false;
    bool ended_ = false;
    bool have_device_ = false;
    std::span<std::byte> body_;  // what the record's body still fills
    std::array<std::byte, 8> seed_{};
    std::vector<std::byte> device_;
};

}  // namespace godwit::vfio_user_server
