// SPDX-License-Identifier: LGPL-2.1-or-later
//
// DMA through a type1 container.
#pragma once

#include "hw/vfio/dma_backend.h"
#include "hw/vfio/kernel.h"

#include <memory>

namespace godwit::hw::vfio {

/// DmaBackend over a container descriptor whose IOMMU has been set.
///
/// Dirty pages: what mediated devices pin or write through the kernel; with a device that does not
/// restrict itself to that, every page of every mapping, each time.
/// Source   Linux, include/uapi/linux/vfio.h, "API for Type1 VFIO IOMMU".
class Type1Dma final : public DmaBackend {
public:
    /// `fd` is borrowed: the group set owns the container.
    Type1Dma(std::shared_ptr<Kernel> kernel, int fd, std::string name);

    const std::string& name() const noexcept override { return name_; }
    Result<DmaLimits> limits() override;
    bool pins_pages() const noexcept override { return true; }
    Result<void> map(const DmaMapping& mapping) override;
    Result<void> unmap(std::uint64_t iova, std::uint64_t size) override;
    Result<DmaTracking> tracking() override;
    Result<void> dirty_start() override;
    Result<void> dirty_stop() override;
    Result<void> dirty_get(std::uint64_t iova, PageBits& into) override;
    Result<void> unmap_dirty(std::uint64_t iova, std::uint64_t size, PageBits& into) override;

private:
    struct Info {
        std::uint64_t page_sizes = 4096;
        std::vector<DmaLimits::Range> usable;
        std::uint64_t available = UINT64_MAX;
        bool tracks = false;
        std::uint64_t tracked_page = 0;
        std::uint64_t max_bitmap_bytes = 0;
    };
    Result<Info> info();

    std::shared_ptr<Kernel> kernel_;
    int fd_;
    std::string name_;
    std::uint64_t mappings_ = 0;  ///< that we made: the kernel counts those still possible
};

}  // namespace godwit::hw::vfio
