// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The numbers of one attempt, as query-migrate shows them.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace godwit::migration {

/// Time and size of one part of the downtime.
struct SwitchoverPart {
    std::string name;  ///< "stop", "last-sync", "ram", a section's idstr, "flush", "handover"
    std::int64_t ns = 0;
    std::uint64_t bytes = 0;
};

/// Written by the migration thread, read by anybody.
struct Statistics {
    std::atomic<std::uint64_t> transferred{0};  ///< bytes of the main channel
    std::atomic<std::uint64_t> remaining{0};    ///< bytes of dirty pages
    std::atomic<std::uint64_t> total{0};        ///< bytes of all blocks
    std::atomic<std::uint64_t> normal_pages{0};
    std::atomic<std::uint64_t> zero_pages{0};
    std::atomic<std::uint64_t> skipped_pages{0};  ///< never populated: neither read nor sent
    std::atomic<std::uint64_t> dirty_pages_rate{0};
    std::atomic<std::uint64_t> dirty_sync_count{0};
    std::atomic<std::uint64_t> precopy_bytes{0};
    std::atomic<std::uint64_t> downtime_bytes{0};
    std::atomic<std::uint64_t> pages_per_second{0};
    std::atomic<double> mbps{0};
    std::atomic<std::int64_t> setup_ms{0};
    std::atomic<std::int64_t> total_ms{-1};  ///< -1 while it runs
    std::atomic<std::int64_t> downtime_ms{-1};
    std::atomic<std::int64_t> expected_downtime_ms{0};
    std::atomic<std::int64_t> start_ns{0};
    std::atomic<unsigned> throttle_percent{0};

    // xbzrle-cache
    std::atomic<std::uint64_t> xbzrle_bytes{0};
    std::atomic<std::uint64_t> xbzrle_pages{0};
    std::atomic<std::uint64_t> xbzrle_cache_miss{0};
    std::atomic<std::uint64_t> xbzrle_overflow{0};

    void add_part(SwitchoverPart part)
    {
        const std::lock_guard guard(mutex);
        parts.push_back(std::move(part));
    }
    std::vector<SwitchoverPart> switchover_parts() const
    {
        const std::lock_guard guard(mutex);
        return parts;
    }

private:
    mutable std::mutex mutex;
    std::vector<SwitchoverPart> parts;  // mutex
};

}  // namespace godwit::migration
