// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a process holds, as /proc tells: descriptors, threads, mappings.
#pragma once

#include <cstddef>
#include <string>
#include <sys/types.h>

namespace godwit::chaos {

struct Belongings {
    std::size_t descriptors = 0;
    std::size_t threads = 0;
    std::size_t mappings = 0;
    std::size_t mapped_bytes = 0;
    bool operator==(const Belongings&) const = default;
};
std::string to_string(const Belongings& b);

Belongings belongings_of(pid_t pid);

/// What a source may have between attempts, from what it has before the first: two descriptors
/// are kept, that by which the last attempt is cancelled and the dirty log's view of its own
/// pages. No thread outlives the word "failed" for long.
Belongings idle_source(pid_t pid);

/// Waits until the process has at most as many descriptors and threads as `before`; a thread that
/// told its last event may still be on its way out. What it holds then.
Belongings settled(pid_t pid, const Belongings& before);

}  // namespace godwit::chaos
