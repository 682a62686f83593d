// SPDX-License-Identifier: LGPL-2.1-or-later
//
// DMA through iommufd: one address space, a page table for each kind of device that shares it.
#pragma once

#include "hw/vfio/container.h"
#include "hw/vfio/dma_backend.h"
#include "hw/vfio/kernel.h"
#include "system/object.h"

#include <memory>
#include <string>
#include <vector>

namespace godwit::hw::vfio {

/// DmaBackend over an IOAS of an iommufd.
///
/// Tracking is by page table: bits that the IOMMU sets. Enabling it clears what is stale; a
/// question clears what it answers, but for the one before an unmap.
/// Source   Linux, include/uapi/linux/iommufd.h.
class IommufdDma final : public DmaBackend {
public:
    /// `fd` is borrowed.
    static Result<std::unique_ptr<IommufdDma>> create(std::shared_ptr<Kernel> kernel, int fd);
    ~IommufdDma() override;

    /// Puts a bound device into a page table: one that takes it, or a new one, with dirty tracking
    /// if its IOMMU has it.
    Result<void> attach(int device_fd, std::uint32_t devid);
    void detach(int device_fd) noexcept;

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
    struct Table {
        std::uint32_t id = 0;
        bool tracks = false;
    };
    IommufdDma(std::shared_ptr<Kernel> kernel, int fd, std::uint32_t ioas);
    Result<Table> make_table(std::uint32_t devid);
    Result<void> attach_to(int device_fd, std::uint32_t table);
    Result<void> set_tracking(const Table& table, bool on);
    Result<void> get(std::uint64_t iova, PageBits& into, std::uint32_t flags);
    void destroy(std::uint32_t id) noexcept;

    std::shared_ptr<Kernel> kernel_;
    int fd_;
    std::uint32_t ioas_;
    std::string name_;
    std::vector<Table> tables_;
    bool untracked_ = false;  ///< a device is in a table of the kernel's making
};

/// `-object iommufd,id=...[,fd=...]`: the address space that its devices share.
class Iommufd final : public system::UserObject {
public:
    explicit Iommufd(std::shared_ptr<Kernel> kernel) : kernel_(std::move(kernel)) {}
    std::string fd_;  ///< property "fd": a descriptor handed in

    Result<void> complete(system::Vm& vm) override;
    bool in_use() const noexcept override { return !sharing_.expired(); }

    const std::shared_ptr<Kernel>& kernel() const noexcept { return kernel_; }
    int fd() const noexcept { return file_.get(); }
    /// The container of the devices here, with `devid` attached to it. Whoever holds it keeps it.
    Result<std::shared_ptr<Container>> attach(system::Vm& vm, int device_fd, std::uint32_t devid);

private:
    std::shared_ptr<Kernel> kernel_;
    UniqueFd file_;
    std::weak_ptr<Container> sharing_;
};

}  // namespace godwit::hw::vfio
