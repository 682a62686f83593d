// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /dev/iommu: address spaces, page tables, and dirty bits in them.
#pragma once

#include "tests/unit/vfio/kernel/dma_space.h"
#include "tests/unit/vfio/kernel/file.h"
#include "tests/unit/vfio/kernel/test_device.h"

#include <map>
#include <memory>
#include <set>
#include <vector>

namespace godwit::hw::vfio::test {

/// Source   Linux, drivers/iommu/iommufd, include/uapi/linux/iommufd.h.
class IommufdFile final : public File {
public:
    using File::File;
    int ioctl(unsigned long request, std::span<std::byte> argument) override;

    std::uint32_t bind(TestDevice& device);
    int attach(TestDevice& device, std::uint32_t page_table);
    void detach(TestDevice& device);
    std::uint64_t alignment = 4096;

private:
    struct Hwpt;
    struct Ioas final : DmaSpace {
        void wrote(TestDevice& device, std::uint64_t iova, std::uint64_t length) override;
        std::vector<Hwpt*> tables;
    };
    struct Hwpt {
        Ioas* ioas = nullptr;
        bool can_track = false;
        bool tracking = false;
        bool automatic = false;
        std::set<TestDevice*> devices;
        std::set<std::uint64_t> dirty;  // page numbers of 4 KiB
    };
    int ioas_alloc(std::span<std::byte> argument);
    int iova_ranges(std::span<std::byte> argument);
    int map(std::span<std::byte> argument);
    int unmap(std::span<std::byte> argument);
    int hwpt_alloc(std::span<std::byte> argument);
    int hw_info(std::span<std::byte> argument);
    int set_tracking(std::span<std::byte> argument);
    int get_bitmap(std::span<std::byte> argument);
    int destroy(std::span<std::byte> argument);
    Ioas* ioas(std::uint32_t id);
    Hwpt* hwpt(std::uint32_t id);

    std::uint32_t next_id_ = 1;
    std::map<std::uint32_t, std::unique_ptr<Ioas>> spaces_;
    std::map<std::uint32_t, std::unique_ptr<Hwpt>> tables_;
    std::map<std::uint32_t, TestDevice*> devices_;
};

}  // namespace godwit::hw::vfio::test
