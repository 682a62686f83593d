// SPDX-License-Identifier: LGPL-2.1-or-later
//
// XBZRLE: a page as its difference from what the destination has already. Format:
// docs/migration/stream.md.
#pragma once

#include "util/mapping.h"
#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace godwit::migration {

inline constexpr std::size_t kXbzrlePage = 4096;

/// Writes the difference of `now` from `before` to `out`.
///
/// Shape    `before` and `now` are one page; `out` may be shorter.
/// Returns  the bytes written; 0 when nothing changed; nothing when the difference does not fit in
/// `out`.
std::optional<std::size_t> xbzrle_encode(std::span<const std::byte, kXbzrlePage> before,
                                         std::span<const std::byte, kXbzrlePage> now,
                                         std::span<std::byte> out) noexcept;

/// Applies an encoded difference to `page`, which holds the content it was made against.
///
/// Errors   BadFormat, with the byte in `data`, when a run is malformed or leaves the page; `page`
/// may then be
///          changed in part.
Result<void> xbzrle_decode(std::span<const std::byte> data, std::span<std::byte, kXbzrlePage> page);

/// What the destination has, as far as we remember: a direct-mapped cache of page contents.
///
/// Units    sizes in bytes, keys are page-aligned addresses that are unique over all blocks.
/// Threads  the migration thread.
class XbzrleCache {
public:
    /// `bytes` is a power of two, at least a page. Memory is taken as slots are used.
    static Result<XbzrleCache> create(std::uint64_t bytes);

    /// The content kept for `key`, valid until the next insert(); null when it is not there.
    std::byte* find(std::uint64_t key) noexcept;
    /// Keeps `page` for `key`, unless its slot holds another page that was used within the last two
    /// passes. `pass` is the dirty-sync count. False: not kept.
    bool insert(std::uint64_t key, std::span<const std::byte, kXbzrlePage> page,
                std::uint64_t pass) noexcept;
    /// The entry was used in this pass.
    void touch(std::uint64_t key, std::uint64_t pass) noexcept;
    std::uint64_t bytes() const noexcept { return slots_.size() * kXbzrlePage; }

private:
    static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
    struct Slot {
        std::uint64_t key = kEmpty;
        std::uint64_t pass = 0;
    };
    std::size_t index_of(std::uint64_t key) const noexcept
    {
        return (key / kXbzrlePage) & (slots_.size() - 1);
    }

    std::vector<Slot> slots_;
    Mapping pages_;
};

}  // namespace godwit::migration
