// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The descriptor of a device, and those of its migration data.
#pragma once

#include "tests/unit/vfio/kernel/file.h"
#include "tests/unit/vfio/kernel/iommufd_file.h"
#include "tests/unit/vfio/kernel/test_device.h"

#include <memory>

namespace godwit::hw::vfio::test {

class DeviceFile final : public File {
public:
    /// A cdev has to be bound to an iommufd before anything else works.
    DeviceFile(TestKernel& kernel, std::shared_ptr<TestDevice> device, bool cdev);
    ~DeviceFile() override;
    int ioctl(unsigned long request, std::span<std::byte> argument) override;
    int ioctl_number(unsigned long request, unsigned long number) override;
    std::int64_t pread(std::span<std::byte> into, std::uint64_t offset) override;
    std::int64_t pwrite(std::span<const std::byte> from, std::uint64_t offset) override;
    TestDevice& device() { return *device_; }

private:
    int info(std::span<std::byte> argument);
    int region_info(std::span<std::byte> argument);
    int irq_info(std::span<std::byte> argument);
    int set_irqs(std::span<std::byte> argument);
    int feature(std::span<std::byte> argument);
    int migration_feature(std::uint32_t flags, std::span<std::byte> payload);
    int log_start(std::span<std::byte> payload);
    int log_report(std::span<std::byte> payload);
    int bind(std::span<std::byte> argument);
    int attach(std::span<std::byte> argument);
    int detach();
    int open_data();
    std::uint64_t region_size(std::uint32_t index) const;
    std::int64_t checked(std::uint64_t offset, std::size_t length, std::uint32_t& region,
                         std::uint64_t& at);
    void write_config(std::uint64_t at, std::span<const std::byte> from);

    std::shared_ptr<TestDevice> device_;
    bool cdev_;
    std::shared_ptr<IommufdFile> iommufd_;
    std::uint32_t devid_ = 0;
};

class DataFile final : public File {
public:
    DataFile(TestKernel& kernel, std::shared_ptr<TestDevice> device);
    int ioctl(unsigned long request, std::span<std::byte> argument) override;
    std::int64_t read(std::span<std::byte> into) override;
    std::int64_t write(std::span<const std::byte> from) override;

private:
    bool alive() const;
    std::shared_ptr<TestDevice> device_;
    std::uint64_t transfer_;
};

}  // namespace godwit::hw::vfio::test
