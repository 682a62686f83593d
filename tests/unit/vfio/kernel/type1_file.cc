// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/unit/vfio/kernel/type1_file.h"

#include "hw/vfio/abi.h"
#include "tests/unit/vfio/kernel/device_file.h"
#include "tests/unit/vfio/kernel/test_kernel.h"

#include <algorithm>

namespace godwit::hw::vfio::test {

namespace {

constexpr unsigned long kUnmapAll = 9;

struct MigrationCap {
    AbiCapHeader header{.id = kIommuCapMigration, .version = 1};
    std::uint32_t flags = 0;
    std::uint32_t pad = 0;
    std::uint64_t pgsize_bitmap = 0;
    std::uint64_t max_dirty_bitmap_size = 0;
};
static_assert(sizeof(MigrationCap) == 32);

struct AvailCap {
    AbiCapHeader header{.id = kIommuCapDmaAvail, .version = 1};
    std::uint32_t avail = 0;
    std::uint32_t pad = 0;
};

}  // namespace

std::uint64_t ContainerFile::granule() const
{
    const std::uint64_t sizes = kernel_.container_rules.page_sizes;
    return sizes & (~sizes + 1);
}

int ContainerFile::attach(GroupFile& group)
{
    groups_.push_back(&group);
    return 0;
}

void ContainerFile::detach(GroupFile& group)
{
    const bool pinned_before = all_pin();
    std::erase(groups_, &group);
    if (!pinned_before && all_pin())
        report_all_once_ = true;
    if (groups_.empty()) {
        type_ = 0;
        tracking_ = false;
        remove(0, UINT64_MAX);
    }
}

bool ContainerFile::all_pin() const
{
    return std::ranges::all_of(groups_, [](const GroupFile* group) {
        return std::ranges::all_of(group->devices(),
                                   [](const auto& device) { return device->spec().pins; });
    });
}

int ContainerFile::ioctl_number(unsigned long request, unsigned long number)
{
    switch (request) {
    case request::kGetApiVersion:
        return 0;
    case request::kCheckExtension:
        return number == kType1Iommu || number == kType1v2Iommu || number == kUnmapAll ? 1 : 0;
    case request::kSetIommu:
        if (groups_.empty() || type_ != 0 || (number != kType1Iommu && number != kType1v2Iommu))
            return -EINVAL;
        type_ = number;
        for (GroupFile* group : groups_)
            for (const auto& device : group->devices())
                device->dma = this;
        return 0;
    default:
        return -ENOTTY;
    }
}

int ContainerFile::ioctl(unsigned long request, std::span<std::byte> argument)
{
    if (type_ == 0)
        return -EINVAL;
    switch (request) {
    case request::kIommuGetInfo:
        return get_info(argument);
    case request::kIommuMapDma:
        return map(argument);
    case request::kIommuUnmapDma:
        return unmap(argument);
    case request::kIommuDirtyPages:
        return dirty(argument);
    default:
        return -ENOTTY;
    }
}

int ContainerFile::get_info(std::span<std::byte> argument)
{
    AbiIommuInfo info;
    if (!get_argument(argument, info, 16))
        return -EINVAL;
    const auto& rules = kernel_.container_rules;
    const std::uint32_t asked = info.argsz;
    info = {.flags = kIommuInfoPgsizes, .iova_pgsizes = rules.page_sizes};
    std::vector<std::byte> caps;
    const auto add = [&caps](auto cap, bool last) {
        cap.header.next =
            last ? 0 : static_cast<std::uint32_t>(sizeof(AbiIommuInfo) + caps.size() + sizeof cap);
        const auto bytes = std::as_bytes(std::span(&cap, 1));
        caps.insert(caps.end(), bytes.begin(), bytes.end());
    };
    add(AvailCap{.avail = rules.max_mappings - static_cast<std::uint32_t>(windows().size())},
        !rules.migration);
    if (rules.migration)
        add(MigrationCap{.pgsize_bitmap = granule(),
                         .max_dirty_bitmap_size = rules.max_bitmap_bytes},
            true);
    info.flags |= kIommuInfoCaps;
    info.argsz = static_cast<std::uint32_t>(sizeof info + caps.size());
    if (asked >= info.argsz) {
        info.cap_offset = sizeof info;
        std::memcpy(argument.data() + sizeof info, caps.data(), caps.size());
    }
    put_argument(argument.first(std::min<std::size_t>(asked, argument.size())), info);
    return 0;
}

int ContainerFile::map(std::span<std::byte> argument)
{
    AbiDmaMap map;
    if (!get_argument(argument, map) || (map.flags & ~(kDmaMapRead | kDmaMapWrite)) != 0 ||
        (map.flags & (kDmaMapRead | kDmaMapWrite)) == 0)
        return -EINVAL;
    const std::uint64_t mask = granule() - 1;
    if (map.size == 0 || ((map.size | map.iova | map.vaddr) & mask) != 0 ||
        map.iova + (map.size - 1) < map.iova)
        return -EINVAL;
    if (overlaps(map.iova, map.size))
        return -EEXIST;
    if (windows().size() >= kernel_.container_rules.max_mappings)
        return -ENOSPC;
    add({.iova = map.iova,
         .size = map.size,
         .host = reinterpret_cast<std::byte*>(map.vaddr),
         .read = (map.flags & kDmaMapRead) != 0,
         .write = (map.flags & kDmaMapWrite) != 0});
    return 0;
}

int ContainerFile::check_bitmap(std::uint64_t pgsize, std::uint64_t bytes, std::uint64_t size) const
{
    const std::uint64_t pages = size / granule();
    if (pgsize != granule() || pages == 0 || size % granule() != 0 ||
        bytes < (pages + 63) / 64 * 8 || bytes > kernel_.container_rules.max_bitmap_bytes)
        return -EINVAL;
    return 0;
}

void ContainerFile::report(std::uint64_t iova, std::uint64_t size, std::uint64_t* words)
{
    std::set<std::uint64_t> all;
    for (const auto& [start, window] : windows())
        if (start >= iova && window.iova + (window.size - 1) <= iova + (size - 1))
            note_pages(all, granule(), window.iova, window.size);
    const bool everything = !all_pin() || report_all_once_;
    put_bits(everything ? all : dirty_, granule(), iova, size, granule(), words);
    drop_pages(dirty_, granule(), iova, size);
}

int ContainerFile::unmap(std::span<std::byte> argument)
{
    AbiDmaUnmap unmap;
    if (!get_argument(argument, unmap) ||
        (unmap.flags & ~(kDmaUnmapGetDirty | kDmaUnmapAll)) != 0 ||
        unmap.flags == (kDmaUnmapGetDirty | kDmaUnmapAll))
        return -EINVAL;
    if ((unmap.flags & kDmaUnmapAll) != 0) {
        if (unmap.iova != 0 || unmap.size != 0)
            return -EINVAL;
        unmap.size = remove(0, UINT64_MAX);
        put_argument(argument.first(sizeof unmap), unmap);
        return 0;
    }
    if (unmap.size == 0 || ((unmap.iova | unmap.size) & (granule() - 1)) != 0 ||
        unmap.iova + (unmap.size - 1) < unmap.iova)
        return -EINVAL;
    if (cuts(unmap.iova, unmap.size))
        return -EINVAL;
    if ((unmap.flags & kDmaUnmapGetDirty) != 0) {
        AbiBitmap bitmap;
        if (!tracking_ || unmap.argsz < sizeof unmap + sizeof bitmap)
            return -EINVAL;
        std::memcpy(&bitmap, argument.data() + sizeof unmap, sizeof bitmap);
        if (const int bad = check_bitmap(bitmap.pgsize, bitmap.size, unmap.size); bad != 0)
            return bad;
        report(unmap.iova, unmap.size, reinterpret_cast<std::uint64_t*>(bitmap.data));
    }
    drop_pages(dirty_, granule(), unmap.iova, unmap.size);
    unmap.size = remove(unmap.iova, unmap.size);
    put_argument(argument.first(sizeof unmap), unmap);
    return 0;
}

int ContainerFile::dirty(std::span<std::byte> argument)
{
    if (type_ != kType1v2Iommu)
        return -EACCES;
    AbiDirtyBitmap dirty;
    if (!kernel_.container_rules.migration)
        return -ENOTTY;
    if (!get_argument(argument, dirty, 8))
        return -EINVAL;
    switch (dirty.flags) {
    case kDirtyPagesStart:
        tracking_ = true;
        return 0;
    case kDirtyPagesStop:
        tracking_ = false;
        dirty_.clear();
        return 0;
    case kDirtyPagesGet:
        break;
    default:
        return -EINVAL;
    }
    if (!get_argument(argument, dirty) || !tracking_ || (dirty.iova & (granule() - 1)) != 0 ||
        dirty.iova + (dirty.size - 1) < dirty.iova)
        return -EINVAL;
    if (const int bad = check_bitmap(dirty.bitmap.pgsize, dirty.bitmap.size, dirty.size); bad != 0)
        return bad;
    if (cuts(dirty.iova, dirty.size))
        return -EINVAL;
    report(dirty.iova, dirty.size, reinterpret_cast<std::uint64_t*>(dirty.bitmap.data));
    report_all_once_ = false;
    return 0;
}

void ContainerFile::wrote(TestDevice&, std::uint64_t iova, std::uint64_t length)
{
    if (tracking_)
        note_pages(dirty_, granule(), iova, length);
}

// --- groups ------------------------------------------------------------------------------------

int GroupFile::ioctl(unsigned long request, std::span<std::byte> argument)
{
    if (request == request::kGroupGetStatus) {
        AbiGroupStatus status;
        if (!get_argument(argument, status))
            return -EINVAL;
        status.flags = kGroupViable | (container_ ? kGroupContainerSet : 0);
        put_argument(argument, status);
        return 0;
    }
    if (request == request::kGroupSetContainer) {
        int container = -1;
        if (argument.size() != sizeof container)
            return -EFAULT;
        std::memcpy(&container, argument.data(), sizeof container);
        return set_container(container);
    }
    if (request == request::kGroupGetDeviceFd)
        return device_fd(argument);
    return -ENOTTY;
}

int GroupFile::ioctl_number(unsigned long request, unsigned long)
{
    if (request != request::kGroupUnsetContainer)
        return -ENOTTY;
    if (!container_)
        return -EINVAL;
    for (const auto& device : devices_)
        device->dma = nullptr;
    container_->detach(*this);
    container_.reset();
    return 0;
}

int GroupFile::set_container(int number)
{
    if (container_)
        return -EINVAL;
    const auto container = std::dynamic_pointer_cast<ContainerFile>(kernel_.file(number));
    if (!container)
        return -EBADF;
    container_ = container;
    if (container->ready())
        for (const auto& device : devices_)
            device->dma = container.get();
    return container->attach(*this);
}

int GroupFile::device_fd(std::span<const std::byte> name)
{
    if (!container_ || !container_->ready())
        return -EINVAL;
    const std::string wanted(reinterpret_cast<const char*>(name.data()),
                             ::strnlen(reinterpret_cast<const char*>(name.data()), name.size()));
    const std::size_t blank = wanted.find(' ');
    const std::string token = blank == std::string::npos ? "" : wanted.substr(blank + 1);
    for (const auto& device : devices_)
        if (device->spec().address == wanted.substr(0, blank) && !device->spec().vf_token.empty() &&
            token != "vf_token=" + device->spec().vf_token)
            return -EACCES;
    for (const auto& device : devices_)
        if (device->spec().address == wanted.substr(0, blank))
            return kernel_.install(std::make_shared<DeviceFile>(kernel_, device, false));
    return -ENODEV;
}

}  // namespace godwit::hw::vfio::test
