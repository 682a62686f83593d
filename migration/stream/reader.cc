// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/stream/reader.h"

#include "migration/stream/writer.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <fmt/format.h>

namespace godwit::migration::stream {

Error StreamReader::error_here(Errc code, std::string message) const
{
    return Error(code, std::move(message) + ", at byte " + std::to_string(position()));
}

Error StreamReader::truncated(std::size_t missing) const
{
    return Error(Errc::Truncated, "the stream ends at byte " + std::to_string(base_ + end_) + ", " +
                                      std::to_string(missing) + " more expected");
}

Result<std::size_t> StreamReader::more()
{
    if (source_ == nullptr || ended_)
        return std::size_t{0};
    if (end_ == own_.size()) {
        std::memmove(own_.data(), own_.data() + begin_, end_ - begin_);
        base_ += begin_;
        end_ -= begin_;
        begin_ = 0;
    }
    auto got = source_->read_some(std::span(own_).subspan(end_));
    if (!got)
        return std::move(got).error().context("reading at byte " + std::to_string(base_ + end_));
    end_ += *got;
    ended_ = *got == 0;
    return *got;
}

Result<void> StreamReader::need(std::size_t count)
{
    if (begin_ == end_ && source_ != nullptr) {
        base_ += begin_;
        begin_ = end_ = 0;
    }
    while (end_ - begin_ < count) {
        const std::size_t got = GW_TRY(more());
        if (got == 0)
            return truncated(count - (end_ - begin_));
    }
    return ok();
}

Result<std::uint64_t> StreamReader::get_be(unsigned width)
{
    assert(width >= 1 && width <= 8);
    GW_TRY(need(width));
    std::uint64_t value = 0;
    const std::byte* from = data() + begin_;
    for (unsigned i = 0; i < width; ++i)
        value = value << 8 | std::to_integer<std::uint64_t>(from[i]);
    begin_ += width;
    return value;
}

Result<std::uint8_t> StreamReader::get_u8()
{
    return static_cast<std::uint8_t>(GW_TRY(get_be(1)));
}

Result<std::uint16_t> StreamReader::get_be16()
{
    return static_cast<std::uint16_t>(GW_TRY(get_be(2)));
}

Result<std::uint32_t> StreamReader::get_be32()
{
    return static_cast<std::uint32_t>(GW_TRY(get_be(4)));
}

Result<std::uint64_t> StreamReader::get_be64()
{
    return get_be(8);
}

Result<void> StreamReader::get_bytes(std::span<std::byte> into)
{
    const std::size_t at_hand = std::min(into.size(), end_ - begin_);
    if (at_hand != 0)
        std::memcpy(into.data(), data() + begin_, at_hand);
    begin_ += at_hand;
    into = into.subspan(at_hand);
    while (!into.empty()) {
        if (source_ == nullptr || ended_)
            return truncated(into.size());
        if (into.size() < own_.size()) {
            GW_TRY(need(into.size()));
            std::memcpy(into.data(), data() + begin_, into.size());
            begin_ += into.size();
            return ok();
        }
        auto got = source_->read_some(into);
        if (!got)
            return std::move(got).error().context("reading at byte " + std::to_string(position()));
        if (*got == 0) {
            ended_ = true;
            return truncated(into.size());
        }
        base_ += *got;
        into = into.subspan(*got);
    }
    return ok();
}

Result<void> StreamReader::get_bytes_only(std::span<std::byte> into)
{
    const std::size_t at_hand = std::min(into.size(), end_ - begin_);
    if (source_ == nullptr || ended_ || at_hand == into.size())
        return get_bytes(into);
    GW_TRY(get_bytes(into.first(at_hand)));
    into = into.subspan(at_hand);
    while (!into.empty()) {
        const iovec piece{into.data(), into.size()};
        const std::size_t got = GW_TRY(read_past({&piece, 1}));
        if (got == 0)
            return truncated(into.size());
        into = into.subspan(got);
    }
    return ok();
}

Result<UniqueFd> StreamReader::get_fd()
{
    const std::uint8_t mark = GW_TRY(get_u8());
    if (mark != kFdMark)
        return error_here(Errc::BadFormat,
                          fmt::format("0x{:02x} where an open file (0x20) is due", mark));
    UniqueFd fd = source_ != nullptr ? source_->take_fd() : UniqueFd();
    if (!fd)
        return error_here(Errc::BadFormat, "no open file came along");
    return fd;
}

Result<std::size_t> StreamReader::read_past(std::span<const iovec> pieces)
{
    assert(begin_ == end_ && source_ != nullptr);
    base_ += begin_;
    begin_ = end_ = 0;
    if (ended_)
        return std::size_t{0};
    auto got = source_->readv_some(pieces);
    if (!got)
        return std::move(got).error().context("reading at byte " + std::to_string(base_));
    base_ += *got;
    ended_ = *got == 0;
    return got;
}

void StreamReader::give_back(std::span<const iovec> pieces)
{
    assert(begin_ == end_);
    begin_ = end_ = 0;
    for (const iovec& piece : pieces) {
        assert(piece.iov_len <= own_.size() - end_);
        std::memcpy(own_.data() + end_, piece.iov_base, piece.iov_len);
        end_ += piece.iov_len;
    }
    base_ -= end_;
}

Result<std::string> StreamReader::get_text(std::size_t length)
{
    std::string text(length, '\0');
    GW_TRY(get_bytes(std::as_writable_bytes(std::span(text))));
    return text;
}

Result<std::string> StreamReader::get_str8()
{
    const std::uint8_t length = GW_TRY(get_u8());
    return get_text(length);
}

Result<void> StreamReader::skip(std::uint64_t count)
{
    while (count != 0) {
        if (begin_ == end_)
            GW_TRY(need(1));
        const std::uint64_t step = std::min<std::uint64_t>(count, end_ - begin_);
        begin_ += step;
        count -= step;
    }
    return ok();
}

Result<std::span<const std::byte>> StreamReader::peek(std::size_t count)
{
    assert(count <= kMaxPeek);
    while (end_ - begin_ < count) {
        const std::size_t got = GW_TRY(more());
        if (got == 0)
            break;
    }
    return std::span(data() + begin_, std::min(count, end_ - begin_));
}

Result<bool> StreamReader::at_end()
{
    const auto next = GW_TRY(peek(1));
    return next.empty();
}

}  // namespace godwit::migration::stream
