// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Guest memory of a destination, taken from the host just before the stream fills it: in whole huge
// pages where there are any, and beside the thread that reads.
#pragma once

#include "util/thread.h"

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

namespace godwit::migration {

/// Units    chunks of kChunk bytes that begin at a multiple of it.
/// Threads  want() and settle() from one thread; "mig/populate n" works, from the first want() on
///          until the destructor has joined it.
/// Errors   none: what cannot be populated is faulted in by whoever writes there first. A kernel
///          without MADV_POPULATE_WRITE (before 5.14) is asked once.
class Populator {
public:
    static constexpr std::size_t kChunk = std::size_t{2} << 20;
    static constexpr unsigned kThreads = 2;

    Populator() = default;
    ~Populator();
    Populator(const Populator&) = delete;
    Populator& operator=(const Populator&) = delete;

    /// The chunk will be written soon. Its contents stay what they are.
    void want(std::byte* chunk);
    /// The chunk is about to be written: waits while it is worked at, so that the host's work is
    /// not done twice, and drops it if nobody has begun.
    void settle(const std::byte* chunk);
    /// Chunks populated so far.
    std::uint64_t populated() const;

private:
    void work(const std::stop_token& stop);
    bool busy(const std::byte* chunk) const;

    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    std::deque<std::byte*> wanted_;                       // mutex_
    std::array<const std::byte*, kThreads> worked_at_{};  // mutex_
    std::uint64_t populated_ = 0;                         // mutex_
    bool refused_ = false;                                // mutex_: the kernel cannot
    std::vector<NamedThread> threads_;                    // last: joins before what it uses is gone
};

}  // namespace godwit::migration
