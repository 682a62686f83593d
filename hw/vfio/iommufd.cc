// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/iommufd.h"

#include "hw/vfio/abi.h"
#include "hw/vfio/fd_argument.h"
#include "system/vm.h"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>

namespace godwit::hw::vfio {

namespace {

constexpr std::uint32_t kMaxRanges = 1024;

bool is_errno(const Error& error, std::initializer_list<int> any)
{
    return std::ranges::find(any, error.os_errno()) != any.end();
}

}  // namespace

IommufdDma::IommufdDma(std::shared_ptr<Kernel> kernel, int fd, std::uint32_t ioas)
    : kernel_(std::move(kernel)), fd_(fd), ioas_(ioas), name_(fmt::format("iommufd ioas {}", ioas))
{}

Result<std::unique_ptr<IommufdDma>> IommufdDma::create(std::shared_ptr<Kernel> kernel, int fd)
{
    AbiIoasAlloc alloc;
    GW_TRY(kernel->call(fd, request::kIommufdIoasAlloc, alloc));
    return std::unique_ptr<IommufdDma>(new IommufdDma(std::move(kernel), fd, alloc.out_ioas_id));
}

IommufdDma::~IommufdDma()
{
    for (const Table& table : tables_)
        destroy(table.id);
    destroy(ioas_);
}

void IommufdDma::destroy(std::uint32_t id) noexcept
{
    AbiIommufdDestroy gone{.id = id};
    (void)kernel_->call(fd_, request::kIommufdDestroy, gone);
}

// --- page tables -------------------------------------------------------------------------------

Result<void> IommufdDma::attach_to(int device_fd, std::uint32_t table)
{
    AbiAttachPt attach{.pt_id = table};
    GW_TRY(kernel_->call(device_fd, request::kDeviceAttachPt, attach));
    return {};
}

Result<IommufdDma::Table> IommufdDma::make_table(std::uint32_t devid)
{
    AbiHwInfo info{.dev_id = devid};
    GW_TRY(kernel_->call(fd_, request::kIommufdGetHwInfo, info));
    const bool tracks = (info.out_capabilities & kHwCapDirtyTracking) != 0;
    AbiHwptAlloc alloc{
        .flags = tracks ? kHwptAllocDirtyTracking : 0, .dev_id = devid, .pt_id = ioas_};
    GW_TRY(kernel_->call(fd_, request::kIommufdHwptAlloc, alloc));
    return Table{.id = alloc.out_hwpt_id, .tracks = tracks};
}

Result<void> IommufdDma::attach(int device_fd, std::uint32_t devid)
{
    for (const Table& table : tables_) {
        const Result<void> fits = attach_to(device_fd, table.id);
        if (fits)
            return {};
        if (fits.error().os_errno() != EINVAL)
            return fits;
    }
    auto made = make_table(devid);
    if (!made && is_errno(made.error(), {ENOTTY, EOPNOTSUPP, ENOENT})) {
        untracked_ = true;  // an old kernel, or an IOMMU that hands out no tables
        return attach_to(device_fd, ioas_);
    }
    const Table table = GW_TRY(std::move(made));
    if (auto attached = attach_to(device_fd, table.id); !attached) {
        destroy(table.id);
        return attached;
    }
    tables_.push_back(table);
    return {};
}

void IommufdDma::detach(int device_fd) noexcept
{
    AbiDetachPt detach;
    (void)kernel_->call(device_fd, request::kDeviceDetachPt, detach);
}

// --- mappings ----------------------------------------------------------------------------------

Result<DmaLimits> IommufdDma::limits()
{
    std::vector<AbiIovaRange> ranges(32);
    AbiIoasIovaRanges asked;
    for (;;) {
        asked = {.ioas_id = ioas_,
                 .num_iovas = static_cast<std::uint32_t>(ranges.size()),
                 .allowed_iovas = reinterpret_cast<std::uintptr_t>(ranges.data())};
        auto done = kernel_->call(fd_, request::kIommufdIovaRanges, asked);
        if (done)
            break;
        if (done.error().os_errno() != EMSGSIZE || asked.num_iovas <= ranges.size() ||
            asked.num_iovas > kMaxRanges)
            return std::unexpected(std::move(done).error());
        ranges.resize(asked.num_iovas);
    }
    DmaLimits limits{.page_sizes = std::max<std::uint64_t>(asked.out_iova_alignment, 4096)};
    ranges.resize(std::min<std::size_t>(asked.num_iovas, ranges.size()));
    for (const AbiIovaRange& range : ranges)
        limits.usable.push_back({.first = range.start, .last = range.last});
    return limits;
}

Result<void> IommufdDma::map(const DmaMapping& mapping)
{
    AbiIoasMap map{.flags = kIoasMapFixed | kIoasMapReadable |
                            (mapping.writable ? kIoasMapWriteable : 0),
                   .ioas_id = ioas_,
                   .user_va = reinterpret_cast<std::uintptr_t>(mapping.host),
                   .length = mapping.size,
                   .iova = mapping.iova};
    GW_TRY(kernel_->call(fd_, request::kIommufdMap, map));
    return {};
}

Result<void> IommufdDma::unmap(std::uint64_t iova, std::uint64_t size)
{
    AbiIoasUnmap unmap{.ioas_id = ioas_, .iova = iova, .length = size};
    GW_TRY(kernel_->call(fd_, request::kIommufdUnmap, unmap));
    return {};
}

// --- dirty bits --------------------------------------------------------------------------------

Result<DmaTracking> IommufdDma::tracking()
{
    const bool all = !tables_.empty() && !untracked_ &&
                     std::ranges::all_of(tables_, [](const Table& table) { return table.tracks; });
    const DmaLimits now = GW_TRY(limits());
    return DmaTracking{.available = all, .page_size = now.granule()};
}

Result<void> IommufdDma::set_tracking(const Table& table, bool on)
{
    AbiSetDirtyTracking set{.flags = on ? 1U : 0U, .hwpt_id = table.id};
    GW_TRY(kernel_->call(fd_, request::kHwptSetDirtyTracking, set));
    return {};
}

Result<void> IommufdDma::dirty_start()
{
    for (std::size_t n = 0; n < tables_.size(); ++n) {
        auto started = set_tracking(tables_[n], true);
        if (started)
            continue;
        while (n-- > 0)
            (void)set_tracking(tables_[n], false);
        return started;
    }
    return {};
}

Result<void> IommufdDma::dirty_stop()
{
    Result<void> all;
    for (const Table& table : tables_)
        if (auto stopped = set_tracking(table, false); !stopped && all)
            all = std::move(stopped);
    return all;
}

Result<void> IommufdDma::get(std::uint64_t iova, PageBits& into, std::uint32_t flags)
{
    for (const Table& table : tables_) {
        AbiGetDirtyBitmap get{.hwpt_id = table.id,
                              .flags = flags,
                              .iova = iova,
                              .length = into.length(),
                              .page_size = into.page_size(),
                              .data = reinterpret_cast<std::uintptr_t>(into.words())};
        GW_TRY(kernel_->call(fd_, request::kHwptGetDirtyBitmap, get));
    }
    return {};
}

Result<void> IommufdDma::dirty_get(std::uint64_t iova, PageBits& into)
{
    return get(iova, into, 0);
}

// The bits go with the page table's entries, so there is no need to clear them and to flush the
// IOMMU's cache. A write between the two steps is lost, but the guest has given the range up.
Result<void> IommufdDma::unmap_dirty(std::uint64_t iova, std::uint64_t size, PageBits& into)
{
    GW_TRY(get(iova, into, kDirtyBitmapNoClear));
    return unmap(iova, size);
}

// --- the object --------------------------------------------------------------------------------

Result<void> Iommufd::complete(system::Vm& vm)
{
    if (fd_.empty()) {
        file_ = GW_TRY(kernel_->open("/dev/iommu"));
        return {};
    }
    file_ = GW_TRY(fd_argument(vm, fd_));
    return {};
}

Result<std::shared_ptr<Container>> Iommufd::attach(system::Vm& vm, int device_fd,
                                                   std::uint32_t devid)
{
    std::shared_ptr<Container> container = sharing_.lock();
    if (!container) {
        auto dma = GW_TRY(IommufdDma::create(kernel_, fd()));
        container = std::make_shared<Container>(vm, std::move(dma));
    }
    auto& dma = static_cast<IommufdDma&>(container->backend());
    GW_TRY(with_context(dma.attach(device_fd, devid), dma.name()));
    sharing_ = container;
    return container;
}

}  // namespace godwit::hw::vfio
