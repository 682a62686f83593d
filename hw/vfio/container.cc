// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/container.h"

#include "system/vm.h"
#include "util/flight_recorder.h"
#include "util/log.h"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>

namespace godwit::hw::vfio {

namespace {

constexpr TraceEvent<std::string_view, bool> kTraceSync{"vfio_dirty_sync", {"container", "last"}};

std::uint64_t round_down(std::uint64_t value, std::uint64_t unit)
{
    return value & ~(unit - 1);
}

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit)
{
    return round_down(value + (unit - 1), unit);
}

/// Bytes that a bitmap of so many bytes describes.
std::uint64_t described(std::uint64_t bitmap_bytes, std::uint64_t page_size)
{
    const std::uint64_t pages = round_down(bitmap_bytes, 8);
    return pages > UINT64_MAX / 8 / page_size ? round_down(UINT64_MAX, page_size)
                                              : pages * 8 * page_size;
}

}  // namespace

Container::Container(system::Vm& vm, std::unique_ptr<DmaBackend> backend)
    : vm_(vm), backend_(std::move(backend))
{}

Container::~Container()
{
    listening_.reset();
}

// --- members -----------------------------------------------------------------------------------

Result<void> Container::learn_rules()
{
    limits_ = GW_TRY(backend_->limits());
    rules_ = GW_TRY(backend_->tracking());
    if (limits_.page_sizes == 0)
        return Error(Errc::BadFormat, "the IOMMU names no page size");
    return {};
}

Result<Registration> Container::join(ContainerMember device)
{
    if (tracking_)
        return Error(Errc::Busy, "its container tracks dirty pages for a migration");
    GW_TRY(with_context(learn_rules(), backend_->name()));
    Member member{.device = device, .rules = {}};
    if (device.may_log)
        member.rules = GW_TRY(device.device->log_rules());
    members_.push_back(member);
    if (members_.size() == 1) {
        if (backend_->pins_pages())
            no_discard_ = vm_.ram().forbid_discard();
        auto listening = vm_.memory().try_add_listener(*this);
        if (!listening) {
            leave(device.device);
            return std::unexpected(std::move(listening).error());
        }
        listening_ = std::move(*listening);
    }
    return Registration([this, gone = device.device]() noexcept { leave(gone); });
}

void Container::leave(const DeviceBackend* device) noexcept
{
    const auto found = std::ranges::find_if(
        members_, [device](const Member& member) { return member.device.device == device; });
    if (found == members_.end())
        return;
    if (found->log_page != 0)
        (void)found->device.device->log_stop();
    members_.erase(found);
    if (members_.empty()) {
        listening_.reset();
        unmap_range(0, UINT64_MAX);
        no_discard_.reset();
    }
}

// --- mappings ----------------------------------------------------------------------------------

std::uint64_t Container::largest_mapping() const
{
    const std::uint64_t granule = limits_.granule();
    constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 62;  // leaves room to add to
    std::uint64_t largest = std::min(limits_.max_mapping_size, kNoLimit);
    if (rules_.available && rules_.whole_mappings)
        largest = std::min(largest, described(rules_.max_bitmap_bytes, rules_.page_size));
    for (const Member& member : members_)
        if (member.rules.available && member.rules.report_from_mapping_start)
            largest = std::min(largest, described(member.rules.max_bitmap_bytes, granule));
    return std::max(round_down(largest, granule), granule);
}

Result<void> Container::region_add(const system::MemorySection& section)
{
    const bool memory =
        section.kind == system::RegionKind::Ram || section.kind == system::RegionKind::Rom;
    if (!memory || section.block == nullptr)
        return {};
    auto mapped = map_section(section);
    if (mapped)
        return mapped;
    unmap_range(section.start, section.size);
    Error error = std::move(mapped).error().context(fmt::format(
        "{}: cannot map '{}' at {:#x} for DMA", backend_->name(), section.name, section.start));
    if (!section.block->migratable()) {  // no device needs another's registers to work
        vm_.log().warn(error.message());
        return {};
    }
    return error;
}

