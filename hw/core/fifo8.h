// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The byte queue that UARTs have, in the layout in which it migrates.
#pragma once

#include "migration/stream/vmstate.h"

#include <array>
#include <cstdint>

namespace godwit::hw {

/// A ring of N bytes.
///
/// Shape    `num` bytes from `head`; the rest of `data` is anything.
/// Source   structure "Fifo8" of the `serial` section.
template <std::size_t N>
struct Fifo8 {
    std::array<std::uint8_t, N> data{};
    std::uint32_t head = 0;
    std::uint32_t num = 0;

    bool empty() const noexcept { return num == 0; }
    bool full() const noexcept { return num == N; }
    std::size_t room() const noexcept { return N - num; }
    void clear() noexcept { head = num = 0; }
    void push(std::uint8_t byte) noexcept  // drops the byte when full
    {
        if (!full())
            data[(head + num++) % N] = byte;
    }
    std::uint8_t pop() noexcept  // 0 when empty
    {
        if (empty())
            return 0;
        const std::uint8_t byte = data[head];
        head = (head + 1) % N;
        --num;
        return byte;
    }
};

namespace detail {
namespace ms = migration::stream;
template <std::size_t N>
inline constexpr auto kFifo8 =
    ms::vmstate<Fifo8<N>>("Fifo8", {.current = 1, .oldest = 1}, ms::buffer<&Fifo8<N>::data>("data"),
                          ms::field<&Fifo8<N>::head>("head").in_range(0, N - 1),
                          ms::field<&Fifo8<N>::num>("num").in_range(0, N));
}  // namespace detail

}  // namespace godwit::hw
