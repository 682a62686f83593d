// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The device's internal memory: pages whose content follows from a seed, their number and a
// generation, so that any copy of them can be checked by itself.
#pragma once

#include "util/mapping.h"
#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace godwit::vfio_user_server {

inline constexpr std::size_t kStatePage = 4096;

/// Mixes the bits of a number: the same everywhere, for content and checksums.
std::uint64_t mix(std::uint64_t value) noexcept;
std::uint64_t checksum(std::span<const std::byte> bytes) noexcept;

/// Shape    pages of kStatePage bytes; word 0 of a page is its generation, the others follow from
///          seed, page and generation.
class BulkState {
public:
    static Result<BulkState> create(std::uint64_t bytes, std::uint64_t seed);

    std::size_t pages() const noexcept { return memory_.size() / kStatePage; }
    std::uint64_t bytes() const noexcept { return memory_.size(); }
    std::uint64_t seed() const noexcept { return seed_; }
    std::span<std::byte> page(std::size_t n) const noexcept
    {
        return memory_.span().subspan(n * kStatePage, kStatePage);
    }
    std::uint64_t generation(std::size_t n) const noexcept;

    /// The device uses the page: its generation rises by one.
    void rewrite(std::size_t n) noexcept;
    /// All pages at generation 0 of `seed`.
    void fill(std::uint64_t seed) noexcept;
    /// Whether a page is whole: one generation, one seed, the right page.
    bool page_right(std::size_t n) const noexcept;
    /// A number for the generations of all pages, for the end of the stream.
    std::uint64_t fingerprint() const noexcept;
    void adopt_seed(std::uint64_t seed) noexcept { seed_ = seed; }

private:
    BulkState(Mapping memory, std::uint64_t seed) : memory_(std::move(memory)), seed_(seed) {}
    void write(std::size_t n, std::uint64_t generation) noexcept;

    Mapping memory_;
    std::uint64_t seed_;
};

/// The same number, page by page as they pass by: a page counts as it was added last.
class Fingerprint {
public:
    explicit Fingerprint(std::size_t pages) : terms_(pages) {}
    void add(std::size_t page, std::uint64_t generation) noexcept
    {
        const std::uint64_t term = mix(page + 1) ^ mix(generation);
        sum_ += term - std::exchange(terms_[page], term);
    }
    std::uint64_t sum() const noexcept { return sum_; }

private:
    std::vector<std::uint64_t> terms_;
    std::uint64_t sum_ = 0;
};

}  // namespace godwit::vfio_user_server
