// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/region_info.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <type_traits>

namespace godwit::hw::vfio {

namespace {

template <class T>
bool copy_at(std::span<const std::byte> from, std::size_t at, T& into)
{
    static_assert(std::is_trivially_copyable_v<T>);
    if (at > from.size() || from.size() - at < sizeof into)
        return false;
    std::memcpy(&into, from.data() + at, sizeof into);
    return true;
}

Error malformed(std::uint32_t index, std::string_view what)
{
    return Error(Errc::BadFormat, fmt::format("region {}: {}", index, what));
}

/// nr_areas, reserved, then pairs of offset and size.
Result<std::vector<RegionArea>> sparse_areas(std::span<const std::byte> answer, std::size_t at,
                                             const RegionInfo& region)
{
    std::uint32_t count = 0;
    if (!copy_at(answer, at + sizeof(AbiCapHeader), count))
        return malformed(region.index, "its list of mappable areas is cut short");
    at += sizeof(AbiCapHeader) + 8;
    std::vector<RegionArea> areas;
    for (std::uint32_t n = 0; n < count; ++n, at += sizeof(RegionArea)) {
        RegionArea area;
        if (!copy_at(answer, at, area))
            return malformed(region.index, "its list of mappable areas is cut short");
        if (area.size != 0)
            areas.push_back(area);
    }
    std::ranges::sort(areas, {}, &RegionArea::offset);
    const std::uint64_t page = host_page_size();
    std::uint64_t end = 0;
    for (const RegionArea& area : areas) {
        if (area.offset % page != 0 || area.size % page != 0 || area.offset < end ||
            area.offset > region.size || area.size > region.size - area.offset)
            return malformed(region.index, fmt::format("mappable area {:#x}+{:#x} does not fit",
                                                       area.offset, area.size));
        end = area.offset + area.size;
    }
    return areas;
}

/// Walks the chain; each hop must lead further into the answer, so that it ends.
Result<void> read_capabilities(std::span<const std::byte> answer, std::uint32_t at,
                               RegionInfo& region)
{
    for (std::uint32_t last = sizeof(AbiRegionInfo) - 1; at != 0;) {
        AbiCapHeader header;
        if (at <= last || !copy_at(answer, at, header))
            return malformed(region.index, "its capabilities lead outside the answer");
        if (header.id == kRegionCapSparse) {
            region.mappable = GW_TRY(sparse_areas(answer, at, region));
        } else if (header.id == kRegionCapType) {
            RegionType type;
            if (!copy_at(answer, at + sizeof header, type))
                return malformed(region.index, "its type is cut short");
            region.type = type;
        } else if (header.id == kRegionCapMsixMappable) {
            region.msix_mappable = true;
        }
        last = at;
        at = header.next;
    }
    return {};
}

}  // namespace

Result<RegionInfo> parse_region_info(std::span<const std::byte> answer, std::uint32_t index)
{
    AbiRegionInfo fixed;
    if (!copy_at(answer, 0, fixed))
        return malformed(index, "the answer is cut short");
    RegionInfo region{.index = index,
                      .size = fixed.size,
                      .readable = (fixed.flags & kRegionRead) != 0,
                      .writable = (fixed.flags & kRegionWrite) != 0};
    const bool mappable = (fixed.flags & kRegionMmap) != 0;
    if (mappable && fixed.size >= host_page_size())
        region.mappable = {{0, fixed.size - fixed.size % host_page_size()}};
    if ((fixed.flags & kRegionCaps) != 0)
        GW_TRY(read_capabilities(answer, fixed.cap_offset, region));
    if (!mappable)
        region.mappable.clear();
    return region;
}

}  // namespace godwit::hw::vfio
