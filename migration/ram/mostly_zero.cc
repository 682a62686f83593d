// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/mostly_zero.h"

#include <bit>
#include <cstring>

// A vCPU may write the page while it is read; see the header for why that is harmless.
#if defined(__clang__)
#define GW_READS_A_LIVE_PAGE __attribute__((no_sanitize("thread")))
#elif defined(__SANITIZE_THREAD__)
#define GW_READS_A_LIVE_PAGE __attribute__((no_sanitize_thread))
#else
#define GW_READS_A_LIVE_PAGE
#endif

namespace godwit::migration {

namespace {

static_assert(std::endian::native == std::endian::little);
constexpr std::size_t kLine = 64;
// Zeros that are cheaper between the bytes around them than as a run of their own.
constexpr std::size_t kShortGap = 4;

GW_READS_A_LIVE_PAGE std::uint64_t word_at(const std::byte* data) noexcept
{
    std::uint64_t word;
    std::memcpy(&word, data, sizeof word);
    return word;
}

/// A cache line as four 16-byte lanes; the compiler keeps them in vector registers.
using Lanes = std::uint64_t __attribute__((vector_size(16)));

GW_READS_A_LIVE_PAGE Lanes lanes_at(const std::byte* data) noexcept
{
    Lanes lanes;
    std::memcpy(&lanes, data, sizeof lanes);
    return lanes;
}

/// ULEB128 of at most two bytes.
std::byte* put_length(std::byte* out, std::size_t length) noexcept
{
    if (length >= 0x80) {
        *out++ = std::byte((length & 0x7f) | 0x80);
        length >>= 7;
    }
    *out++ = std::byte(length);
    return out;
}

}  // namespace

GW_READS_A_LIVE_PAGE PageContent PageReader::read(const std::byte* page) noexcept
{
    const std::uint64_t first = word_at(page);
    const std::uint64_t middle = word_at(page + kXbzrlePage / 2);
    const std::uint64_t last = word_at(page + kXbzrlePage - 8);
    if (first != 0 && middle != 0 && last != 0)
        return PageContent::Full;
    const bool tired = in_vain_ >= kTiredAfter && (first | middle | last) != 0;
    if (tired && in_vain_++ % kTiredStep != 0)
        return PageContent::Full;
    if (!take_lines(page)) {
        ++in_vain_;
        return PageContent::Full;
    }
    encode();
    if (length_ == 0)
        return PageContent::Zero;
    in_vain_ = 0;
    return PageContent::MostlyZero;
}

// Copies the lines that are not zero; false if there are too many.
GW_READS_A_LIVE_PAGE bool PageReader::take_lines(const std::byte* page) noexcept
{
    std::size_t lines = 0;
    for (std::size_t at = 0; at < kXbzrlePage; at += kLine) {
        const std::byte* const line = page + at;
        const std::array<Lanes, 4> lanes = {lanes_at(line), lanes_at(line + 16),
                                            lanes_at(line + 32), lanes_at(line + 48)};
        const Lanes any = lanes[0] | lanes[1] | lanes[2] | lanes[3];
        if ((any[0] | any[1]) == 0)
            continue;
        if (lines == kMostLines)
            return false;
        std::memcpy(copy_.data() + lines * kLine, lanes.data(), kLine);
        numbers_[lines++] = static_cast<std::uint8_t>(at / kLine);
    }
    lines_ = lines;
    return true;
}

// From the copy alone: whatever the guest does, the runs follow each other and stay in the page.
void PageReader::encode() noexcept
{
    std::byte* out = encoded_.data();
    std::size_t done = 0;   // up to here the page is encoded
    std::size_t begin = 0;  // of the run that is open, in the page
    std::size_t end = 0;    // behind it; not after `begin`: none is open
    const std::byte* bytes = nullptr;
    const auto close = [&] {
        if (end <= begin)
            return;
        out = put_length(out, begin - done);
        out = put_length(out, end - begin);
        std::memcpy(out, bytes, end - begin);
        out += end - begin;
        done = end;
    };
    for (std::size_t i = 0; i < lines_; ++i) {
        for (std::size_t at = 0; at < kLine; at += 8) {
            const std::byte* const source = copy_.data() + i * kLine + at;
            const std::uint64_t word = word_at(source);
            if (word == 0)
                continue;
            const std::size_t place = numbers_[i] * kLine + at;
            const auto zeros = static_cast<std::size_t>(std::countr_zero(word)) / 8;
            if (end <= begin || place + zeros > end + kShortGap) {
                close();
                begin = place + zeros;
                bytes = source + zeros;
            }
            end = place + 8 - static_cast<std::size_t>(std::countl_zero(word)) / 8;
        }
    }
    close();
    length_ = static_cast<std::size_t>(out - encoded_.data());
}

}  // namespace godwit::migration
