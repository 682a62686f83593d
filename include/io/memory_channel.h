// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Two channels connected through memory, for tests and for moves within one process.
#pragma once

#include "io/channel.h"

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

namespace godwit::io {

using ChannelPair = std::pair<ChannelPtr, ChannelPtr>;

/// What one side writes, the other reads; both directions.
///
/// `capacity` bytes may be under way in each direction before the writer has to wait.
/// Features Peek, Shutdown, FdPassing (descriptors are duplicated). Both sides can be polled.
/// Threads  as Channel; the two sides are independent of each other.
Result<ChannelPair> make_memory_channels(std::size_t capacity = 262144,
                                         std::string_view name = "memory");

}  // namespace godwit::io
