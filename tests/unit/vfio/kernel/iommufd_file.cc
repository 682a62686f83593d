// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/unit/vfio/kernel/iommufd_file.h"

#include "hw/vfio/abi.h"
#include "tests/unit/vfio/kernel/test_kernel.h"

#include <algorithm>
#include <bit>

namespace godwit::hw::vfio::test {

int IommufdFile::ioctl(unsigned long request, std::span<std::byte> argument)
{
    switch (request) {
    case request::kIommufdDestroy:
        return destroy(argument);
    case request::kIommufdIoasAlloc:
        return ioas_alloc(argument);
    case request::kIommufdIovaRanges:
        return iova_ranges(argument);
    case request::kIommufdMap:
        return map(argument);
    case request::kIommufdUnmap:
        return unmap(argument);
    case request::kIommufdHwptAlloc:
        return hwpt_alloc(argument);
    case request::kIommufdGetHwInfo:
        return hw_info(argument);
    case request::kHwptSetDirtyTracking:
        return set_tracking(argument);
    case request::kHwptGetDirtyBitmap:
        return get_bitmap(argument);
    default:
        return -ENOTTY;
    }
}

IommufdFile::Ioas* IommufdFile::ioas(std::uint32_t id)
{
    const auto found = spaces_.find(id);
    return found != spaces_.end() ? found->second.get() : nullptr;
}

IommufdFile::Hwpt* IommufdFile::hwpt(std::uint32_t id)
{
    const auto found = tables_.find(id);
    return found != tables_.end() ? found->second.get() : nullptr;
}

void IommufdFile::Ioas::wrote(TestDevice& device, std::uint64_t iova, std::uint64_t length)
{
    for (Hwpt* table : tables)
        if (table->can_track && table->devices.contains(&device))
            note_pages(table->dirty, kPage, iova, length);
}

std::uint32_t IommufdFile::bind(TestDevice& device)
{
    devices_[next_id_] = &device;
    return next_id_++;
}

int IommufdFile::attach(TestDevice& device, std::uint32_t page_table)
{
    Hwpt* table = hwpt(page_table);
    if (Ioas* space = ioas(page_table); space != nullptr) {  // a table of the kernel's making
        auto made = std::make_unique<Hwpt>();
        made->ioas = space;
        made->automatic = true;
        table = made.get();
        space->tables.push_back(table);
        tables_[next_id_++] = std::move(made);
    }
    if (table == nullptr)
        return -ENOENT;
    if (table->can_track && !device.spec().iommu_dirty)
        return -EINVAL;
    detach(device);
    table->devices.insert(&device);
    device.dma = table->ioas;
    return 0;
}

void IommufdFile::detach(TestDevice& device)
{
    for (auto& [id, table] : tables_)
        table->devices.erase(&device);
    device.dma = nullptr;
}

int IommufdFile::ioas_alloc(std::span<std::byte> argument)
{
    AbiIoasAlloc alloc;
    if (!get_argument(argument, alloc))
        return -EINVAL;
    if (alloc.flags != 0)
        return -EOPNOTSUPP;
    alloc.out_ioas_id = next_id_++;
    spaces_[alloc.out_ioas_id] = std::make_unique<Ioas>();
    put_argument(argument, alloc);
    return 0;
}

int IommufdFile::iova_ranges(std::span<std::byte> argument)
{
    AbiIoasIovaRanges ranges;
    if (!get_argument(argument, ranges))
        return -EINVAL;
    if (ioas(ranges.ioas_id) == nullptr)
        return -ENOENT;
    const AbiIovaRange all[2] = {{0, 0xfedfffff}, {0xfef00000, (std::uint64_t{1} << 48) - 1}};
    const std::uint32_t room = ranges.num_iovas;
    ranges.num_iovas = 2;
    ranges.out_iova_alignment = alignment;
    if (room >= 2)
        std::memcpy(reinterpret_cast<void*>(ranges.allowed_iovas), all, sizeof all);
    put_argument(argument, ranges);
    return room >= 2 ? 0 : -EMSGSIZE;
}

int IommufdFile::map(std::span<std::byte> argument)
{
    AbiIoasMap map;
    if (!get_argument(argument, map))
        return -EINVAL;
    constexpr std::uint32_t kAccess = kIoasMapWriteable | kIoasMapReadable;
    if ((map.flags & ~(kAccess | kIoasMapFixed)) != 0)
        return -EOPNOTSUPP;
    Ioas* const space = ioas(map.ioas_id);
    if (space == nullptr)
        return -ENOENT;
    if ((map.flags & kIoasMapFixed) == 0 || (map.flags & kAccess) == 0 || map.length == 0 ||
        ((map.length | map.iova | map.user_va) & (alignment - 1)) != 0)
        return -EINVAL;
    if (map.iova + (map.length - 1) < map.iova)
        return -EOVERFLOW;
    if (space->overlaps(map.iova, map.length))
        return -EEXIST;
    space->add({.iova = map.iova,
                .size = map.length,
                .host = reinterpret_cast<std::byte*>(map.user_va),
                .read = (map.flags & kIoasMapReadable) != 0,
                .write = (map.flags & kIoasMapWriteable) != 0});
    return 0;
}

int IommufdFile::unmap(std::span<std::byte> argument)
{
    AbiIoasUnmap unmap;
    if (!get_argument(argument, unmap))
        return -EINVAL;
    Ioas* const space = ioas(unmap.ioas_id);
    if (space == nullptr)
        return -ENOENT;
    if (unmap.length == 0 || unmap.iova + (unmap.length - 1) < unmap.iova)
        return -EOVERFLOW;
    if (space->cuts(unmap.iova, unmap.length))
        return -EINVAL;
    for (Hwpt* table : space->tables)
        drop_pages(table->dirty, DmaSpace::kPage, unmap.iova, unmap.length);
    unmap.length = space->remove(unmap.iova, unmap.length);
    if (unmap.length == 0)
        return -ENOENT;
    put_argument(argument, unmap);
    return 0;
}

int IommufdFile::hwpt_alloc(std::span<std::byte> argument)
{
    AbiHwptAlloc alloc;
    if (!get_argument(argument, alloc, 40))
        return -EINVAL;
    if ((alloc.flags & ~7U) != 0)
        return -EOPNOTSUPP;
    Ioas* const space = ioas(alloc.pt_id);
    const auto device = devices_.find(alloc.dev_id);
    if (space == nullptr || device == devices_.end())
        return -ENOENT;
    const bool track = (alloc.flags & kHwptAllocDirtyTracking) != 0;
    if (track && !device->second->spec().iommu_dirty)
        return -EOPNOTSUPP;
    auto made = std::make_unique<Hwpt>();
    made->ioas = space;
    made->can_track = track;
    space->tables.push_back(made.get());
    alloc.out_hwpt_id = next_id_++;
    tables_[alloc.out_hwpt_id] = std::move(made);
    put_argument(argument.first(std::min(argument.size(), sizeof alloc)), alloc);
    return 0;
}

int IommufdFile::hw_info(std::span<std::byte> argument)
{
    AbiHwInfo info;
    if (!get_argument(argument, info))
        return -EINVAL;
    const auto device = devices_.find(info.dev_id);
    if (device == devices_.end())
        return -ENOENT;
    info.out_capabilities = device->second->spec().iommu_dirty ? kHwCapDirtyTracking : 0;
    put_argument(argument, info);
    return 0;
}

int IommufdFile::set_tracking(std::span<std::byte> argument)
{
    AbiSetDirtyTracking set;
    if (!get_argument(argument, set))
        return -EINVAL;
    if ((set.flags & ~1U) != 0)
        return -EOPNOTSUPP;
    Hwpt* const table = hwpt(set.hwpt_id);
    if (table == nullptr)
        return -ENOENT;
    if (!table->can_track)
        return -EOPNOTSUPP;
    const bool on = (set.flags & 1) != 0;
    if (on && !table->tracking)
        table->dirty.clear();  // what was stale
    table->tracking = on;
    return 0;
}

int IommufdFile::get_bitmap(std::span<std::byte> argument)
{
    AbiGetDirtyBitmap get;
    if (!get_argument(argument, get))
        return -EINVAL;
    if ((get.flags & ~kDirtyBitmapNoClear) != 0 || get.reserved != 0)
        return -EOPNOTSUPP;
    Hwpt* const table = hwpt(get.hwpt_id);
    if (table == nullptr)
        return -ENOENT;
    if (!table->can_track)
        return -EOPNOTSUPP;
    if (get.length == 0 || get.iova + (get.length - 1) < get.iova)
        return -EOVERFLOW;
    if (!std::has_single_bit(get.page_size) || get.page_size < DmaSpace::kPage ||
        ((get.iova | get.length) & (alignment - 1)) != 0 ||
        ((get.iova | get.length) & (get.page_size - 1)) != 0 || !table->tracking)
        return -EINVAL;
    put_bits(table->dirty, DmaSpace::kPage, get.iova, get.length, get.page_size,
             reinterpret_cast<std::uint64_t*>(get.data));
    if ((get.flags & kDirtyBitmapNoClear) == 0)
        drop_pages(table->dirty, DmaSpace::kPage, get.iova, get.length);
    return 0;
}

int IommufdFile::destroy(std::span<std::byte> argument)
{
    AbiIommufdDestroy gone;
    if (!get_argument(argument, gone))
        return -EINVAL;
    if (Hwpt* table = hwpt(gone.id); table != nullptr) {
        if (!table->devices.empty())
            return -EBUSY;
        std::erase(table->ioas->tables, table);
        tables_.erase(gone.id);
        return 0;
    }
    Ioas* const space = ioas(gone.id);
    if (space == nullptr)
        return -ENOENT;
    std::erase_if(tables_, [&](const auto& entry) {  // the kernel's own go with it
        const Hwpt& table = *entry.second;
        const bool dead = table.ioas == space && table.automatic && table.devices.empty();
        if (dead)
            std::erase(space->tables, &table);
        return dead;
    });
    if (!space->tables.empty())
        return -EBUSY;
    spaces_.erase(gone.id);
    return 0;
}

}  // namespace godwit::hw::vfio::test