Result<void> Container::map_section(const system::MemorySection& section)
{
    const bool guest_ram = section.block->migratable();
    if (!guest_ram && !limits_.device_memory)
        return {};
    const std::uint64_t granule = limits_.granule();
    const std::uint64_t first = round_up(section.start, granule);
    const std::uint64_t end = round_down(section.start + section.size, granule);
    if (end <= first)
        return {};
    const auto usable = [&](const DmaLimits::Range& range) {
        return range.first <= first && end - 1 <= range.last;
    };
    if (!limits_.usable.empty() && std::ranges::none_of(limits_.usable, usable))
        return Error(Errc::Unsupported,
                     fmt::format("the IOMMU does not reach {:#x} to {:#x}", first, end - 1));
    const std::uint64_t largest = largest_mapping();
    const system::RamBlock& block = *section.block;
    const auto host = reinterpret_cast<std::uintptr_t>(block.host()) + section.block_offset;
    if (((host ^ section.start) & (granule - 1)) != 0) {  // no page of ours is one of the IOMMU's
        vm_.log().warn(fmt::format("{}: '{}' at {:#x} does not lie on the IOMMU's pages of {:#x} "
                                   "bytes; devices cannot reach it",
                                   backend_->name(), section.name, section.start, granule));
        return {};
    }
    for (std::uint64_t at = first; at < end; at += largest) {
        const std::uint64_t size = std::min(largest, end - at);
        const std::uint64_t offset = section.block_offset + (at - section.start);
        if (mappings_.size() >= limits_.max_mappings)
            return Error(Errc::OutOfMemory,
                         fmt::format("only {} mappings are possible", limits_.max_mappings));
        Mapped mapped{.dma = {.iova = at,
                              .size = size,
                              .host = block.host() + offset,
                              .fd = block.shared() ? block.fd() : -1,
                              .fd_offset = block.fd_offset() + offset,
                              .writable = section.kind == system::RegionKind::Ram},
                      .block = section.block,
                      .block_offset = offset,
                      .guest_ram = guest_ram};
        GW_TRY(backend_->map(mapped.dma));
        mapped.watched = covered(mapped);
        mappings_.emplace(at, std::move(mapped));
    }
    return {};
}

void Container::region_del(const system::MemorySection& section)
{
    unmap_range(section.start, section.size);
}

void Container::unmap_range(std::uint64_t iova, std::uint64_t size)
{
    for (auto at = mappings_.lower_bound(iova); at != mappings_.end() && at->first - iova < size;) {
        unmap_one(at->second);
        at = mappings_.erase(at);
    }
}

void Container::unmap_one(const Mapped& mapped)
{
    const bool has_bits = tracking_ && mapped.guest_ram && mapped.dma.writable;
    Result<void> done =
        has_bits ? unmap_tracked(mapped) : backend_->unmap(mapped.dma.iova, mapped.dma.size);
    if (!done)
        vm_.log().warn(std::move(done)
                           .error()
                           .context(fmt::format("{}: unmapping {:#x}+{:#x}", backend_->name(),
                                                mapped.dma.iova, mapped.dma.size))
                           .message());
}

// What was written to a mapping that goes is asked in the same breath: nobody can tell later.
Result<void> Container::unmap_tracked(const Mapped& mapped)
{
    if (*tracking_ == Tracker::None || !mapped.watched) {
        mark_all(mapped);
        return backend_->unmap(mapped.dma.iova, mapped.dma.size);
    }
    if (*tracking_ == Tracker::Backend) {
        auto bits = PageBits::create(mapped.dma.size, rules_.page_size);
        Result<void> done = bits ? backend_->unmap_dirty(mapped.dma.iova, mapped.dma.size, *bits)
                                 : Result<void>(std::unexpected(bits.error()));
        if (done) {
            mark(mapped, mapped.dma.iova, *bits);
            return {};
        }
        failed(std::move(done).error());
        mark_all(mapped);
        return backend_->unmap(mapped.dma.iova, mapped.dma.size);
    }
    const bool ask_first = std::ranges::any_of(
        members_, [](const Member& member) { return !member.rules.survives_unmap; });
    Result<void> asked = ask_first ? ask_logs(mapped) : ok();
    Result<void> done = backend_->unmap(mapped.dma.iova, mapped.dma.size);
    if (!ask_first)
        asked = ask_logs(mapped);
    if (!asked) {
        failed(std::move(asked).error());
        mark_all(mapped);
    }
    return done;
}

