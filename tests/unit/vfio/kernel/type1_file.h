// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Groups and type1 containers.
#pragma once

#include "tests/unit/vfio/kernel/dma_space.h"
#include "tests/unit/vfio/kernel/file.h"
#include "tests/unit/vfio/kernel/test_device.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace godwit::hw::vfio::test {

class GroupFile;

/// Source   Linux, drivers/vfio/vfio_iommu_type1.c.
class ContainerFile final : public File, public DmaSpace {
public:
    using File::File;
    int ioctl(unsigned long request, std::span<std::byte> argument) override;
    int ioctl_number(unsigned long request, unsigned long number) override;
    void wrote(TestDevice& device, std::uint64_t iova, std::uint64_t length) override;
    int attach(GroupFile& group);
    void detach(GroupFile& group);
    bool ready() const { return type_ != 0; }
    bool tracking() const { return tracking_; }

private:
    int get_info(std::span<std::byte> argument);
    int map(std::span<std::byte> argument);
    int unmap(std::span<std::byte> argument);
    int dirty(std::span<std::byte> argument);
    int check_bitmap(const std::uint64_t pgsize, std::uint64_t bytes, std::uint64_t size) const;
    void report(std::uint64_t iova, std::uint64_t size, std::uint64_t* words);
    bool all_pin() const;
    std::uint64_t granule() const;

    unsigned long type_ = 0;
    std::vector<GroupFile*> groups_;
    bool tracking_ = false;
    bool report_all_once_ = false;  // a device that does not pin has gone
    std::set<std::uint64_t> dirty_;
};

class GroupFile final : public File {
public:
    using File::File;
    void add(std::shared_ptr<TestDevice> device) { devices_.push_back(std::move(device)); }
    int ioctl(unsigned long request, std::span<std::byte> argument) override;
    int ioctl_number(unsigned long request, unsigned long number) override;
    const std::vector<std::shared_ptr<TestDevice>>& devices() const { return devices_; }
    bool open = false;

private:
    int set_container(int fd);
    int device_fd(std::span<const std::byte> name);
    std::vector<std::shared_ptr<TestDevice>> devices_;
    std::shared_ptr<ContainerFile> container_;
};

}  // namespace godwit::hw::vfio::test
