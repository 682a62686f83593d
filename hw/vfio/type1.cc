// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/type1.h"

#include "hw/vfio/abi.h"

#include <bit>
#include <cstring>
#include <fmt/format.h>

namespace godwit::hw::vfio {

namespace {

constexpr std::size_t kMaxInfo = 64 * 1024;

template <class T>
bool copy_at(std::span<const std::byte> from, std::size_t at, T& into)
{
    if (at > from.size() || from.size() - at < sizeof into)
        return false;
    std::memcpy(&into, from.data() + at, sizeof into);
    return true;
}

struct MigrationCap {
    AbiCapHeader header;
    std::uint32_t flags = 0;
    std::uint32_t pad = 0;
    std::uint64_t pgsize_bitmap = 0;
    std::uint64_t max_dirty_bitmap_size = 0;
};
static_assert(sizeof(MigrationCap) == 32);

AbiBitmap bitmap_of(PageBits& bits)
{
    return {.pgsize = bits.page_size(),
            .size = bits.bytes(),
            .data = reinterpret_cast<std::uintptr_t>(bits.words())};
}

}  // namespace

Type1Dma::Type1Dma(std::shared_ptr<Kernel> kernel, int fd, std::string name)
    : kernel_(std::move(kernel)), fd_(fd), name_(std::move(name))
{}

Result<Type1Dma::Info> Type1Dma::info()
{
    std::vector<std::byte> answer(sizeof(AbiIommuInfo));
    AbiIommuInfo fixed;
    for (int round = 0;; ++round) {
        fixed = {.argsz = static_cast<std::uint32_t>(answer.size())};
        std::memcpy(answer.data(), &fixed, sizeof fixed);
        GW_TRY(kernel_->ioctl(fd_, request::kIommuGetInfo, answer));
        std::memcpy(&fixed, answer.data(), sizeof fixed);
        if (fixed.argsz <= answer.size())
            break;
        if (fixed.argsz > kMaxInfo || round == 2)
            return Error(Errc::BadFormat,
                         fmt::format("VFIO_IOMMU_GET_INFO: an answer of {} bytes", fixed.argsz));
        answer.resize(fixed.argsz);
    }
    Info info;
    if ((fixed.flags & kIommuInfoPgsizes) != 0)
        info.page_sizes = fixed.iova_pgsizes;
    std::uint32_t last = sizeof fixed - 1;
    for (std::uint32_t at = (fixed.flags & kIommuInfoCaps) != 0 ? fixed.cap_offset : 0; at != 0;) {
        AbiCapHeader header;
        if (at <= last || !copy_at(answer, at, header))
            return Error(Errc::BadFormat,
                         "VFIO_IOMMU_GET_INFO: capabilities lead outside the answer");
        std::uint32_t count = 0;
        MigrationCap migration;
        if (header.id == kIommuCapMigration && copy_at(answer, at, migration)) {
            info.tracks = migration.pgsize_bitmap != 0 && migration.max_dirty_bitmap_size >= 8;
            info.tracked_page = migration.pgsize_bitmap & (~migration.pgsize_bitmap + 1);
            info.max_bitmap_bytes = migration.max_dirty_bitmap_size;
        } else if (header.id == kIommuCapDmaAvail && copy_at(answer, at + sizeof header, count)) {
            info.available = count;
        } else if (header.id == kIommuCapRanges && copy_at(answer, at + sizeof header, count)) {
            DmaLimits::Range range;
            for (std::uint32_t n = 0;
                 n < count && copy_at(answer, at + sizeof header + 8 + n * sizeof range, range);
                 ++n)
                info.usable.push_back(range);
        }
        last = at;
        at = header.next;
    }
    return info;
}

Result<DmaLimits> Type1Dma::limits()
{
    const Info now = GW_TRY(info());
    const bool counted = now.available != UINT64_MAX;
    return DmaLimits{.page_sizes = now.page_sizes,
                     .max_mappings = counted ? now.available + mappings_ : UINT64_MAX,
                     .usable = now.usable,
                     .device_memory = true};
}

Result<void> Type1Dma::map(const DmaMapping& mapping)
{
    AbiDmaMap map{.flags = kDmaMapRead | (mapping.writable ? kDmaMapWrite : 0),
                  .vaddr = reinterpret_cast<std::uintptr_t>(mapping.host),
                  .iova = mapping.iova,
                  .size = mapping.size};
    GW_TRY(kernel_->call(fd_, request::kIommuMapDma, map));
    ++mappings_;
    return {};
}

Result<void> Type1Dma::unmap(std::uint64_t iova, std::uint64_t size)
{
    AbiDmaUnmap unmap{.iova = iova, .size = size};
    GW_TRY(kernel_->call(fd_, request::kIommuUnmapDma, unmap));
    --mappings_;
    return {};
}

Result<DmaTracking> Type1Dma::tracking()
{
    const Info now = GW_TRY(info());
    return DmaTracking{.available = now.tracks,
                       .page_size = now.tracked_page,
                       .max_bitmap_bytes = now.max_bitmap_bytes,
                       .whole_mappings = true,
                       .atomic_unmap = true};
}

Result<void> Type1Dma::dirty_start()
{
    AbiDirtyBitmap start{.flags = kDirtyPagesStart};
    GW_TRY(kernel_->call(fd_, request::kIommuDirtyPages, start));
    return {};
}

Result<void> Type1Dma::dirty_stop()
{
    AbiDirtyBitmap stop{.flags = kDirtyPagesStop};
    GW_TRY(kernel_->call(fd_, request::kIommuDirtyPages, stop));
    return {};
}

Result<void> Type1Dma::dirty_get(std::uint64_t iova, PageBits& into)
{
    AbiDirtyBitmap get{.argsz = sizeof get,
                       .flags = kDirtyPagesGet,
                       .iova = iova,
                       .size = into.length(),
                       .bitmap = bitmap_of(into)};
    GW_TRY(kernel_->call(fd_, request::kIommuDirtyPages, get));
    return {};
}

Result<void> Type1Dma::unmap_dirty(std::uint64_t iova, std::uint64_t size, PageBits& into)
{
    struct {
        AbiDmaUnmap unmap;
        AbiBitmap bitmap;
    } both{.unmap = {.argsz = sizeof both, .flags = kDmaUnmapGetDirty, .iova = iova, .size = size},
           .bitmap = bitmap_of(into)};
    GW_TRY(kernel_->call(fd_, request::kIommuUnmapDma, both));
    --mappings_;
    return {};
}

}  // namespace godwit::hw::vfio