std::uint64_t Container::mapped_bytes() const
{
    return std::accumulate(mappings_.begin(), mappings_.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const auto& entry) {
                               return sum + (entry.second.guest_ram ? entry.second.dma.size : 0);
                           });
}

std::uint64_t Container::untracked_bytes() const
{
    std::uint64_t bytes = 0;
    for (const auto& [iova, mapped] : mappings_)
        if (tracking_ && mapped.guest_ram && mapped.dma.writable &&
            (*tracking_ == Tracker::None || !mapped.watched))
            bytes += mapped.dma.size;
    return bytes;
}

// --- dirty pages -------------------------------------------------------------------------------

Result<Tracker> Container::tracker()
{
    GW_TRY(learn_rules());
    const bool all_log =
        !members_.empty() &&
        std::ranges::all_of(members_, [](const Member& member) { return member.rules.available; });
    return all_log ? Tracker::DeviceLogs : rules_.available ? Tracker::Backend : Tracker::None;
}

Result<void> Container::log_global_start()
{
    tracking_error_.reset();
    const Tracker chosen = GW_TRY(tracker());
    if (chosen == Tracker::DeviceLogs)
        GW_TRY(start_logs());
    else if (chosen == Tracker::Backend)
        GW_TRY(with_context(backend_->dirty_start(), backend_->name()));
    tracking_ = chosen;
    for (auto& [iova, mapped] : mappings_)
        mapped.watched = covered(mapped);
    return {};
}

void Container::log_global_stop()
{
    if (!tracking_)
        return;
    if (*tracking_ == Tracker::DeviceLogs)
        stop_logs();
    else if (*tracking_ == Tracker::Backend)
        if (auto done = backend_->dirty_stop(); !done)
            vm_.log().warn(std::move(done).error().context(backend_->name()).message());
    tracking_.reset();
}

void Container::log_sync_global(bool last)
{
    if (!tracking_)
        return;
    const bool only_at_the_end = std::ranges::any_of(
        members_, [](const Member& member) { return !member.device.sync_in_precopy; });
    if (only_at_the_end && !last)
        return;
    vm_.recorder().record(kTraceSync, backend_->name(), last);
    for (const auto& [iova, mapped] : mappings_) {
        if (!mapped.guest_ram || !mapped.dma.writable)
            continue;
        if (*tracking_ == Tracker::None || !mapped.watched) {
            if (last)
                mark_all(mapped);
            continue;
        }
        if (auto asked = sync(mapped); !asked) {
            failed(std::move(asked).error());
            mark_all(mapped);
        }
    }
}

Result<void> Container::sync(const Mapped& mapped)
{
    return *tracking_ == Tracker::Backend ? ask_backend(mapped) : ask_logs(mapped);
}

Result<void> Container::ask_backend(const Mapped& mapped)
{
    // A bitmap of 4 MiB at a time, which is 128 GiB in small pages; a type1 mapping is one
    // question.
    constexpr std::uint64_t kEnough = std::uint64_t{4} << 20;
    const std::uint64_t piece =
        rules_.whole_mappings
            ? mapped.dma.size
            : described(std::min(rules_.max_bitmap_bytes, kEnough), rules_.page_size);
    const std::uint64_t first = round_down(mapped.dma.iova, rules_.page_size);
    const std::uint64_t end = round_up(mapped.dma.iova + mapped.dma.size, rules_.page_size);
    for (std::uint64_t at = first; at < end; at += piece) {
        PageBits bits = GW_TRY(PageBits::create(std::min(piece, end - at), rules_.page_size));
        GW_TRY(with_context(backend_->dirty_get(at, bits), backend_->name()));
        mark(mapped, at, bits);
    }
    return {};
}

Result<void> Container::ask_logs(const Mapped& mapped)
{
    Result<void> all;
    for (Member& member : members_)  // all of them, so that none keeps what was reported
        if (auto asked = ask_log(mapped, member); !asked && all)
            all = std::unexpected(std::move(asked).error().context(member.device.device->name()));
    return all;
}

