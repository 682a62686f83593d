// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/flat_view.h"

#include <algorithm>
#include <cstdint>

namespace godwit::system {

MemorySection MemorySection::part(GuestAddr from, std::uint64_t length) const
{
    MemorySection result = *this;
    result.start = from;
    result.size = length;
    result.block_offset += from - start;
    result.io_offset += from - start;
    return result;
}

namespace {

MemorySection section_of(const Region& region, GuestAddr start, std::uint64_t size)
{
    const RegionSpec& spec = region.spec;
    return MemorySection{
        .start = start,
        .size = size,
        .kind = spec.kind,
        .block = spec.block,
        .block_offset = spec.block ? spec.block_offset + (start - spec.start) : 0,
        .io = spec.io,
        .io_offset = spec.io ? start - spec.start : 0,
        .name = spec.name,
        .region = region.id,
        .logged = region.logged,
    };
}

bool continues(const MemorySection& low, const MemorySection& high) noexcept
{
    return low.kind == RegionKind::Ram && high.kind == RegionKind::Ram && low.block == high.block &&
           low.logged == high.logged && low.start + low.size == high.start &&
           low.block_offset + low.size == high.block_offset;
}

}  // namespace

void FlatView::fill_gaps(const Region& region, std::uint64_t size)
{
    const RegionSpec& spec = region.spec;
    if (!spec.enabled || spec.size == 0 || spec.start >= size)
        return;
    const GuestAddr end = spec.start + std::min(spec.size, size - spec.start);
    std::vector<MemorySection> merged;
    merged.reserve(sections_.size() + 2);
    GuestAddr at = spec.start;
    for (MemorySection& taken : sections_) {
        if (at < end && taken.start > at) {
            const GuestAddr gap_end = std::min(end, taken.start);
            merged.push_back(section_of(region, at, gap_end - at));
            at = gap_end;
        }
        at = std::max(at, taken.start < end ? taken.start + taken.size : at);
        merged.push_back(std::move(taken));
    }
    if (at < end)
        merged.push_back(section_of(region, at, end - at));
    sections_ = std::move(merged);
}

void FlatView::merge_ram()
{
    std::vector<MemorySection> merged;
    merged.reserve(sections_.size());
    for (MemorySection& section : sections_) {
        if (!merged.empty() && continues(merged.back(), section))
            merged.back().size += section.size;
        else
            merged.push_back(std::move(section));
    }
    sections_ = std::move(merged);
}

std::shared_ptr<const FlatView> FlatView::render(std::span<const Region> regions,
                                                 std::uint64_t size)
{
    std::vector<const Region*> order;
    for (auto region = regions.rbegin(); region != regions.rend(); ++region)
        order.push_back(&*region);
    std::ranges::stable_sort(order, [](const Region* a, const Region* b) {
        return a->spec.priority > b->spec.priority;
    });
    auto view = std::make_shared<FlatView>();
    for (const Region* region : order)
        view->fill_gaps(*region, size);
    view->merge_ram();
    for (const MemorySection& section : view->sections_)
        if (section.block && std::ranges::none_of(view->blocks_, [&](const auto& held) {
                return held.get() == section.block;
            }))
            view->blocks_.push_back(section.block->shared_from_this());
    return view;
}

const MemorySection* FlatView::find(GuestAddr address) const noexcept
{
    const auto above = std::ranges::upper_bound(sections_, address, {}, &MemorySection::start);
    if (above == sections_.begin())
        return nullptr;
    const MemorySection& section = *(above - 1);
    return section.contains(address) ? &section : nullptr;
}

std::uint64_t FlatView::hole_length(GuestAddr address) const noexcept
{
    const auto above = std::ranges::upper_bound(sections_, address, {}, &MemorySection::start);
    return above == sections_.end() ? ~address : above->start - address;
}

ViewPublisher::ViewPublisher(std::shared_ptr<const FlatView> first)
    : published_(first.get()), owner_(std::move(first))
{}

namespace {

/// Spreads threads over the counters; the address of a thread's own variable tells them apart.
unsigned shard_of_this_thread(unsigned shards) noexcept
{
    static thread_local char anchor;
    const auto bits = reinterpret_cast<std::uintptr_t>(&anchor);
    return static_cast<unsigned>((bits >> 12) * 0x9e3779b97f4a7c15ull >> 40) % shards;
}

}  // namespace

// Sequentially consistent on both sides: a writer that sees this counter at zero is followed, in
// the one order of all such operations, by our increment, and so by our load of its new view.
ViewPublisher::Reader::Reader(const ViewPublisher& publisher) noexcept
    : counter_(publisher.shards_[shard_of_this_thread(kShards)].readers)
{
    counter_.fetch_add(1, std::memory_order_seq_cst);
    view_ = publisher.published_.load(std::memory_order_seq_cst);
}

std::shared_ptr<const FlatView> ViewPublisher::current() const
{
    const Reader reader(*this);
    return reader->shared_from_this();
}

void ViewPublisher::publish(std::shared_ptr<const FlatView> next)
{
    published_.store(next.get(), std::memory_order_seq_cst);
    retired_.push_back({std::exchange(owner_, std::move(next)), (1u << kShards) - 1});
    reclaim();
}

void ViewPublisher::reclaim()
{
    for (unsigned shard = 0; shard < kShards; ++shard)
        if (shards_[shard].readers.load(std::memory_order_seq_cst) == 0)
            for (Retired& old : retired_)
                old.busy &= ~(1u << shard);
    std::erase_if(retired_, [](const Retired& old) { return old.busy == 0; });
}

}  // namespace godwit::system
