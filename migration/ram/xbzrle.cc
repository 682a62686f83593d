// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/xbzrle.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

namespace godwit::migration {

namespace {

/// ULEB128 of at most two bytes: the page is the largest run there is.
constexpr std::size_t kMaxRun = 0x3fff;

std::uint64_t word_at(std::span<const std::byte, kXbzrlePage> page, std::size_t at) noexcept
{
    std::uint64_t word;
    std::memcpy(&word, page.data() + at, sizeof word);
    return word;
}

/// First byte from `at` on where the pages differ (or, with `equal`, agree); the page size if there
/// is none.
std::size_t scan(std::span<const std::byte, kXbzrlePage> a,
                 std::span<const std::byte, kXbzrlePage> b, std::size_t at, bool equal) noexcept
{
    while (at < kXbzrlePage) {
        if (at % 8 == 0) {
            const std::uint64_t difference = word_at(a, at) ^ word_at(b, at);
            // A whole word without what we look for: no differing byte, or no agreeing (zero) byte.
            const bool agreeing_byte =
                ((difference - 0x0101010101010101u) & ~difference & 0x8080808080808080u) != 0;
            if (equal ? !agreeing_byte : difference == 0) {
                at += 8;
                continue;
            }
        }
        if ((a[at] == b[at]) == equal)
            return at;
        ++at;
    }
    return kXbzrlePage;
}

class Output {
public:
    explicit Output(std::span<std::byte> out) noexcept : out_(out) {}

    bool length(std::size_t value) noexcept
    {
        const std::size_t needed = value < 0x80 ? 1 : 2;
        if (out_.size() - used_ < needed)
            return false;
        if (needed == 2)
            out_[used_++] = std::byte((value & 0x7f) | 0x80);
        out_[used_++] = std::byte(needed == 2 ? value >> 7 : value);
        return true;
    }
    bool bytes(std::span<const std::byte> data) noexcept
    {
        if (out_.size() - used_ < data.size())
            return false;
        std::memcpy(out_.data() + used_, data.data(), data.size());
        used_ += data.size();
        return true;
    }
    std::size_t used() const noexcept { return used_; }

private:
    std::span<std::byte> out_;
    std::size_t used_ = 0;
};

/// Reads one run length at `at`, moving it on.
Result<std::size_t> read_length(std::span<const std::byte> data, std::size_t& at)
{
    if (at >= data.size())
        return Error(Errc::BadFormat, fmt::format("xbzrle: byte {}: a run length is missing", at));
    const auto low = std::to_integer<std::size_t>(data[at++]);
    if (low < 0x80)
        return low;
    if (at >= data.size())
        return Error(Errc::BadFormat, fmt::format("xbzrle: byte {}: a run length is cut off", at));
    const auto high = std::to_integer<std::size_t>(data[at++]);
    if (high >= 0x80)
        return Error(Errc::BadFormat,
                     fmt::format("xbzrle: byte {}: a run length of three bytes", at - 1));
    return (low & 0x7f) | (high << 7);
}

}  // namespace

std::optional<std::size_t> xbzrle_encode(std::span<const std::byte, kXbzrlePage> before,
                                         std::span<const std::byte, kXbzrlePage> now,
                                         std::span<std::byte> out) noexcept
{
    static_assert(kXbzrlePage <= kMaxRun);
    Output output(out);
    for (std::size_t at = 0;;) {
        const std::size_t changed = scan(before, now, at, false);
        if (changed == kXbzrlePage)
            return output.used();
        const std::size_t same = scan(before, now, changed, true);
        if (!output.length(changed - at) || !output.length(same - changed) ||
            !output.bytes(now.subspan(changed, same - changed)))
            return std::nullopt;
        at = same;
    }
}

Result<void> xbzrle_decode(std::span<const std::byte> data, std::span<std::byte, kXbzrlePage> page)
{
    std::size_t target = 0;
    for (std::size_t at = 0; at < data.size();) {
        const std::size_t begin = at;
        const std::size_t unchanged = GW_TRY(read_length(data, at));
        if (unchanged == 0 && begin != 0)
            return Error(Errc::BadFormat,
                         fmt::format("xbzrle: byte {}: an empty run of unchanged bytes", begin));
        const std::size_t literal = GW_TRY(read_length(data, at));
        if (literal == 0)
            return Error(Errc::BadFormat,
                         fmt::format("xbzrle: byte {}: an empty run of new bytes", at));
        if (literal > data.size() - at)
            return Error(Errc::BadFormat,
                         fmt::format("xbzrle: byte {}: a run of {} bytes with {} left", at, literal,
                                     data.size() - at));
        if (unchanged > kXbzrlePage - target || literal > kXbzrlePage - target - unchanged)
            return Error(Errc::BadFormat,
                         fmt::format("xbzrle: byte {}: a run leaves the page", begin));
        target += unchanged;
        std::memcpy(page.data() + target, data.data() + at, literal);
        target += literal;
        at += literal;
    }
    return ok();
}

Result<XbzrleCache> XbzrleCache::create(std::uint64_t bytes)
{
    if (bytes < kXbzrlePage || !std::has_single_bit(bytes))
        return Error(
            Errc::InvalidArgument,
            fmt::format("xbzrle: a cache of {} bytes; it is a power of two and at least {}", bytes,
                        kXbzrlePage));
    XbzrleCache cache;
    cache.pages_ =
        GW_TRY(with_context(Mapping::anonymous(bytes, {.no_reserve = true}), "xbzrle cache"));
    cache.slots_.resize(bytes / kXbzrlePage);
    return cache;
}

std::byte* XbzrleCache::find(std::uint64_t key) noexcept
{
    const std::size_t index = index_of(key);
    return slots_[index].key == key ? pages_.data() + index * kXbzrlePage : nullptr;
}

bool XbzrleCache::insert(std::uint64_t key, std::span<const std::byte, kXbzrlePage> page,
                         std::uint64_t pass) noexcept
{
    const std::size_t index = index_of(key);
    Slot& slot = slots_[index];
    if (slot.key != kEmpty && slot.key != key && slot.pass + 2 > pass)
        return false;
    slot = {key, pass};
    std::memcpy(pages_.data() + index * kXbzrlePage, page.data(), kXbzrlePage);
    return true;
}

void XbzrleCache::touch(std::uint64_t key, std::uint64_t pass) noexcept
{
    if (Slot& slot = slots_[index_of(key)]; slot.key == key)
        slot.pass = pass;
}

}  // namespace godwit::migration
