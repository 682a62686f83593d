// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/stream/writer.h"

#include <bit>
#include <cassert>
#include <cstring>
#include <string>
#include <utility>

namespace godwit::migration::stream {

void StreamWriter::put_be(std::uint64_t value, unsigned width)
{
    assert(width >= 1 && width <= 8);
    const std::uint64_t swapped = std::byteswap(value << (64 - 8 * width));
    const std::size_t at = buffer_.size();
    buffer_.resize(at + width);
    std::memcpy(buffer_.data() + at, &swapped, width);
}

void StreamWriter::reserve(std::size_t bytes)
{
    const std::size_t had = buffer_.size();
    buffer_.resize(had + bytes);
    buffer_.resize(had);
}

void StreamWriter::put_bytes(std::span<const std::byte> bytes)
{
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void StreamWriter::put_text(std::string_view text)
{
    put_bytes(std::as_bytes(std::span(text)));
}

void StreamWriter::put_str8(std::string_view text)
{
    assert(text.size() <= 255);
    put_u8(static_cast<std::uint8_t>(text.size()));
    put_text(text);
}

Result<void> StreamWriter::flush()
{
    if (sink_ == nullptr || buffer_.empty())
        return ok();
    const iovec all{buffer_.data(), buffer_.size()};
    if (auto written = sink_->write_all({&all, 1}); !written)
        return std::move(written).error().context("writing at byte " + std::to_string(flushed_));
    flushed_ += buffer_.size();
    buffer_.clear();
    return ok();
}

Result<void> StreamWriter::flush_if_over(std::size_t bytes)
{
    return buffer_.size() >= bytes ? flush() : ok();
}

Result<void> StreamWriter::write_direct(std::span<const iovec> pieces)
{
    if (sink_ == nullptr) {
        for (const iovec& piece : pieces)
            put_bytes({static_cast<const std::byte*>(piece.iov_base), piece.iov_len});
        return ok();
    }
    std::vector<iovec> all;
    all.reserve(pieces.size() + 1);
    if (!buffer_.empty())
        all.push_back({buffer_.data(), buffer_.size()});
    all.insert(all.end(), pieces.begin(), pieces.end());
    if (auto written = sink_->write_all(all); !written)
        return std::move(written).error().context("writing at byte " + std::to_string(flushed_));
    for (const iovec& piece : all)
        flushed_ += piece.iov_len;
    buffer_.clear();
    return ok();
}

Result<void> ByteSink::write_with_fd(std::byte, int)
{
    return Error(Errc::Unsupported, "open files cannot go this way");
}

Result<void> StreamWriter::put_fd(int fd)
{
    if (sink_ == nullptr) {
        put_u8(kFdMark);
        return ok();
    }
    GW_TRY(flush());
    if (auto written = sink_->write_with_fd(std::byte{kFdMark}, fd); !written)
        return std::move(written).error().context("writing at byte " + std::to_string(flushed_));
    ++flushed_;
    return ok();
}

std::vector<std::byte> StreamWriter::take()
{
    flushed_ += buffer_.size();
    return std::exchange(buffer_, {});
}

}  // namespace godwit::migration::stream
