// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/bulk_state.h"

#include <cstring>

namespace godwit::vfio_user_server {
namespace {

constexpr std::size_t kWords = kStatePage / sizeof(std::uint64_t);
constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;

std::uint64_t base_of(std::uint64_t seed, std::size_t page, std::uint64_t generation)
{
    return mix(seed + mix(page + 1) + mix(~generation));
}

std::uint64_t* words_of(std::span<std::byte> page)
{
    return reinterpret_cast<std::uint64_t*>(page.data());
}

}  // namespace

std::uint64_t mix(std::uint64_t value) noexcept
{
    value += kStep;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

std::uint64_t checksum(std::span<const std::byte> bytes) noexcept
{
    std::uint64_t sum = bytes.size();
    while (!bytes.empty()) {
        std::uint64_t word = 0;
        const std::size_t n = std::min(bytes.size(), sizeof word);
        std::memcpy(&word, bytes.data(), n);
        sum = mix(sum ^ word);
        bytes = bytes.subspan(n);
    }
    return sum;
}

Result<BulkState> BulkState::create(std::uint64_t bytes, std::uint64_t seed)
{
    if (bytes == 0 || bytes % kStatePage != 0)
        return Error(Errc::InvalidArgument, "the state's size is not a multiple of 4 KiB");
    Mapping memory = GW_TRY(Mapping::anonymous(bytes));
    BulkState state(std::move(memory), seed);
    state.fill(seed);
    return state;
}

std::uint64_t BulkState::generation(std::size_t n) const noexcept
{
    return words_of(page(n))[0];
}

void BulkState::write(std::size_t n, std::uint64_t generation) noexcept
{
    std::uint64_t* words = words_of(page(n));
    std::uint64_t value = base_of(seed_, n, generation);
    words[0] = generation;
    for (std::size_t i = 1; i < kWords; ++i)
        words[i] = value += kStep;
}

void BulkState::rewrite(std::size_t n) noexcept
{
    write(n, generation(n) + 1);
}

void BulkState::fill(std::uint64_t seed) noexcept
{
    seed_ = seed;
    for (std::size_t n = 0; n < pages(); ++n)
        write(n, 0);
}

bool BulkState::page_right(std::size_t n) const noexcept
{
    const std::uint64_t* words = words_of(page(n));
    std::uint64_t value = base_of(seed_, n, words[0]);
    std::uint64_t wrong = 0;
    for (std::size_t i = 1; i < kWords; ++i)
        wrong |= words[i] ^ (value += kStep);
    return wrong == 0;
}

std::uint64_t BulkState::fingerprint() const noexcept
{
    std::uint64_t sum = 0;
    for (std::size_t n = 0; n < pages(); ++n)
        sum += mix(n + 1) ^ mix(generation(n));
    return sum;
}

}  // namespace godwit::vfio_user_server
