// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The writing end of a migration stream: big-endian values into a buffer that goes to a sink.
#pragma once

#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <sys/uio.h>
#include <vector>

namespace godwit::migration::stream {

/// The byte that an open file travels with.
inline constexpr std::uint8_t kFdMark = 0x20;

/// Where the bytes of a stream go. A channel is one, a file is one, a test's vector is one.
class ByteSink {
public:
    virtual ~ByteSink() = default;
    /// Writes everything, in order, or fails; after a failure the stream is of no more use.
    virtual Result<void> write_all(std::span<const iovec> pieces) = 0;
    /// One byte with an open file beside it; `fd` is only borrowed.
    virtual Result<void> write_with_fd(std::byte byte, int fd);
};

/// Writes a stream.
///
/// Shape    put_*() appends to a buffer and cannot fail; flush() hands the buffer to the sink and
///          can. A writer without a sink keeps everything until take().
/// Units    bytes; integers are big-endian; position() counts from the first byte put.
/// Threads  one at a time.
/// Errors   those of the sink. Memory is bounded by what our own side puts between two flushes.
class StreamWriter {
public:
    StreamWriter() = default;
    explicit StreamWriter(ByteSink& sink) : sink_(&sink) {}

    void put_u8(std::uint8_t value) { buffer_.push_back(std::byte{value}); }
    void put_be16(std::uint16_t value) { put_be(value, 2); }
    void put_be32(std::uint32_t value) { put_be(value, 4); }
    void put_be64(std::uint64_t value) { put_be(value, 8); }
    /// The low `width` bytes of `value`, width 1 to 8.
    void put_be(std::uint64_t value, unsigned width);
    void put_bytes(std::span<const std::byte> bytes);
    void put_text(std::string_view text);
    void put_zeros(std::size_t count) { buffer_.resize(buffer_.size() + count); }
    /// One length byte and the text; the text is at most 255 bytes (our own names: asserted).
    void put_str8(std::string_view text);

    /// Bytes put so far, flushed or not.
    std::uint64_t position() const noexcept { return flushed_ + buffer_.size(); }
    std::size_t buffered() const noexcept { return buffer_.size(); }

    /// Takes memory for `bytes` more before they come, and makes it resident.
    void reserve(std::size_t bytes);
    Result<void> flush();
    /// flush() once the buffer holds `bytes` or more.
    Result<void> flush_if_over(std::size_t bytes);
    /// Flushes, then sends `pieces` from where they lie, without a copy.
    Result<void> write_direct(std::span<const iovec> pieces);

    /// Flushes, then sends 0x20 with the open file `fd`, which is only borrowed. A writer without a
    /// sink keeps the byte alone.
    Result<void> put_fd(int fd);

    /// So many bytes of the stream reached the sink another way; the buffer is empty.
    void passed(std::size_t bytes) noexcept { flushed_ += bytes; }

    /// For a writer without a sink: everything put so far; starts over.
    std::vector<std::byte> take();

private:
    ByteSink* sink_ = nullptr;
    std::uint64_t flushed_ = 0;
    std::vector<std::byte> buffer_;
};

}  // namespace godwit::migration::stream