Result<void> Container::ask_log(const Mapped& mapped, Member& member)
{
    const std::uint64_t page = member.rules.same_page_size ? member.log_page : host_page_size();
    const bool from_start = member.rules.report_from_mapping_start;
    const std::uint64_t first = from_start ? mapped.dma.iova : round_down(mapped.dma.iova, page);
    const std::uint64_t length = round_up(mapped.dma.iova + mapped.dma.size - first, page);
    const std::uint64_t piece =
        from_start ? length : described(member.rules.max_bitmap_bytes, page);
    for (std::uint64_t at = 0; at < length; at += piece) {
        PageBits bits = GW_TRY(PageBits::create(std::min(piece, length - at), page));
        GW_TRY(member.device.device->log_report(first + at, bits));
        mark(mapped, first + at, bits);
    }
    return {};
}

/// Of the pages in `bits`, which begin at `iova`, those inside the mapping.
void Container::mark(const Mapped& mapped, std::uint64_t iova, const PageBits& bits)
{
    const std::uint64_t start = mapped.dma.iova;
    const std::uint64_t end = start + mapped.dma.size;
    bits.for_each_run([&](std::uint64_t at, std::uint64_t length) {
        const std::uint64_t from = std::max(iova + at, start);
        const std::uint64_t to = std::min(iova + at + length, end);
        if (from < to)
            mapped.block->mark_dirty(mapped.block_offset + (from - start), to - from);
    });
}

void Container::mark_all(const Mapped& mapped)
{
    mapped.block->mark_dirty(mapped.block_offset, mapped.dma.size);
}

void Container::failed(Error error)
{
    if (tracking_error_)
        return;
    vm_.log().warn(
        fmt::format("dirty pages of devices: {}; what is mapped counts as dirty", error.message()));
    tracking_error_ = std::move(error);
}

// --- device logs -------------------------------------------------------------------------------

Result<void> Container::start_logs()
{
    logged_ = ranges_to_log();
    for (Member& member : members_) {
        const bool everything = member.rules.max_ranges == 0;
        auto started = member.device.device->log_start(
            host_page_size(), everything ? std::span<const DmaRange>{} : logged_);
        if (!started) {
            stop_logs();
            return std::unexpected(std::move(started)
                                       .error()
                                       .context("starting the log of its DMA")
                                       .context(member.device.device->name()));
        }
        member.log_page = *started;
    }
    if (std::ranges::all_of(members_,
                            [](const Member& member) { return member.rules.max_ranges == 0; }))
        logged_.clear();
    return {};
}

void Container::stop_logs() noexcept
{
    for (Member& member : members_) {
        if (member.log_page == 0)
            continue;
        if (auto stopped = member.device.device->log_stop(); !stopped)
            vm_.log().warn(
                std::move(stopped).error().context(member.device.device->name()).message());
        member.log_page = 0;
    }
    logged_.clear();
}

/// One box below 4 GiB and one above, or a single one for a device that takes no two: memory that
/// appears within them later is watched as well.
std::vector<DmaRange> Container::ranges_to_log() const
{
    constexpr std::uint64_t k4GiB = std::uint64_t{1} << 32;
    const bool single = std::ranges::any_of(
        members_, [](const Member& member) { return member.rules.max_ranges == 1; });
    std::vector<DmaRange> boxes;
    for (const auto& [iova, mapped] : mappings_) {
        if (!mapped.guest_ram || !mapped.dma.writable)
            continue;
        const bool same = !boxes.empty() && (single || iova < k4GiB || boxes.back().iova >= k4GiB);
        if (same)
            boxes.back().size = iova + mapped.dma.size - boxes.back().iova;
        else
            boxes.push_back({.iova = iova, .size = mapped.dma.size});
    }
    return boxes;
}

bool Container::covered(const Mapped& mapped) const
{
    if (logged_.empty())
        return true;
    return std::ranges::any_of(logged_, [&](const DmaRange& range) {
        return mapped.dma.iova >= range.iova && mapped.dma.iova - range.iova < range.size &&
               mapped.dma.size <= range.size - (mapped.dma.iova - range.iova);
    });
}

}  // namespace godwit::hw::vfio
