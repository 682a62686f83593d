// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/synth/workload.h"

#include "accel/synth/page_content.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::accel::synth {
namespace {

/// Keys of the streams of one vCPU, so that none follows another.
enum Salt : std::uint64_t { kHotSalt = 1, kColdSalt, kReadSalt, kScatterSalt };

std::uint64_t share_of(std::uint64_t count, unsigned percent) noexcept
{
    // The same as count * percent / 100, without leaving 64 bits.
    return count / 100 * percent + count % 100 * percent / 100;
}

/// Hot pages among `pages`, at least one and at least one cold.
std::uint64_t hot_page_count(const WorkloadSpec& spec, std::uint64_t pages)
{
    if (spec.pattern != Pattern::HotCold || pages < 2)
        return pages;
    return std::clamp<std::uint64_t>(share_of(pages, spec.hot_pages), 1, pages - 1);
}

std::uint64_t first_page_of(const WorkloadSpec& spec, unsigned vcpu, unsigned vcpus)
{
    const std::uint64_t pages = spec.working_set / kPageBytes;
    // pages * vcpu / vcpus, without leaving 64 bits.
    return spec.start / kPageBytes + pages / vcpus * vcpu + pages % vcpus * vcpu / vcpus;
}

std::uint64_t stream_key(const WorkloadSpec& spec, unsigned vcpu, Salt salt)
{
    return mix64(mix64(spec.seed) + vcpu * 16 + salt);
}

Result<void> check_shares(const WorkloadSpec& spec)
{
    if (spec.hot_pages < 1 || spec.hot_pages > 99)
        return Error(Errc::InvalidArgument,
                     fmt::format("hot-pages is {} per cent, it must be in 1..99", spec.hot_pages));
    if (spec.hot_writes > 100)
        return Error(
            Errc::InvalidArgument,
            fmt::format("hot-writes is {} per cent, at most 100 is possible", spec.hot_writes));
    if (spec.reads > 100)
        return Error(Errc::InvalidArgument,
                     fmt::format("reads is {} per cent, at most 100 is possible", spec.reads));
    if ((spec.burst_ms == 0) != (spec.pause_ms == 0))
        return Error(Errc::InvalidArgument, "burst and pause must be given together");
    return {};
}

}  // namespace

std::string_view to_string(Pattern pattern) noexcept
{
    switch (pattern) {
    case Pattern::Sequential:
        return "sequential";
    case Pattern::Uniform:
        return "uniform";
    case Pattern::HotCold:
        return "hot-cold";
    }
    return "?";
}

std::optional<Pattern> pattern_from(std::string_view name) noexcept
{
    for (Pattern pattern : {Pattern::Sequential, Pattern::Uniform, Pattern::HotCold})
        if (name == to_string(pattern))
            return pattern;
    return std::nullopt;
}

Result<void> check(const WorkloadSpec& spec, std::uint64_t block_bytes, unsigned vcpus)
{
    if (spec.start % kPageBytes != 0 || spec.working_set % kPageBytes != 0)
        return Error(Errc::InvalidArgument,
                     "start and working-set must be multiples of 4096 bytes");
    if (spec.start > block_bytes || spec.working_set > block_bytes - spec.start)
        return Error(
            Errc::InvalidArgument,
            fmt::format(
                "the working set [{:#x}, {:#x} + {:#x}) lies outside of RAM, which has {:#x} bytes",
                spec.start, spec.start, spec.working_set, block_bytes));
    if (spec.working_set / kPageBytes < vcpus)
        return Error(
            Errc::InvalidArgument,
            fmt::format("a working set of {} bytes has less than one page for each of {} vCPUs",
                        spec.working_set, vcpus));
    return check_shares(spec);
}

std::uint64_t PageStream::page(std::uint64_t index) const noexcept
{
    const std::uint64_t round = index / pages();
    const std::uint64_t position = index % pages();
    return sequential_ ? position : shuffle_.forward(key_ + round, position);
}

std::uint64_t PageStream::position(std::uint64_t round, std::uint64_t page) const noexcept
{
    return sequential_ ? page : shuffle_.inverse(key_ + round, page);
}

std::uint64_t PageStream::generation(std::uint64_t page, std::uint64_t count) const noexcept
{
    // Each full round touched the page once; the round under way has if its turn is over.
    const std::uint64_t round = count / pages();
    return round + (position(round, page) < count % pages() ? 1 : 0);
}

std::uint64_t PageStream::step_of(std::uint64_t page, std::uint64_t generation) const noexcept
{
    return (generation - 1) * pages() + position(generation - 1, page);
}

VcpuWorkload::VcpuWorkload(const WorkloadSpec& spec, unsigned vcpu, unsigned vcpus)
    : first_(first_page_of(spec, vcpu, vcpus)),
      pages_(first_page_of(spec, vcpu + 1, vcpus) - first_), seed_(spec.seed),
      reads_percent_(spec.reads), hot_percent_(100), key_(stream_key(spec, vcpu, kScatterSalt)),
      hot_(hot_page_count(spec, pages_), spec.pattern == Pattern::Sequential,
           stream_key(spec, vcpu, kHotSalt)),
      scatter_(pages_), reads_(pages_, false, stream_key(spec, vcpu, kReadSalt))
{
    if (hot_.pages() < pages_) {
        cold_.emplace(pages_ - hot_.pages(), false, stream_key(spec, vcpu, kColdSalt));
        hot_percent_ = spec.hot_writes;
    }
}

std::uint64_t VcpuWorkload::hot_writes_of(std::uint64_t writes) const noexcept
{
    return share_of(writes, hot_percent_);
}

std::uint64_t VcpuWorkload::reads_of(std::uint64_t accesses) const noexcept
{
    return share_of(accesses, reads_percent_);
}

std::uint64_t VcpuWorkload::writes(std::uint64_t accesses) const noexcept
{
    return accesses - reads_of(accesses);
}

VcpuWorkload::Place VcpuWorkload::place_of(std::uint64_t page) const noexcept
{
    if (!cold_)
        return {&hot_, page - first_, true};
    const std::uint64_t place = scatter_.inverse(key_, page - first_);
    if (place < hot_.pages())
        return {&hot_, place, true};
    return {&*cold_, place - hot_.pages(), false};
}

std::uint64_t VcpuWorkload::generation(std::uint64_t page, std::uint64_t accesses) const noexcept
{
    const std::uint64_t count = writes(accesses);
    const std::uint64_t hot = hot_writes_of(count);
    const Place place = place_of(page);
    return place.stream->generation(place.page, place.hot ? hot : count - hot);
}

std::uint64_t VcpuWorkload::write_index(std::uint64_t page, std::uint64_t generation) const noexcept
{
    const Place place = place_of(page);
    return place.stream->step_of(place.page, generation);
}

Access VcpuWorkload::access(std::uint64_t index) const noexcept
{
    const std::uint64_t reads = reads_of(index);
    if (reads_of(index + 1) > reads) {
        const std::uint64_t page = first_ + reads_.page(reads);
        return {.write = false, .page = page, .generation = generation(page, index)};
    }
    const std::uint64_t number = index - reads;
    const std::uint64_t hot = hot_writes_of(number);
    const bool to_hot = hot_writes_of(number + 1) > hot;
    const std::uint64_t step = to_hot ? hot : number - hot;
    const PageStream& stream = to_hot ? hot_ : *cold_;
    std::uint64_t place = stream.page(step);
    if (cold_)
        place = scatter_.forward(key_, to_hot ? place : hot_.pages() + place);
    return {.write = true, .page = first_ + place, .generation = step / stream.pages() + 1};
}

}  // namespace godwit::accel::synth
