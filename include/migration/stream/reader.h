// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The reading end of a migration stream. What arrives is hostile: nothing is believed, and every
// failure says at which byte.
#pragma once

#include "util/result.h"
#include "util/unique_fd.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <sys/uio.h>
#include <vector>

namespace godwit::migration::stream {

/// Where the bytes of a stream come from.
class ByteSource {
public:
    virtual ~ByteSource() = default;
    /// Waits for at least one byte and stores up to into.size() of them. 0 is the end.
    virtual Result<std::size_t> read_some(std::span<std::byte> into) = 0;
    /// The same into several pieces, of which the first is not empty. Who cannot fills the first.
    virtual Result<std::size_t> readv_some(std::span<const iovec> into)
    {
        return read_some({static_cast<std::byte*>(into[0].iov_base), into[0].iov_len});
    }
    /// The oldest open file that came beside the bytes read so far; empty if there is none.
    virtual UniqueFd take_fd() { return {}; }
};

/// Reads a stream.
///
/// Shape    a buffer of kBufferBytes before a source, or a span that is already in memory.
/// Units    bytes; integers are big-endian; position() counts from the first byte read.
/// Threads  one at a time.
/// Errors   Errc::Truncated where the stream ends too early, else those of the source, with the
///          position.
class StreamReader {
public:
    static constexpr std::size_t kBufferBytes = 64 * 1024;
    /// What peek() can show: a subsection's type, length byte and name.
    static constexpr std::size_t kMaxPeek = 2 + 255;

    explicit StreamReader(ByteSource& source, std::size_t buffer_bytes = kBufferBytes)
        : source_(&source), own_(buffer_bytes < kMaxPeek ? kMaxPeek : buffer_bytes)
    {}
    /// Reads from memory that stays valid as long as the reader.
    explicit StreamReader(std::span<const std::byte> bytes, std::uint64_t position = 0)
        : data_(bytes.data()), end_(bytes.size()), base_(position)
    {}
    StreamReader(const StreamReader&) = delete;
    StreamReader& operator=(const StreamReader&) = delete;

    Result<std::uint8_t> get_u8();
    Result<std::uint16_t> get_be16();
    Result<std::uint32_t> get_be32();
    Result<std::uint64_t> get_be64();
    /// An unsigned integer of `width` bytes, 1 to 8.
    Result<std::uint64_t> get_be(unsigned width);
    /// Exactly into.size() bytes; large reads go straight into `into`.
    Result<void> get_bytes(std::span<std::byte> into);
    /// The same, but reads nothing beyond them: what follows can then go where it belongs.
    Result<void> get_bytes_only(std::span<std::byte> into);
    /// Reads once, past the buffer: fills pieces in their order and returns how many bytes came, 0
    /// at the end. Nothing lies ready, and the stream has a source.
    Result<std::size_t> read_past(std::span<const iovec> pieces);
    /// The last bytes that read_past() returned are to be read again; they fit into the buffer.
    void give_back(std::span<const iovec> pieces);
    bool has_source() const noexcept { return source_ != nullptr; }
    std::size_t buffer_bytes() const noexcept { return own_.size(); }
    /// One length byte and as many bytes of text; any byte is legal in it.
    Result<std::string> get_str8();
    /// `length` bytes as text; the caller has checked `length`.
    Result<std::string> get_text(std::size_t length);
    Result<void> skip(std::uint64_t count);
    /// A byte 0x20 and the open file that came with it.
    Result<UniqueFd> get_fd();

    /// Shows up to `count` (at most kMaxPeek) bytes without taking them. Waits until all are there
    /// or the stream ends, in which case it shows fewer. Valid until the next call.
    Result<std::span<const std::byte>> peek(std::size_t count);
    /// Whatever lies in the buffer already, without waiting.
    std::span<const std::byte> ready() const noexcept { return {data() + begin_, end_ - begin_}; }
    /// True when the stream has ended and everything was taken. Waits for a byte or the end.
    Result<bool> at_end();

    std::uint64_t position() const noexcept { return base_ + begin_; }
    /// "message, at byte N": an error about what was just read.
    Error error_here(Errc code, std::string message) const;

private:
    const std::byte* data() const noexcept { return source_ != nullptr ? own_.data() : data_; }
    Result<void> need(std::size_t count);  // makes `count` bytes ready or fails
    Result<std::size_t> more();            // reads once behind what is ready; 0 is the end
    Error truncated(std::size_t missing) const;

    ByteSource* source_ = nullptr;
    std::vector<std::byte> own_;
    const std::byte* data_ = nullptr;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::uint64_t base_ = 0;  // position of data()[0]
    bool ended_ = false;
};

}  // namespace godwit::migration::stream
