// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The migration data of a test device: its internal state in records, so that a lost, repeated or
// torn byte is seen when the transfer ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace godwit::hw::vfio::test {

inline constexpr std::size_t kChunk = 4096;
inline constexpr std::size_t kRecordHeader = 24;  // magic, offset, length, kind

/// The sending side. Chunks changed after they were sent are sent again.
class StateSource {
public:
    explicit StateSource(std::span<const std::byte> state);
    void changed(std::size_t at, std::size_t length);
    /// The next record; nothing when all is sent (for now, unless `stopped`: then an end record
    /// came before).
    std::optional<std::vector<std::byte>> next(bool stopped);
    std::uint64_t initial_bytes() const;
    std::uint64_t dirty_bytes() const;
    /// Record bytes still to come if the device stopped now.
    std::uint64_t left(bool stopped) const;

private:
    enum class Chunk : std::uint8_t { Unsent, Sent, Stale };
    std::span<const std::byte> state_;
    std::vector<Chunk> chunks_;
    bool ended_ = false;
};

/// The receiving side: any segmentation. Nothing reaches the device before finish().
class StateSink {
public:
    explicit StateSink(std::size_t bytes);
    /// False when what came cannot be right.
    bool feed(std::span<const std::byte> bytes);
    /// Whether everything so far makes whole records.
    bool at_boundary() const { return partial_.empty(); }
    /// The state, if it came complete and unharmed.
    std::optional<std::vector<std::byte>> finish() const;

private:
    bool take_record();
    std::vector<std::byte> partial_;
    std::vector<std::byte> state_;
    std::vector<bool> seen_;
    bool ended_ = false;
    bool broken_ = false;
};

}  // namespace godwit::hw::vfio::test
