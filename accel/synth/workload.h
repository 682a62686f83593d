// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The memory workload of `-accel synth` as arithmetic: which page access number n touches, and, for
// any page, what it must hold after n accesses. No time, no threads, no memory. The argument:
// docs/developer/accelerators.md.
#pragma once

#include "accel/synth/permutation.h"
#include "util/result.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace godwit::accel::synth {

enum class Pattern : std::uint8_t {
    Sequential,  ///< lowest page first, round after round
    Uniform,     ///< every page once a round, each round in another random order
    HotCold,     ///< two uniform streams, interleaved: few hot pages get most writes
};
std::string_view to_string(Pattern pattern) noexcept;
std::optional<Pattern> pattern_from(std::string_view name) noexcept;

/// The whole guest's workload, as the operator wrote it. Travels with the guest.
struct WorkloadSpec {
    std::uint64_t start = 0;        ///< bytes from the start of the RAM block, page-aligned
    std::uint64_t working_set = 0;  ///< bytes, page-aligned; at least one page a vCPU
    std::uint64_t rate = 0;         ///< bytes written a second by all vCPUs together, 0 = unlimited
    std::uint64_t seed = 1;
    Pattern pattern = Pattern::Uniform;
    std::uint8_t hot_pages = 10;   ///< HotCold: per cent of the pages that are hot, 1..99
    std::uint8_t hot_writes = 90;  ///< HotCold: per cent of the writes that go to them, 0..100
    std::uint8_t reads = 0;        ///< per cent of the accesses that read and verify, 0..100
    std::uint32_t burst_ms = 0;    ///< 0 = no phases
    std::uint32_t pause_ms = 0;
    bool operator==(const WorkloadSpec&) const = default;
};

/// InvalidArgument naming the property that cannot be: a size that is no multiple of a page, a
/// working set outside the block, fewer pages than vCPUs, a share out of range.
Result<void> check(const WorkloadSpec& spec, std::uint64_t block_bytes, unsigned vcpus);

/// Accesses a guest may have made; more cannot arrive in a stream (that is 285 years at 1 M/s).
inline constexpr std::uint64_t kMaxAccesses = std::uint64_t{1} << 53;

/// An endless stream of page numbers below `pages`, every page once in `pages` steps.
class PageStream {
public:
    PageStream(std::uint64_t pages, bool sequential, std::uint64_t key) noexcept
        : shuffle_(pages), sequential_(sequential), key_(key)
    {}
    std::uint64_t pages() const noexcept { return shuffle_.size(); }
    /// The page that step `index` touches.
    std::uint64_t page(std::uint64_t index) const noexcept;
    /// How often `page` was touched by steps 0..count-1.
    std::uint64_t generation(std::uint64_t page, std::uint64_t count) const noexcept;
    /// The step that touched `page` for the `generation`-th time, from 1.
    std::uint64_t step_of(std::uint64_t page, std::uint64_t generation) const noexcept;

private:
    std::uint64_t position(std::uint64_t round, std::uint64_t page) const noexcept;
    Permutation shuffle_;
    bool sequential_;
    std::uint64_t key_;
};

/// One access: a write of a whole page, or a read that verifies one.
struct Access {
    bool write = true;
    std::uint64_t page = 0;        ///< of the RAM block
    std::uint64_t generation = 0;  ///< what it holds afterwards; 0 = never written, zeros
};

/// The share of one vCPU: a run of pages that no other vCPU touches.
///
/// Threads  a value; const.
class VcpuWorkload {
public:
    /// `spec` has passed check().
    VcpuWorkload(const WorkloadSpec& spec, unsigned vcpu, unsigned vcpus);

    std::uint64_t first_page() const noexcept { return first_; }
    std::uint64_t pages() const noexcept { return pages_; }
    std::uint64_t seed() const noexcept { return seed_; }

    /// What access number `index` (from 0) does.
    Access access(std::uint64_t index) const noexcept;
    /// How many of the first `accesses` write.
    std::uint64_t writes(std::uint64_t accesses) const noexcept;
    /// How often `page` (of the block, one of ours) was written after `accesses` accesses.
    std::uint64_t generation(std::uint64_t page, std::uint64_t accesses) const noexcept;
    /// The number of the write that made it so, counted from 0 over all writes of this vCPU's
    /// stream for that page (its hot or its cold one); generation > 0.
    std::uint64_t write_index(std::uint64_t page, std::uint64_t generation) const noexcept;

private:
    std::uint64_t hot_writes_of(std::uint64_t writes) const noexcept;
    std::uint64_t reads_of(std::uint64_t accesses) const noexcept;
    /// The stream `page` is in, and its number there.
    struct Place {
        const PageStream* stream;
        std::uint64_t page;
        bool hot;
    };
    Place place_of(std::uint64_t page) const noexcept;

    std::uint64_t first_;
    std::uint64_t pages_;
    std::uint64_t seed_;
    unsigned reads_percent_;
    unsigned hot_percent_;  ///< of the writes; 100 when there is only one stream
    std::uint64_t key_;
    PageStream hot_;  ///< the only stream of Sequential and Uniform
    std::optional<PageStream> cold_;
    Permutation scatter_;  ///< spreads the hot pages over the run
    PageStream reads_;
};

}  // namespace godwit::accel::synth
