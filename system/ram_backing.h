// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Host memory for a RAM block: where it comes from, how it is mapped and populated.
#pragma once

#include "system/guest_memory.h"
#include "util/mapping.h"
#include "util/unique_fd.h"

namespace godwit::system {

/// The mapping of one block. The descriptor is -1 for anonymous memory.
struct RamBacking {
    Mapping mapping;
    UniqueFd fd;
    std::uint64_t page_size = 0;
    RamSource source = RamSource::Anonymous;  ///< what it became: shared anonymous is a memfd
};

/// Makes and maps what `options` describe; takes options.fd. max_length is set and a multiple of
/// the target page size.
Result<RamBacking> make_ram_backing(RamBlockOptions& options);

/// Makes the host allocate all of `mapping` now, with up to `threads` threads.
/// Errors   OutOfMemory instead of a SIGBUS later.
Result<void> preallocate(const Mapping& mapping, int fd, std::uint64_t fd_offset,
                         std::uint64_t page_size, unsigned threads);

}  // namespace godwit::system
